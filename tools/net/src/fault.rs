// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A device that does one thing wrong now and then, as others were found or thought to do: for tests of
//! what finds such faults.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::str::FromStr;
use std::sync::atomic::Ordering;

use ioregion_wire::frame::Width;
use shunt::device::Device;
use shunt::state::StatePage;
use virtio_spec::mmio;

/// What is done wrong, each so many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An acknowledgement takes effect after the next interrupt has been raised, and clears its bit: what
    /// becomes of `isr &= ~bits` when it is not atomic, or of an acknowledgement that the guest does not
    /// wait for.
    LateAck(u64),
    /// A notification is not noticed.
    LostNotification(u64),
}

const LATE_ACK: &str = "late-ack";
const LOST_NOTIFICATION: &str = "lost-notification";

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LateAck(each) => write!(f, "{LATE_ACK}={each}"),
            Self::LostNotification(each) => write!(f, "{LOST_NOTIFICATION}={each}"),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, each) = text.split_once('=').ok_or("NAME=NUMBER, please")?;
        let each = each.parse().ok().filter(|&each| each > 0);
        let each = each.ok_or_else(|| format!("{text}: each how many?"))?;
        match name {
            LATE_ACK => Ok(Self::LateAck(each)),
            LOST_NOTIFICATION => Ok(Self::LostNotification(each)),
            _ => Err(format!("no fault is called {name}")),
        }
    }
}

/// A device with a fault.
pub struct Faulty {
    device: Box<dyn Device>,
    state: StatePage,
    fault: Fault,
    /// Writes to the register of the fault.
    writes: u64,
    /// An acknowledgement that waits, and how many interrupts had been raised when it came.
    late: Option<(u64, u64)>,
}

impl Faulty {
    /// This device, whose state page is `state`.
    pub fn new(device: Box<dyn Device>, state: StatePage, fault: Fault) -> Self {
        Self {
            device,
            state,
            fault,
            writes: 0,
            late: None,
        }
    }

    fn raised(&self) -> u64 {
        self.state.counters().interrupts.load(Ordering::Relaxed)
    }

    /// Whether this write to the register of the fault is one of those that go wrong.
    fn is_wrong(&mut self, each: u64) -> bool {
        self.writes += 1;
        self.writes % each == 0
    }
}

impl Device for Faulty {
    fn read(&mut self, offset: u64, width: Width) -> u64 {
        self.device.read(offset, width)
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) {
        match (self.fault, offset as usize) {
            (Fault::LateAck(each), mmio::INTERRUPT_ACK) if self.is_wrong(each) => {
                self.late = Some((value, self.raised()));
            }
            (Fault::LostNotification(each), mmio::QUEUE_NOTIFY) if self.is_wrong(each) => {}
            _ => self.device.write(offset, width, value),
        }
    }

    fn notified(&mut self, queue: usize) {
        self.device.notified(queue);
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        self.device.input()
    }

    fn input_ready(&mut self) {
        self.device.input_ready();
    }

    fn work(&mut self) -> bool {
        let more = self.device.work();
        if let Some((bits, raised)) = self.late {
            if self.raised() != raised {
                self.late = None;
                self.device
                    .write(mmio::INTERRUPT_ACK as u64, Width::Long, bits);
            }
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn a_fault_has_a_name_and_a_number() {
        for fault in [Fault::LateAck(5), Fault::LostNotification(700)] {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        for text in ["late-ack", "late-ack=0", "late-ack=x", "early-ack=1"] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }

    /// Remembers its last write, where the test sees it.
    #[derive(Clone, Default)]
    struct Last(Rc<Cell<Option<u64>>>);

    impl Device for Last {
        fn read(&mut self, _: u64, _: Width) -> u64 {
            0
        }

        fn write(&mut self, _: u64, _: Width, value: u64) {
            self.0.set(Some(value));
        }
    }

    fn faulty(fault: Fault) -> (Faulty, Last, StatePage) {
        let (last, state) = (Last::default(), StatePage::create().unwrap());
        let device = Faulty::new(Box::new(last.clone()), state.clone(), fault);
        (device, last, state)
    }

    #[test]
    fn a_late_acknowledgement_comes_with_the_next_interrupt() {
        let (mut device, last, state) = faulty(Fault::LateAck(1));
        device.write(mmio::INTERRUPT_ACK as u64, Width::Long, 1);
        device.work();
        assert_eq!(last.0.get(), None);
        state.counters().interrupts.fetch_add(1, Ordering::Relaxed);
        device.work();
        assert_eq!(last.0.get(), Some(1));
    }

    #[test]
    fn each_second_notification_is_lost() {
        let (mut device, last, _) = faulty(Fault::LostNotification(2));
        for (queue, seen) in [(3, 3), (4, 3), (5, 5)] {
            device.write(mmio::QUEUE_NOTIFY as u64, Width::Long, queue);
            assert_eq!(last.0.get(), Some(seen));
        }
    }
}
