// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The host bridge: PCI Local Bus Specification 3.0, section 3.2.2.3.2. It is device 0 of the bus, and
//! the others are at 1, 2, ...

use std::sync::{
    atomic::{AtomicU32, Ordering},
    Arc, Mutex, MutexGuard, PoisonError,
};

use anyhow::{ensure, Result};
use shunt::pci::config_space::{ConfigSpace, REVISION};

use super::Function;
use crate::{
    bus::{AccessError, Bus, BusDevice},
    layout::{PCI_CONFIG_PORT, PCI_CONFIG_PORTS, PCI_WINDOW, PCI_WINDOW_SIZE},
};

/// Red Hat's identifiers for such a bridge of QEMU's: one without any registers of its own.
const IDENTIFIERS: [u8; 4] = [0x36, 0x1b, 0x08, 0x00];
/// A bridge, to a host.
const CLASS: [u8; 3] = [0, 0, 6];

/// Devices of a bus.
const DEVICES: usize = 32;
/// Offset of the data port.
const DATA: u64 = 4;
/// In the address: the access is one to configuration space.
const ENABLED: u32 = 1 << 31;
/// In the address: bus and function, of which there is number 0 only.
const ELSEWHERE: u32 = 0x00ff_0700;

/// The bus with everything on it.
pub(crate) struct HostBridge {
    address: AtomicU32,
    functions: Vec<Mutex<Box<dyn Function>>>,
}

impl HostBridge {
    /// A bus with these on it.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub(crate) fn new(devices: Vec<Box<dyn Function>>) -> Result<Arc<Self>> {
        ensure!(
            devices.len() < DEVICES,
            "there can be at most {} PCI devices",
            DEVICES - 1
        );
        let bridge: Box<dyn Function> = Box::new(Bridge::new());
        let functions = [bridge].into_iter().chain(devices).map(Mutex::new);
        Ok(Arc::new(Self {
            address: AtomicU32::new(0),
            functions: functions.collect(),
        }))
    }

    /// Puts it where the guest looks for it.
    ///
    /// # Errors
    ///
    /// Something else is there.
    pub(crate) fn connect(self: &Arc<Self>, pio: &mut Bus, mmio: &mut Bus) -> Result<()> {
        let ports = Arc::new(ConfigPorts(Arc::clone(self)));
        pio.insert(PCI_CONFIG_PORT, PCI_CONFIG_PORTS, ports)?;
        let bars = Arc::new(Bars(Arc::clone(self)));
        mmio.insert(PCI_WINDOW, PCI_WINDOW_SIZE, bars)
    }

    /// The function and the place in its configuration space that an access to the data port is for.
    fn selected(&self, port: u64, length: usize) -> Option<(Held<'_>, usize)> {
        let address = self.address.load(Ordering::Relaxed);
        let within = port.checked_sub(DATA)? as usize;
        if address & ENABLED == 0 || address & ELSEWHERE != 0 || within + length > 4 {
            return None;
        }
        let device = (address >> 11) as usize % DEVICES;
        let offset = (address & 0xfc) as usize + within;
        Some((lock(self.functions.get(device)?), offset))
    }

    /// The function whose BAR is at an address, which BAR, and where in it.
    fn decoded(&self, address: u64, length: usize) -> Option<(Held<'_>, usize, u64)> {
        self.functions.iter().find_map(|function| {
            let function = lock(function);
            let (bar, offset) = function.find(address, length)?;
            Some((function, bar, offset))
        })
    }
}

/// A function that no other vCPU uses meanwhile.
type Held<'a> = MutexGuard<'a, Box<dyn Function>>;

/// A vCPU that panicked ends the machine.
fn lock(function: &Mutex<Box<dyn Function>>) -> Held<'_> {
    function.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Address and data port.
struct ConfigPorts(Arc<HostBridge>);

impl BusDevice for ConfigPorts {
    fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        data.fill(0xff);
        if let (0, 4) = (offset, data.len()) {
            data.copy_from_slice(&self.0.address.load(Ordering::Relaxed).to_le_bytes());
        } else if let Some((mut function, at)) = self.0.selected(offset, data.len()) {
            function.read_config(at, data);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        if let (0, Ok(address)) = (offset, data.try_into()) {
            let address = u32::from_le_bytes(address);
            self.0.address.store(address, Ordering::Relaxed);
        } else if let Some((mut function, at)) = self.0.selected(offset, data.len()) {
            let written = function.write_config(at, data);
            written.map_err(AccessError::Failed)?;
        }
        Ok(())
    }
}

/// The window with the BARs.
struct Bars(Arc<HostBridge>);

impl BusDevice for Bars {
    fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        data.fill(0xff);
        if let Some((mut function, bar, at)) = self.0.decoded(PCI_WINDOW + offset, data.len()) {
            function.read(bar, at, data);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        if let Some((mut function, bar, at)) = self.0.decoded(PCI_WINDOW + offset, data.len()) {
            let written = function.write(bar, at, data);
            written.map_err(AccessError::Failed)?;
        }
        Ok(())
    }
}

/// What the guest sees of the bridge.
struct Bridge(ConfigSpace);

