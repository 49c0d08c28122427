// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A device of the host's as a function on the guest's bus.

use std::{ops::Range, sync::Arc};

use anyhow::{Context, Result};
use shunt::pci::{
    config_space::{
        ConfigSpace, MemoryBar, BAR0, COMMAND, COMMAND_BUS_MASTER, COMMAND_MEMORY, INTERRUPT_PIN,
        ROM,
    },
    BARS, CONFIG_SIZE,
};
use vfio_bindings::bindings::vfio::VFIO_PCI_CONFIG_REGION_INDEX;
use vfio_ioctls::VfioDevice;

use super::{
    bars::{MappedBar, Slots},
    signals::{Capabilities, Signals},
    vector::{Vector, Wiring},
};
use crate::pci::{
    window::{self, Window},
    Function,
};

/// Bits of a BAR.
const BAR_IO: u32 = 1;
const BAR_64: u32 = 1 << 2;
const BAR_PREFETCHABLE: u32 = 1 << 3;

/// The device. Its mappings go before its descriptor.
pub(super) struct Assigned {
    name: String,
    /// Interrupts that are on.
    vectors: Vec<Vector>,
    /// VFIO's index of their kind.
    kind: Option<u32>,
    bars: Vec<MappedBar>,
    /// All of configuration space as it was at first, with what is ours as it is.
    space: ConfigSpace,
    /// The parts that are ours; the device knows the others.
    ours: Vec<Range<usize>>,
    capabilities: Capabilities,
    wiring: Arc<Wiring>,
    device: VfioDevice,
}

impl Assigned {
    /// Puts a device where the guest can find it. It does no DMA yet, and nothing of it is mapped.
    ///
    /// # Errors
    ///
    /// There is no room for its BARs, or they cannot be mapped.
    pub(super) fn new(
        name: String,
        device: VfioDevice,
        wiring: Wiring,
        window: &mut Window,
        slots: &mut Slots,
    ) -> Result<Self> {
        device.reset();
        device.region_write(VFIO_PCI_CONFIG_REGION_INDEX, &[0; 2], COMMAND as u64);
        let mut bytes = [0; CONFIG_SIZE];
        device.region_read(VFIO_PCI_CONFIG_REGION_INDEX, &mut bytes, 0);
        let mut space = ConfigSpace::default();
        space.fill(0, &bytes);
        space.allow(
            COMMAND,
            &(COMMAND_MEMORY | COMMAND_BUS_MASTER).to_le_bytes(),
        );
        space.fill(ROM, &[0; 4]);
        space.fill(INTERRUPT_PIN, &[0]);
        let mut capabilities = Capabilities::new(&mut space);
        let mut bars = Vec::new();
        for (index, bar) in memory_bars(&device, &mut space) {
            place(&mut space, index, bar, window.place(bar.size)?);
            let msix = capabilities.msix().filter(|msix| msix.bar == index);
            let traps = msix.map(|msix| msix.place.clone());
            bars.push(MappedBar::new(&device, index, traps, slots)?);
        }
        let fixed = [
            BAR0..BAR0 + 4 * BARS,
            ROM..ROM + 4,
            INTERRUPT_PIN..INTERRUPT_PIN + 1,
        ];
        Ok(Self {
            name,
            vectors: Vec::new(),
            kind: None,
            bars,
            ours: fixed.into_iter().chain(capabilities.ours(&space)).collect(),
            space,
            capabilities,
            wiring: Arc::new(wiring),
            device,
        })
    }

    /// Where a BAR answers, if it does and that is where BARs belong.
    fn address(&self, index: usize) -> Option<u64> {
        let (address, size) = self.space.decoded(index)?;
        window::holds(address, size).then_some(address)
    }

    /// Takes BARs from where they are no longer.
    fn leave(&mut self) -> Result<()> {
        for at in 0..self.bars.len() {
            let address = self.address(self.bars[at].index);
            self.bars[at].leave(&self.wiring.vm, address)?;
        }
        Ok(())
    }

