// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `dispatch=exit`: the device lives in the VMM, and a vCPU that accesses it does its work. What
//! comes to the device from elsewhere, such as packets, is a thread's of its own.

use std::{
    io::ErrorKind,
    os::fd::{AsRawFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use shunt::{
    counters::Origin,
    device::{perform, Device},
    state::StatePage,
    virtio_mmio::VirtioMmio,
    Command, Reply,
};
use shunt_blk::Blk;
use shunt_net::{tap::Tap, Net, MAC};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::{
    epoll::{ControlOperation, Epoll, EpollEvent, EventSet},
    eventfd::EventFd,
};

use super::{
    registers::Registers,
    spec::{Backend, HostedSpec},
};
use crate::{
    bus::AccessError,
    stop::{Outcome, Stop, StopOnPanic},
};

/// A device in this process.
pub(crate) struct Hosted {
    device: Mutex<Box<dyn Device + Send>>,
    /// What the device waits for.
    input: Option<OwnedFd>,
    state: StatePage,
    stop: Arc<Stop>,
}

impl Hosted {
    /// Opens what the device serves.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub(crate) fn new(
        spec: &HostedSpec,
        memory: GuestMemoryMmap,
        state: StatePage,
        interrupt: EventFd,
        stop: &Arc<Stop>,
    ) -> Result<Self> {
        let page = state.clone();
        let device: Box<dyn Device + Send> = match &spec.backend {
            Backend::Image { path, read_only } => {
                let blk = Blk::open(path, *read_only)
                    .with_context(|| format!("cannot open the image {}", path.display()))?
                    .offering(spec.offer);
                Box::new(VirtioMmio::new(blk, memory, page, interrupt))
            }
            Backend::Tap(name) => {
                let tap = Tap::open(name).with_context(|| format!("the tap {name}"))?;
                let net = Net::new(tap, MAC).offering(spec.offer);
                Box::new(VirtioMmio::new(net, memory, page, interrupt))
            }
        };
        let input = device.input().map(|input| input.try_clone_to_owned());
        Ok(Self {
            input: input.transpose().context("the device's input")?,
            device: Mutex::new(device),
            state,
            stop: Arc::clone(stop),
        })
    }

    /// Tells the device of its input until the machine stops; returns at once when it has none.
    pub(crate) fn serve_input(&self) {
        let _guard = StopOnPanic(&self.stop);
        let served = self.input.as_ref().map(|input| self.wait_for(input));
        if let Some(Err(error)) = served {
            self.stop.request(Outcome::Failed(error));
        }
    }

    fn wait_for(&self, input: &OwnedFd) -> Result<()> {
        let epoll = Epoll::new()?;
        // What the guest has no room for is left where it is.
        let edge = EventSet::IN | EventSet::EDGE_TRIGGERED;
        for (fd, events) in [
            (input.as_raw_fd(), edge),
            (self.stop.event().as_raw_fd(), EventSet::IN),
        ] {
            epoll.ctl(ControlOperation::Add, fd, EpollEvent::new(events, 0))?;
        }
        while self.stop.outcome().is_none() {
            let mut ready = [EpollEvent::default(); 2];
            match epoll.wait(-1, &mut ready) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                other => other.context("cannot wait for the device's input")?,
            };
            let mut device = self.lock();
            device.input_ready();
            while device.work() {}
        }
        Ok(())
    }

    /// A thread that panicked with the lock held has ended the machine.
    fn lock(&self) -> MutexGuard<'_, Box<dyn Device + Send>> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registers for Hosted {
    fn access(&self, command: &Command) -> Result<Reply, AccessError> {
        let mut device = self.lock();
        let counters = self.state.counters();
        let reply = perform(&mut **device, command, Origin::InProcess, counters);
        while device.work() {}
        Ok(reply)
    }
}
