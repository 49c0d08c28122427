// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The way of one interrupt: VFIO signals an eventfd, KVM raises a GSI, and that is a message to the
//! guest's local APICs.
//!
//! A vector that is masked has no irqfd. What comes meanwhile stays in the eventfd, as its pending
//! bit, until it has one again.

use std::{os::fd::AsRawFd, sync::Arc};

use anyhow::{Context, Result};
use kvm_ioctls::VmFd;
use shunt::pci::msix_table::Message;
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use super::arming::Arming;
use crate::routes::Routes;

/// What the vectors of a device need of the machine.
pub(crate) struct Wiring {
    /// The VM.
    pub(crate) vm: Arc<VmFd>,
    /// Its GSIs.
    pub(crate) routes: Arc<Routes>,
    /// If they are to be delivered directly.
    pub(crate) arming: Option<Arming>,
}

/// One interrupt of a device.
pub(crate) struct Vector {
    wiring: Arc<Wiring>,
    /// What it is called.
    name: String,
    event: EventFd,
    gsi: u32,
    message: Option<Message>,
    is_armed: bool,
    /// What was said of it last.
    said: String,
}

impl Vector {
    /// One that is masked.
    ///
    /// # Errors
    ///
    /// No descriptor or GSI is left.
    pub(crate) fn new(wiring: &Arc<Wiring>, name: String) -> Result<Self> {
        Ok(Self {
            event: EventFd::new(EFD_NONBLOCK).context("cannot create an interrupt eventfd")?,
            gsi: wiring.routes.allocate()?,
            wiring: Arc::clone(wiring),
            name,
            message: None,
            is_armed: false,
            said: String::new(),
        })
    }

    /// What the device is to signal.
    pub(crate) fn event(&self) -> &EventFd {
        &self.event
    }

    /// Has it send this message from now on, or masks it. The device signals the event already.
    ///
    /// # Errors
    ///
    /// KVM refuses it.
    pub(crate) fn send(&mut self, message: Option<Message>) -> Result<()> {
        if message == self.message {
            return Ok(());
        }
        if message.is_none() {
            self.disconnect()?;
        }
        self.wiring.routes.set(self.gsi, message)?;
        if self.message.is_none() {
            let connected = self.wiring.vm.register_irqfd(&self.event, self.gsi);
            connected.with_context(|| format!("{}: irqfd", self.name))?;
        }
        self.message = message;
        if message.is_some() && !self.is_armed {
            self.arm();
        }
        Ok(())
    }

    fn disconnect(&self) -> Result<()> {
        let disconnected = self.wiring.vm.unregister_irqfd(&self.event, self.gsi);
        disconnected.with_context(|| format!("{}: no irqfd", self.name))
    }

    /// An armed interrupt stays so, whatever becomes of its message. A guest that has not chosen a
    /// vector yet writes another message later.
    fn arm(&mut self) {
        let Some(arming) = &self.wiring.arming else {
            return;
        };
        let words = match arming.arm(self.event.as_raw_fd()) {
            Ok(_) => {
                self.is_armed = true;
                "armed".to_owned()
            }
            Err(refused) => format!("stock for now: {refused}"),
        };
        if words != self.said {
            eprintln!("shunt-vmm: {}: {words}", self.name);
            self.said = words;
        }
    }
}

impl Drop for Vector {
    fn drop(&mut self) {
        // Each of them fails for what has gone already, as it does with the VM.
        if let Some(arming) = self.wiring.arming.as_ref().filter(|_| self.is_armed) {
            let _ = arming.disarm(self.gsi);
        }
        if self.message.is_some() {
            let _ = self.disconnect();
            let _ = self.wiring.routes.set(self.gsi, None);
        }
        self.wiring.routes.free(self.gsi);
    }
}
