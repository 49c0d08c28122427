// SPDX-License-Identifier: GPL-2.0-only

//! How an interface stands still and goes on when its device is reset.
//!
//! Packets that the device had are lost, as on any network.

use super::{
    config,
    Network, //
};
use crate::recovery::{
    attend,
    Recover,
    Session, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    workqueue::WorkItem, //
};
use netdev::{
    Operations,
    Paused, //
};
use virtio_transport::{
    Plan,
    Transport, //
};

impl<T: Transport> WorkItem for Network<T> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        attend(&*this);
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
