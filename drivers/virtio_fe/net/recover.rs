// SPDX-License-Identifier: GPL-2.0-only

//! How an interface stands still and goes on when its device is reset.
//!
//! Packets that the device had are lost, as on any network.

use super::{
    config,
    transmit::Transmitter,
    Network, //
};
use crate::recovery::{
    attend,
    Recover,
    Session, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Full,
            Release, //
        },
        Arc, //
    },
    workqueue::WorkItem, //
};
use netdev::Paused;
use virtio_spec::features::Features;
use virtio_transport::{
    reset_queue,
    Plan,
    Transport, //
};

impl<T: Transport> WorkItem for Network<T> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        attend(&*this);
    }
}

impl<T: Transport> Network<T> {
    /// Resets the transmit queue of a pair, while all others go on.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`: the device cannot; those of [`reset_queue`] and [`Transport::enable_queue`].
    fn reset_transmit(&self, pair: u16) -> Result {
        let transport = &self.session.transport;
        if !self.session.features.has(Features::RING_RESET) {
            return Err(EOPNOTSUPP);
        }
        // If nobody uses the device, there will be another time.
        let Some(mut locked) = self.device.lock() else {
            return Ok(());
        };
        let index = u32::from(pair);
        let held = locked.with_transmit(index, |queue| {
            self.device.stop(index);
            queue.hold();
        });
        if held.is_none() {
            return Ok(());
        }
        dev_info!(transport.device(), "resetting transmit queue {pair}\n");
        reset_queue(transport, 2 * pair + 1)?;
        let begun = locked.with_transmit(index, |queue| self.begin_transmit(queue, index));
        begun.ok_or(ENODEV)?
    }

    /// Has a transmit queue that was reset begin again.
    fn begin_transmit(&self, queue: &mut Transmitter, index: u32) -> Result {
        let lost = queue.clear();
        if let Some(counters) = self.counters.get(index as usize) {
            counters.tx_lost.add(lost);
            counters.tx_resets.add(1);
        }
        let Session {
            transport,
            features,
            plan,
            ..
        } = &self.session;
        transport.enable_queue(&queue.queue().setup, *plan, *features)?;
        self.device.wake(index);
        Ok(())
    }
}

impl<T: Transport> Recover for Network<T> {
    type Transport = T;
    type Still<'a> = Paused<'a, Self>;
    type Drained<'a> = ();

    fn session(&self) -> &Session<T> {
        &self.session
    }

    fn progress(&self) -> u64 {
        let pairs = self.counters.iter();
        pairs.map(|pair| pair.received_and_sent()).sum()
    }

    /// Packets may be lost.
    fn drain(&self) {}

    fn pause(&self) -> Option<Paused<'_, Self>> {
        Some(self.device.lock()?.pause())
    }

    fn still(&self) -> Option<Paused<'_, Self>> {
        self.pause()
    }

    fn take_back(&self, paused: &mut Paused<'_, Self>) {
        for ((receiver, transmitter), counters) in paused.pairs().zip(&self.counters) {
            receiver.clear();
            counters.tx_lost.add(transmitter.clear());
        }
        for must_reset in &self.must_reset {
            must_reset.store(false, Release);
        }
        if let Some(control) = &mut *self.control.lock() {
            control.clear();
        }
    }

    fn enable_queues(&self, paused: &mut Paused<'_, Self>) -> Result {
        let session = &self.session;
        let enable = |setup, plan| {
            session
                .transport
                .enable_queue(setup, plan, session.features)
        };
        for (receiver, transmitter) in paused.pairs() {
            enable(&receiver.queue().setup, session.plan)?;
            enable(&transmitter.queue().setup, session.plan)?;
        }
        match &*self.control.lock() {
            Some(control) => enable(&control.queue().setup, Plan::Line).map(drop),
            None => Ok(()),
        }
    }

    fn remind(&self, paused: &mut Paused<'_, Self>) -> Result {
        self.tell_pairs(paused.used_pairs() as u16)?;
        self.tell_mac(paused.mac())?;
        paused.repeat_rx_mode()
    }

    fn resume(&self, paused: Paused<'_, Self>) {
        paused.resume();
    }

    fn fail(&self, mut paused: Paused<'_, Self>) {
        self.take_back(&mut paused);
        self.device.set_carrier(false);
    }

    fn mend(&self) -> Result {
        for (pair, must_reset) in self.must_reset.iter().enumerate() {
            if must_reset.xchg(false, Full) {
                self.reset_transmit(pair as u16)?;
            }
        }
        Ok(())
    }

    fn look(&self) {
        // An interface that goes must not be told any more.
        let Some(_locked) = self.device.lock() else {
            return;
        };
        let Session {
            transport,
            features,
            ..
        } = &self.session;
        self.device
            .set_carrier(config::is_link_up(transport, *features));
    }
}
