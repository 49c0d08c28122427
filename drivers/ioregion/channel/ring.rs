// SPDX-License-Identifier: GPL-2.0-only

//! A channel in shared memory.
//!
//! An access is put into the ring with a spin lock held; what follows needs no lock, as each
//! vCPU has a completion line of its own. The device is not trusted: `ioregion_ring` checks how
//! far it claims to be, a completion is read once, and a wrong one is never waited for.

use super::{
    stopped,
    ticket,
    Caller,
    Stop,
    Ticket, //
};
use crate::region::Region;
use ioregion_dispatch::spin::Spin;
use ioregion_ring::{
    completion,
    layout::Layout,
    producer::{
        Producer,
        Refused, //
    },
    slot::Access, //
};
use ioregion_wire::{
    frame::{
        Command,
        Reply, //
    },
    uapi::KvmIoregionChannel,
};
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    },
};
use kvm_ext::{
    Area,
    SharedRing, //
};

/// A ring, and the vCPUs' requests in it.
#[pin_data]
pub(crate) struct RingChannel {
    shared: SharedRing,
    #[pin]
    state: SpinLock<State>,
}

struct State {
    producer: Producer,
    /// The last request of each vCPU.
    requests: KVec<u64>,
    /// The device does not keep to the protocol; nothing is sent or received any more.
    broken: bool,
}

/// Why a command is not in the ring.
pub(crate) enum NotPosted {
    Full,
    Failed(Error),
}

impl RingChannel {
    /// # Errors
    ///
    /// `EINVAL`: a channel cannot be so. `ENOMEM`.
    pub(crate) fn new(arg: &KvmIoregionChannel) -> Result<Arc<Self>> {
        if arg.flags != 0 || arg.pad != 0 {
            return Err(EINVAL);
        }
        let layout = Layout::new(arg.slots.into(), arg.vcpus.into()).map_err(|_| EINVAL)?;
        let shared = SharedRing::new(layout)?;
        let producer = Producer::new(layout, &shared.kernel_area());
        let requests = KVec::from_elem(0, layout.vcpus(), GFP_KERNEL_ACCOUNT)?;
        let channel = pin_init!(Self {
            shared,
            state <- new_spinlock!(State {
                producer,
                requests,
                broken: false,
            }),
        });
        Arc::pin_init(channel, GFP_KERNEL_ACCOUNT)
    }

    pub(crate) fn shared(&self) -> &SharedRing {
        &self.shared
    }

    pub(super) fn change(&self, change: impl FnOnce()) {
        {
            let _state = self.state.lock();
            change();
        }
        self.shared.announce();
    }

    pub(super) fn send(
        &self,
        region: &Region,
        command: &Command,
        caller: &Caller<'_>,
    ) -> Result<Option<Ticket>, Stop> {
        match self.post(region, command, caller.index) {
            Ok(request) => Ok(ticket(caller.index, request)),
            Err(NotPosted::Full) => self.send_into_full(region, command, caller),
            Err(NotPosted::Failed(error)) => Err(Stop::Failed(error)),
        }
    }

    #[cold]
    fn send_into_full(
        &self,
        region: &Region,
        command: &Command,
        caller: &Caller<'_>,
    ) -> Result<Option<Ticket>, Stop> {
        caller.check_may_wait()?;
        loop {
            let seen = self.shared.changes();
            Producer::want_room(&self.shared.kernel_area());
            match self.post(region, command, caller.index) {
                Ok(request) => return Ok(ticket(caller.index, request)),
                Err(NotPosted::Full) => {}
                Err(NotPosted::Failed(error)) => return Err(Stop::Failed(error)),
            }
            let waited = self.shared.wait_for_room(seen, caller.deadline);
            waited.map_err(stopped)?;
        }
    }

    pub(super) fn receive(
        &self,
        region: &Region,
        vcpu: usize,
        request: u64,
        caller: &mut Caller<'_>,
    ) -> Result<Reply, Stop> {
        loop {
            let seen = self.shared.changes();
            if let Some(data) = self.answer_at_once(vcpu, request, caller.spin) {
                return Ok(Reply { data });
            }
            self.check(region).map_err(Stop::Failed)?;
            caller.check_may_wait()?;
            let slept = self.shared.sleep(vcpu, request, seen, caller.deadline);
            slept.map_err(stopped)?;
        }
    }

    /// The answer to a request, if it is there or comes while the vCPU spins.
    #[inline]
    pub(crate) fn answer_at_once(&self, vcpu: usize, request: u64, spin: &mut Spin) -> Option<u64> {
        let answer = || completion::answer(&self.shared.device_area(), vcpu, request);
        answer().or_else(|| self.spin(vcpu, request, spin).then(answer)?)
    }

    #[cold]
    fn spin(&self, vcpu: usize, request: u64, spin: &mut Spin) -> bool {
        let answered = spin.ns() != 0 && self.shared.spin(vcpu, request, spin.ns());
        match answered {
            true => spin.was_answered(),
            false => spin.had_to_sleep(),
        }
        answered
    }

    /// Puts a command into the ring, and wakes the device for it if it sleeps. Yields its
    /// request, 0 if none is awaited.
    #[inline(always)]
    pub(crate) fn post(
        &self,
        region: &Region,
        command: &Command,
        vcpu: usize,
    ) -> Result<u64, NotPosted> {
        let (own, device) = (self.shared.kernel_area(), self.shared.device_area());
        let request = self.fill(&own, &device, region, command, vcpu)?;
        if Producer::must_wake(&own, &device) {
            self.shared.wake_device();
        }
        Ok(request)
    }

    #[inline(always)]
    fn fill(
        &self,
        own: &Area<'_>,
        device: &Area<'_>,
        region: &Region,
        command: &Command,
        vcpu: usize,
    ) -> Result<u64, NotPosted> {
        let mut state = self.state.lock();
        let state = &mut *state;
        self.usable(state.broken, region)
            .map_err(NotPosted::Failed)?;
        let last = state
            .requests
            .get_mut(vcpu)
            .ok_or(NotPosted::Failed(ENOSPC))?;
        let request = match command.expects_reply {
            true => last.wrapping_add(1),
            false => 0,
        };
        let access = Access {
            command: *command,
            vcpu: vcpu as u32,
            request,
        };
        match state.producer.post(own, device, &access) {
            Ok(()) => {}
            Err(Refused::Full) => return Err(NotPosted::Full),
            Err(Refused::Broken { .. }) => {
                state.broken = true;
                return Err(NotPosted::Failed(EPROTO));
            }
        }
        if command.expects_reply {
            *last = request;
        }
        Ok(request)
    }

    fn check(&self, region: &Region) -> Result {
        let broken = self.state.lock().broken;
        self.usable(broken, region)
    }

    #[inline(always)]
    fn usable(&self, broken: bool, region: &Region) -> Result {
        let is_usable = !region.is_removed() && !broken && !self.shared.device_is_gone();
        match is_usable {
            true => Ok(()),
            false => Err(self.why_not(broken, region)),
        }
    }

    #[cold]
    fn why_not(&self, broken: bool, region: &Region) -> Error {
        match (region.is_removed(), broken) {
            (true, _) => ECANCELED,
            (_, true) => EPROTO,
            _ => EPIPE,
        }
    }
}