impl Bridge {
    fn new() -> Self {
        let mut space = ConfigSpace::default();
        space.fill(0, &IDENTIFIERS);
        space.fill(REVISION + 1, &CLASS);
        Self(space)
    }
}

impl Function for Bridge {
    fn space(&self) -> &ConfigSpace {
        &self.0
    }

    fn read_config(&mut self, offset: usize, data: &mut [u8]) {
        self.0.read(offset, data);
    }

    fn write_config(&mut self, offset: usize, data: &[u8]) -> Result<()> {
        self.0.write(offset, data);
        Ok(())
    }

    fn read(&mut self, _bar: usize, _offset: u64, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn write(&mut self, _bar: usize, _offset: u64, _data: &[u8]) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shunt::pci::config_space::{MemoryBar, BAR0, COMMAND, COMMAND_MEMORY};

    /// A device whose BAR reads as the offset, and that notes what is written there.
    struct Echo {
        space: ConfigSpace,
        written: Arc<Mutex<Vec<(usize, u64, u8)>>>,
    }

    impl Function for Echo {
        fn space(&self) -> &ConfigSpace {
            &self.space
        }

        fn read_config(&mut self, offset: usize, data: &mut [u8]) {
            self.space.read(offset, data);
        }

        fn write_config(&mut self, offset: usize, data: &[u8]) -> Result<()> {
            self.space.write(offset, data);
            Ok(())
        }

        fn read(&mut self, _bar: usize, offset: u64, data: &mut [u8]) {
            data.fill(offset as u8);
        }

        fn write(&mut self, bar: usize, offset: u64, data: &[u8]) -> Result<()> {
            self.written.lock().unwrap().push((bar, offset, data[0]));
            Ok(())
        }
    }

    type Written = Arc<Mutex<Vec<(usize, u64, u8)>>>;

    fn machine() -> (Bus, Bus, Written) {
        let mut space = ConfigSpace::default();
        space.fill(0, &[0x34, 0x12, 0xe8, 0x11]);
        space.allow(COMMAND, &COMMAND_MEMORY.to_le_bytes());
        let bar = MemoryBar {
            size: 0x1000,
            is_64: false,
            is_prefetchable: false,
        };
        space.add_bar(1, bar);
        let written = Written::default();
        let echo = Echo {
            space,
            written: Arc::clone(&written),
        };
        let (mut pio, mut mmio) = (Bus::default(), Bus::default());
        let bridge = HostBridge::new(vec![Box::new(echo)]).unwrap();
        bridge.connect(&mut pio, &mut mmio).unwrap();
        (pio, mmio, written)
    }

    fn select(pio: &Bus, device: u32, register: u32) {
        let address = ENABLED | device << 11 | register;
        pio.write(0xcf8, &address.to_le_bytes()).unwrap();
    }

    fn config(pio: &Bus, device: u32, register: u32) -> u32 {
        select(pio, device, register);
        let mut data = [0; 4];
        pio.read(0xcfc, &mut data).unwrap();
        u32::from_le_bytes(data)
    }

    #[test]
    fn the_bridge_and_the_device_are_found_and_nothing_else() {
        let (pio, ..) = machine();
        assert_eq!(config(&pio, 0, 0), 0x0008_1b36);
        assert_eq!(config(&pio, 0, 8) >> 16, 0x0600);
        assert_eq!(config(&pio, 1, 0), 0x11e8_1234);
        for device in [2, 1 | 1 << 5] {
            assert_eq!(config(&pio, device, 0), !0, "{device:#x}");
        }
        pio.write(0xcf8, &0x100u32.to_le_bytes()).unwrap();
        let mut data = [0; 4];
        pio.read(0xcfc, &mut data).unwrap();
        assert_eq!(data, [0xff; 4], "not enabled");
    }

    #[test]
    fn parts_of_a_register_can_be_accessed() {
        let (pio, ..) = machine();
        select(&pio, 1, 0);
        let (mut byte, mut word, mut beyond) = ([0; 1], [0; 2], [0; 2]);
        pio.read(0xcfd, &mut byte).unwrap();
        pio.read(0xcfe, &mut word).unwrap();
        pio.read(0xcff, &mut beyond).unwrap();
        assert_eq!((byte, word, beyond), ([0x12], [0xe8, 0x11], [0xff; 2]));
    }

    #[test]
    fn a_bar_answers_where_the_guest_has_put_it() {
        let (pio, mmio, written) = machine();
        let address = PCI_WINDOW + 0x5000;
        let mut data = [0; 1];
        mmio.read(address + 7, &mut data).unwrap();
        assert_eq!(data, [0xff]);
        select(&pio, 1, BAR0 as u32 + 4);
        pio.write(0xcfc, &(address as u32).to_le_bytes()).unwrap();
        select(&pio, 1, COMMAND as u32);
        pio.write(0xcfc, &COMMAND_MEMORY.to_le_bytes()).unwrap();
        mmio.read(address + 7, &mut data).unwrap();
        assert_eq!(data, [7]);
        mmio.write(address + 8, &[9]).unwrap();
        mmio.write(address + 0xfff, &[1, 2]).unwrap();
        assert_eq!(*written.lock().unwrap(), [(1, 8, 9)]);
    }
}
