// SPDX-License-Identifier: GPL-2.0-only

//! What the network stack asks of a device.

use super::{
    config,
    counters,
    receive::Receiver,
    transmit::Transmitter,
    Network, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};
use netdev::{
    Device,
    Done,
    Link,
    Operations,
    Poll,
    RxMode,
    SkBuff,
    Stats, //
};
use virtio_ring::driver::Broken;
use virtio_transport::Transport;

impl<T: Transport> Network<T> {
    /// Stops a transmit queue that has no room for more, until it has.
    #[cold]
    fn stop_until_room(&self, queue: &mut Transmitter, index: u32) -> Result<(), Broken> {
        self.device.stop(index);
        if queue.wait_for_room(0)? {
            self.device.wake(index);
            queue.attend(0)?;
        }
        Ok(())
    }

    /// Frees what has been sent, and lets the queue go on if it was stopped.
    #[inline]
    fn clean(&self, poll: &Poll<'_, Self>) -> Result<(), Broken> {
        let Some(mut queue) = poll.transmit() else {
            return Ok(());
        };
        if queue.is_held() {
            return Ok(());
        }
        if !self.device.is_stopped(poll.pair()) {
            queue.clean(poll.budget())?;
        } else if queue.wait_for_room(poll.budget())? {
            self.device.wake(poll.pair());
        } else {
            return Ok(());
        }
        queue.attend(poll.budget())
    }
}

impl<T: Transport> Operations for Network<T> {
    type Receive = Receiver;
    type Transmit = Transmitter;
    const COUNTERS: &'static [[u8; 32]] = counters::NAMES;

    #[inline]
    fn device(&self) -> &Device<Self> {
        &self.device
    }

    fn open<'a>(&self, receivers: impl Iterator<Item = &'a mut Receiver>) -> Result
    where
        Self: 'a,
    {
        for (receiver, counters) in receivers.zip(&self.counters) {
            receiver.fill(counters);
        }
        Ok(())
    }

    #[inline]
    fn start_xmit(
        this: ArcBorrow<'_, Self>,
        queue: &mut Transmitter,
        index: u32,
        packet: SkBuff,
        more: bool,
    ) {
        let Some(counters) = this.counters.get(index as usize) else {
            return;
        };
        let bytes = packet.len();
        let mut result = queue.make_room();
        match queue.add(packet) {
            Ok(()) => {
                counters.tx_packets.add(1);
                counters.tx_bytes.add(bytes.into());
            }
            Err(_) => counters.tx_dropped.add(1),
        }
        let is_full = !queue.has_room();
        if !more || is_full {
            queue.publish(counters);
        }
        if is_full {
            counters.tx_stops.add(1);
            result = this.stop_until_room(queue, index);
        } else if !more {
            result = result.and_then(|()| queue.attend(0));
        }
        if let Err(broken) = result {
            Arc::from(this).blame_transmit(index, broken);
        }
    }

    #[inline]
    fn poll(this: ArcBorrow<'_, Self>, queue: &mut Receiver, poll: &Poll<'_, Self>) -> Done {
        let Some(counters) = this.counters.get(poll.pair() as usize) else {
            return Done::All(0);
        };
        if let Err(broken) = this.clean(poll) {
            Arc::from(this).blame_transmit(poll.pair(), broken);
        }
        match queue.poll(poll, counters) {
            Err(broken) => {
                Arc::from(this).blame(broken);
                Done::All(0)
            }
            Ok(packets) if packets < poll.budget() && !queue.is_empty() && queue.rest() => {
                Done::All(packets)
            }
            Ok(_) => Done::Some,
        }
    }

    fn set_rx_mode(this: ArcBorrow<'_, Self>, mode: &RxMode<'_>) -> Result {
        Self::judge(this, this.tell_rx_mode(mode))
    }

    fn set_mac(this: ArcBorrow<'_, Self>, mac: [u8; 6]) -> Result {
        Self::judge(this, this.tell_mac(mac))
    }

    fn set_pairs(this: ArcBorrow<'_, Self>, pairs: u32) -> Result {
        Self::judge(this, this.tell_pairs(u16::try_from(pairs)?))
    }

    fn timed_out(this: ArcBorrow<'_, Self>, index: u32) {
        dev_err!(
            this.session.transport.device(),
            "transmit queue {index} stands still\n"
        );
        Arc::from(this).call_for_transmit_reset(index);
    }

    fn stats(&self) -> Stats {
        counters::sum(&self.counters)
    }

    fn link(&self) -> Link {
        config::link(&self.session.transport, self.session.features)
    }

    fn ring_size(&self, transmit: bool) -> u32 {
        self.sizes[usize::from(transmit)].into()
    }

    fn counters(&self, index: u32, values: &mut [u64]) {
        if let Some(counters) = self.counters.get(index as usize) {
            values.copy_from_slice(&counters.values());
        }
    }
}
