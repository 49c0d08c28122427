// SPDX-License-Identifier: GPL-2.0-only

//! What the device wants outside of its queues: to be looked at, or to be reset.
//!
//! ```text
//! configuration changed ────────────────────────┐
//! DEVICE_NEEDS_RESET, a ring that is broken,    ├─► attend, in a work queue
//! a transmit queue that stands still ───────────┘     configuration: is there a link?
//!                                                     reset: pause, reset, agree, go on
//! ```
//!
//! Packets that the device had are lost, as on any network.

use super::{
    config,
    Network, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Full,
            Relaxed,
            Release, //
        },
        Arc, //
    },
    workqueue::{
        self,
        WorkItem, //
    }, //
};
use netdev::{
    Locked,
    Paused, //
};
use virtio_spec::status;
use virtio_transport::{
    negotiate,
    reset,
    Plan,
    Transport, //
};

impl<T: Transport> WorkItem for Network<T> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.attend();
    }
}

impl<T: Transport> Network<T> {
    /// Has the device attended to.
    pub(super) fn call(self: &Arc<Self>) {
        // If it is queued already, it will find what there is to do.
        let _ = workqueue::system_long().enqueue(self.clone());
    }

    /// Has the device reset.
    pub(super) fn call_for_reset(self: &Arc<Self>) {
        self.must_reset.store(true, Release);
        self.call();
    }

    fn attend(&self) {
        let Some(mut locked) = self.device.lock() else {
            return;
        };
        let needs_reset = self.transport.status() & status::DEVICE_NEEDS_RESET != 0;
        if self.must_reset.xchg(false, Full) || needs_reset {
            self.recover(&mut locked);
        }
        self.device
            .set_carrier(config::is_link_up(&self.transport, self.features));
    }

    fn recover(&self, locked: &mut Locked<'_, Self>) {
        dev_warn!(self.transport.device(), "resetting the device\n");
        self.resets.add(1u64, Relaxed);
        let mut paused = locked.pause();
        let result = self.begin_again(&mut paused);
        paused.resume(result.is_ok());
        if let Err(error) = result.and_then(|()| self.remind(locked)) {
            dev_err!(self.transport.device(), "the device is lost: {error:?}\n");
        }
    }

    /// Resets the device and sets it up as it was, with the same features.
    fn begin_again(&self, paused: &mut Paused<'_, Self>) -> Result {
        reset(&self.transport)?;
        for ((receiver, transmitter), counters) in paused.pairs().zip(&self.counters) {
            receiver.clear();
            counters.tx_lost.add(transmitter.clear());
        }
        if negotiate(&self.transport, self.features)? != self.features {
            return Err(ENODEV);
        }
        self.transport.set_config_vector(self.plan)?;
        let enable = |setup, plan| self.transport.enable_queue(setup, plan, self.features);
        for (receiver, transmitter) in paused.pairs() {
            enable(&receiver.queue().setup, self.plan)?;
            enable(&transmitter.queue().setup, self.plan)?;
        }
        if let Some(control) = &mut *self.control.lock() {
            control.clear();
            enable(&control.queue().setup, Plan::Line)?;
        }
        self.go();
        Ok(())
    }

    /// Tells a device that has been reset what it was told before.
    fn remind(&self, locked: &Locked<'_, Self>) -> Result {
        self.set_pairs(locked.pairs() as u16)?;
        netdev::Operations::set_mac(self, locked.mac())?;
        locked.repeat_rx_mode()
    }
}
