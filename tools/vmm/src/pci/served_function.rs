// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A device of ours as a function on the guest's bus: configuration space and MSI-X table are the
//! VMM's, the registers are whoever's that serves the device.

use std::sync::Arc;

use anyhow::Result;
use shunt::pci::{
    self,
    config_space::{ConfigSpace, BAR0},
    BARS,
};
use vmm_sys_util::eventfd::EventFd;

use super::{model::Model, window::Window, Function};
use crate::{
    assigned::{
        signals::Capabilities,
        vector::{Vector, Wiring},
    },
    bus::{AccessError, BusDevice},
    stop::{Outcome, Stop},
};

/// What the guest finds, before somebody serves it.
pub(crate) struct Header {
    model: Model,
    space: ConfigSpace,
    capabilities: Capabilities,
    vectors: Vec<Vector>,
}

impl Header {
    /// A device of this model, with BARs in `window`.
    ///
    /// # Errors
    ///
    /// There is no room for a BAR, or no descriptor or GSI left.
    pub(crate) fn new(model: Model, window: &mut Window, wiring: &Arc<Wiring>) -> Result<Self> {
        let mut space = model.space();
        for (index, size) in bars(&space) {
            let address = window.place(size)? as u32;
            space.write(BAR0 + 4 * index, &address.to_le_bytes());
        }
        let mut capabilities = Capabilities::new(&mut space);
        let vectors = capabilities.msix().map_or(0, |msix| msix.table.vectors());
        let vector = |number| Vector::new(wiring, format!("{model:?} interrupt {number}"));
        Ok(Self {
            model,
            vectors: (0..vectors).map(vector).collect::<Result<_>>()?,
            space,
            capabilities,
        })
    }

    /// Where the registers are that the device answers: where firmware would have put them.
    pub(crate) fn address(&self) -> u64 {
        u64::from(self.space.long(BAR0 + 4 * self.model.bar()) & !0xf)
    }

    /// What the device signals its vectors with.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub(crate) fn events(&self) -> Result<Vec<EventFd>> {
        let events = self.vectors.iter().map(|vector| vector.event().try_clone());
        Ok(events.collect::<Result<_, _>>()?)
    }

    /// The function, with `registers` behind it.
    pub(crate) fn served_by(self, registers: Arc<dyn BusDevice>, stop: Arc<Stop>) -> Served {
        Served {
            header: self,
            registers,
            stop,
        }
    }
}

/// BARs that have no address yet, and their sizes.
fn bars(space: &ConfigSpace) -> Vec<(usize, u64)> {
    let size = |index| Some((index, space.bar(index)?.size));
    (0..BARS).filter_map(size).collect()
}

/// The function.
pub(crate) struct Served {
    header: Header,
    registers: Arc<dyn BusDevice>,
    stop: Arc<Stop>,
}

impl Served {
    /// Has the vectors send what the guest wants them to.
    fn signal(&mut self) -> Result<()> {
        let signals = self.header.capabilities.signals(&self.header.space);
        let messages = signals.messages.into_iter().chain(std::iter::repeat(None));
        for (vector, message) in self.header.vectors.iter_mut().zip(messages) {
            vector.send(message)?;
        }
        Ok(())
    }

    /// A vCPU goes on when the machine stops, and what is broken stops it.
    fn settle(&self, accessed: Result<(), AccessError>) {
        if let Err(AccessError::Failed(error)) = accessed {
            self.stop.request(Outcome::Failed(error));
        }
    }
}

impl Function for Served {
    fn space(&self) -> &ConfigSpace {
        &self.header.space
    }

    fn read_config(&mut self, offset: usize, data: &mut [u8]) {
        self.header.space.read(offset, data);
    }

    fn write_config(&mut self, offset: usize, data: &[u8]) -> Result<()> {
        self.header.space.write(offset, data);
        self.signal()
    }

    fn read(&mut self, bar: usize, offset: u64, data: &mut [u8]) {
        if bar == self.header.model.bar() {
            let read = self.registers.read(pci::bar(bar) + offset, data);
            return self.settle(read);
        }
        data.fill(0);
        if let Some(msix) = self.header.capabilities.msix() {
            // Other accesses than to the table read zeroes: what is pending waits in an eventfd.
            let _ = msix.table.read(offset, data);
        }
    }

    fn write(&mut self, bar: usize, offset: u64, data: &[u8]) -> Result<()> {
        if bar == self.header.model.bar() {
            let written = self.registers.write(pci::bar(bar) + offset, data);
            self.settle(written);
            return Ok(());
        }
        if let Some(msix) = self.header.capabilities.msix() {
            // Other accesses than to the table do nothing.
            let _ = msix.table.write(offset, data);
        }
        self.signal()
    }
}