    /// Puts BARs where they are now.
    fn appear(&mut self) -> Result<()> {
        for at in 0..self.bars.len() {
            let address = self.address(self.bars[at].index);
            self.bars[at].appear(&self.wiring.vm, address)?;
        }
        Ok(())
    }

    /// Has the device signal what the guest wants it to.
    fn signal(&mut self) -> Result<()> {
        let signals = self.capabilities.signals(&self.space);
        if signals.kind != self.kind {
            self.switch(&signals)
                .with_context(|| format!("interrupts of {}", self.name))?;
        }
        for (vector, message) in self.vectors.iter_mut().zip(signals.messages) {
            vector.send(message)?;
        }
        Ok(())
    }

    /// Switches the former kind of interrupts off, and another one on. All are masked.
    fn switch(&mut self, signals: &Signals) -> Result<()> {
        if let Some(kind) = self.kind.take() {
            self.device.disable_irq(kind)?;
            self.vectors.clear();
        }
        let Some(kind) = signals.kind else {
            return Ok(());
        };
        for number in 0..signals.messages.len() {
            let name = format!("{} interrupt {number}", self.name);
            self.vectors.push(Vector::new(&self.wiring, name)?);
        }
        let events = self.vectors.iter().map(Vector::event).collect();
        self.device.enable_irq(kind, events)?;
        self.kind = Some(kind);
        Ok(())
    }
}

/// The device's BARs for memory, which it has in `space` from now on, without addresses.
fn memory_bars(device: &VfioDevice, space: &mut ConfigSpace) -> Vec<(usize, MemoryBar)> {
    let kinds: Vec<u32> = (0..BARS)
        .map(|index| space.long(BAR0 + 4 * index))
        .collect();
    space.fill(BAR0, &[0; 4 * BARS]);
    let mut bars = Vec::new();
    for (index, kind) in kinds.into_iter().enumerate() {
        let size = device.get_region_size(index as u32);
        if size == 0 || kind & BAR_IO != 0 {
            continue;
        }
        let bar = MemoryBar {
            size,
            is_64: kind & BAR_64 != 0,
            is_prefetchable: kind & BAR_PREFETCHABLE != 0,
        };
        space.add_bar(index, bar);
        bars.push((index, bar));
    }
    bars
}

fn place(space: &mut ConfigSpace, index: usize, bar: MemoryBar, address: u64) {
    let length = if bar.is_64 { 8 } else { 4 };
    space.write(BAR0 + 4 * index, &address.to_le_bytes()[..length]);
}

impl Function for Assigned {
    fn space(&self) -> &ConfigSpace {
        &self.space
    }

    fn read_config(&mut self, offset: usize, data: &mut [u8]) {
        let region = VFIO_PCI_CONFIG_REGION_INDEX;
        self.device.region_read(region, data, offset as u64);
        for (at, byte) in (offset..).zip(data) {
            if self.ours.iter().any(|part| part.contains(&at)) {
                self.space.read(at, std::slice::from_mut(byte));
            }
        }
    }

    /// The device gets what is ours, too, and VFIO keeps it from doing harm.
    fn write_config(&mut self, offset: usize, data: &[u8]) -> Result<()> {
        self.space.write(offset, data);
        self.leave()?;
        let region = VFIO_PCI_CONFIG_REGION_INDEX;
        self.device.region_write(region, data, offset as u64);
        self.appear()?;
        self.signal()
    }

    fn read(&mut self, bar: usize, offset: u64, data: &mut [u8]) {
        match self.capabilities.msix() {
            Some(msix) if msix.bar == bar && msix.place.contains(&offset) => {
                // Accesses of other sizes read ones.
                let _ = msix.table.read(offset - msix.place.start, data);
            }
            _ => self.device.region_read(bar as u32, data, offset),
        }
    }

    fn write(&mut self, bar: usize, offset: u64, data: &[u8]) -> Result<()> {
        match self.capabilities.msix() {
            Some(msix) if msix.bar == bar && msix.place.contains(&offset) => {
                // Accesses of other sizes do nothing.
                let _ = msix.table.write(offset - msix.place.start, data);
                self.signal()
            }
            _ => {
                self.device.region_write(bar as u32, data, offset);
                Ok(())
            }
        }
    }
}
