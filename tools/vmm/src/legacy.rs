// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! PC devices on the bus: the serial console and the keyboard controller's reset line, both
//! from vm-superio.
//!
//! Their registers are bytes. An access of several bytes is so many accesses to the same port,
//! which is what KVM hands over for a string instruction.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{anyhow, Context, Result};
use vm_superio::{serial::SerialEvents, I8042Device, Serial, Trigger};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::{
    bus::{AccessError, BusDevice},
    marks::{ConsoleOutput, Marks},
    stop::{Outcome, Stop},
};

/// An interrupt line: an eventfd that KVM listens to.
pub(crate) struct InterruptLine(EventFd);

impl Trigger for InterruptLine {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// Tells the console when the guest has taken all input.
pub(crate) struct InputDrained(EventFd);

impl SerialEvents for InputDrained {
    fn buffer_read(&self) {}
    fn out_byte(&self) {}
    fn tx_lost_byte(&self) {}

    fn in_buffer_empty(&self) {
        // A full counter, the only error, means that the console has been told already.
        let _ = self.0.write(1);
    }
}

type Uart = Serial<InterruptLine, InputDrained, ConsoleOutput>;

/// The serial port at [`crate::layout::SERIAL_PORT`], its output on stdout.
pub(crate) struct SerialPort {
    uart: Mutex<Uart>,
}

impl SerialPort {
    /// A port that interrupts by `interrupt`, and whose output makes `marks`.
    ///
    /// # Errors
    ///
    /// When no eventfd can be had.
    pub(crate) fn new(interrupt: EventFd, marks: Arc<Marks>) -> Result<Self> {
        let drained = EventFd::new(EFD_NONBLOCK).context("cannot create the console eventfd")?;
        let uart = Serial::with_events(
            InterruptLine(interrupt),
            InputDrained(drained),
            ConsoleOutput::new(marks),
        );
        Ok(Self {
            uart: Mutex::new(uart),
        })
    }

    /// Gives input to the guest; answers how many bytes the port took.
    ///
    /// # Errors
    ///
    /// When the guest cannot be interrupted.
    pub(crate) fn input(&self, bytes: &[u8]) -> Result<usize> {
        let mut uart = self.lock();
        if uart.fifo_capacity() == 0 {
            return Ok(0);
        }
        uart.enqueue_raw_bytes(bytes)
            .map_err(|error| anyhow!("serial input: {error:?}"))
    }

    /// An eventfd that becomes readable when the guest has taken all input.
    ///
    /// # Errors
    ///
    /// When it cannot be duplicated.
    pub(crate) fn drained(&self) -> Result<EventFd> {
        Ok(self.lock().events().0.try_clone()?)
    }

    /// A thread that panicked with the lock held leaves registers that are each valid.
    fn lock(&self) -> MutexGuard<'_, Uart> {
        self.uart.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BusDevice for SerialPort {
    fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        let mut uart = self.lock();
        data.fill_with(|| uart.read(offset as u8));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        let mut uart = self.lock();
        for byte in data {
            uart.write(offset as u8, *byte).map_err(|error| {
                AccessError::Failed(anyhow!("serial console at offset {offset}: {error:?}"))
            })?;
        }
        Ok(())
    }
}

/// The machine's reset line.
struct ResetLine(Arc<Stop>);

impl Trigger for ResetLine {
    type E = std::convert::Infallible;

    fn trigger(&self) -> Result<(), Self::E> {
        self.0.request(Outcome::GuestReset);
        Ok(())
    }
}

/// The keyboard controller at [`crate::layout::I8042_PORT`]: no keyboard, only the reset line.
/// Its status reads 0, so that Linux does not wait for it before a reset.
pub(crate) struct KeyboardController {
    i8042: Mutex<I8042Device<ResetLine>>,
}

impl KeyboardController {
    /// A controller that ends the machine by `stop`.
    pub(crate) fn new(stop: Arc<Stop>) -> Self {
        Self {
            i8042: Mutex::new(I8042Device::new(ResetLine(stop))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, I8042Device<ResetLine>> {
        self.i8042.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BusDevice for KeyboardController {
    fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        let mut i8042 = self.lock();
        data.fill_with(|| i8042.read(offset as u8));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        for byte in data {
            let Ok(()) = self.lock().write(offset as u8, *byte);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_reads_zero_and_resets_on_command_fe_only() {
        let stop = Arc::new(Stop::new().unwrap());
        let controller = KeyboardController::new(Arc::clone(&stop));
        let mut status = [0xff];
        controller.read(4, &mut status).unwrap();
        assert_eq!(status, [0]);
        controller.write(0, &[0xfe]).unwrap();
        controller.write(4, &[0xd1]).unwrap();
        assert!(stop.outcome().is_none());
        controller.write(4, &[0xfe]).unwrap();
        assert!(matches!(stop.outcome(), Some(Outcome::GuestReset)));
    }

    #[test]
    fn input_beyond_the_fifo_waits_until_the_guest_has_read() {
        let interrupt = EventFd::new(EFD_NONBLOCK).unwrap();
        let marks = Arc::new(Marks::new(None, Vec::new(), Vec::new()));
        let port = SerialPort::new(interrupt, marks).unwrap();
        let drained = port.drained().unwrap();
        let taken = port.input(&[b'x'; 1000]).unwrap();
        assert!(taken > 0 && taken < 1000);
        assert_eq!(port.input(b"y").unwrap(), 0);
        let mut data = vec![0; taken];
        port.read(0, &mut data).unwrap();
        assert_eq!(data, vec![b'x'; taken]);
        assert_eq!(drained.read().unwrap(), 1);
        assert_eq!(port.input(b"y").unwrap(), 1);
    }
}
