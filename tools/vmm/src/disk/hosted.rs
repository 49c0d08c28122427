// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `dispatch=exit`: the device lives in the VMM, and a vCPU that accesses it does its work. What
//! comes to the device from elsewhere, such as packets, is a thread's of its own.

use std::{
    io::{self, ErrorKind},
    os::fd::{AsRawFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use shunt::{
    counters::Origin,
    device::{perform, Device},
    state::StatePage,
    virtio_bus::Slot,
    Command, Reply,
};
use shunt_blk::Blk;
use shunt_console::Console;
use shunt_net::{e1000::E1000, rtl8139::Rtl8139, tap::Tap, Net, MAC};
use shunt_rng::Rng;
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
    pci::model::Model,
    stop::{Outcome, Stop, StopOnPanic},
};

/// What became ready, unless it is an event, by number.
const STOP: u64 = u64::MAX;
const INPUT: u64 = u64::MAX - 1;

/// A device in this process.
pub(crate) struct Hosted {
    device: Mutex<Box<dyn Device + Send>>,
    /// What the device waits for.
    input: Option<OwnedFd>,
    /// What it is notified of, by number.
    events: Vec<EventFd>,
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
        slot: Slot,
        events: Vec<EventFd>,
        stop: &Arc<Stop>,
    ) -> Result<Self> {
        let state = slot.state.clone();
        let device: Box<dyn Device + Send> = match &spec.backend {
            Backend::Image { path, read_only } => {
                let blk = Blk::open(path, *read_only)
                    .with_context(|| format!("cannot open the image {}", path.display()))?
                    .offering(spec.offer);
                slot.put(blk)
            }
            Backend::Console(file) => {
                let console = Console::open(file)
                    .with_context(|| format!("cannot open {}", file.display()))?;
                slot.put(console.offering(spec.offer))
            }
            Backend::Rng => slot.put(Rng::default().offering(spec.offer)),
            Backend::Tap { name, queues } => {
                interface(name, *queues, spec, slot).with_context(|| format!("the tap {name}"))?
            }
        };
        let input = device.input().map(|input| input.try_clone_to_owned());
        Ok(Self {
            input: input.transpose().context("the device's input")?,
            device: Mutex::new(device),
            events,
            state,
            stop: Arc::clone(stop),
        })
    }

    /// Tells the device of its input and its events until the machine stops; returns at once when it
    /// has none.
    pub(crate) fn serve_input(&self) {
        let _guard = StopOnPanic(&self.stop);
        if self.input.is_none() && self.events.is_empty() {
            return;
        }
        if let Err(error) = self.wait_for_input() {
            self.stop.request(Outcome::Failed(error));
        }
    }

    fn wait_for_input(&self) -> Result<()> {
        let epoll = self.watch().context("cannot watch the device's input")?;
        let mut ready = [EpollEvent::default(); 8];
        while self.stop.outcome().is_none() {
            let count = match epoll.wait(-1, &mut ready) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                other => other.context("cannot wait for the device's input")?,
            };
            let mut device = self.lock();
            for event in &ready[..count] {
                self.tell(&mut **device, event.data());
            }
            while device.work() {}
        }
        Ok(())
    }

    fn watch(&self) -> io::Result<Epoll> {
        let epoll = Epoll::new()?;
        let watch = |fd: &dyn AsRawFd, events, token| {
            let event = EpollEvent::new(events, token);
            epoll.ctl(ControlOperation::Add, fd.as_raw_fd(), event)
        };
        watch(self.stop.event(), EventSet::IN, STOP)?;
        if let Some(input) = &self.input {
            // What the guest has no room for is left where it is.
            watch(input, EventSet::IN | EventSet::EDGE_TRIGGERED, INPUT)?;
        }
        for (token, event) in (0..).zip(&self.events) {
            watch(event, EventSet::IN, token)?;
        }
        Ok(epoll)
    }

    fn tell(&self, device: &mut dyn Device, token: u64) {
        match token {
            STOP => {}
            INPUT => device.input_ready(),
            // Nobody else reads it.
            event if self.events[event as usize].read().is_ok() => device.notified(event as usize),
            _ => {}
        }
    }

    /// A thread that panicked with the lock held has ended the machine.
    fn lock(&self) -> MutexGuard<'_, Box<dyn Device + Send>> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A network interface as the guest is to have it.
fn interface(
    tap: &str,
    queues: usize,
    spec: &HostedSpec,
    slot: Slot,
) -> io::Result<Box<dyn Device + Send>> {
    let mut taps = Tap::open(tap, queues)?;
    let mut one = || taps.pop().ok_or(io::ErrorKind::InvalidInput);
    Ok(match spec.model {
        Some(Model::E1000) => Box::new(E1000::new(one()?, MAC, slot)?),
        Some(Model::Rtl8139) => Box::new(Rtl8139::new(one()?, MAC, slot)?),
        _ => slot.put(Net::new(taps, MAC)?.offering(spec.offer)),
    })
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
