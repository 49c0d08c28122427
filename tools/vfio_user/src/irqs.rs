// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Interrupts: what the device signals becomes writes to a client's eventfds.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use shunt::pci::Interrupts;

use crate::request::{Action, SetIrqs, Which};
use crate::wire::{self, IrqInfo};

/// One interrupt.
#[derive(Debug, Default)]
struct Line {
    event: Option<File>,
    masked: bool,
}

impl Line {
    /// Whether it was signalled: it is not masked, and there is something to signal.
    fn signal(&mut self) -> bool {
        match &mut self.event {
            Some(event) if !self.masked => {
                // It fails when the counter is full, and then there is a signal; or for what is
                // no eventfd, which is the client's loss.
                let _ = event.write_all(&1u64.to_ne_bytes());
                true
            }
            _ => false,
        }
    }
}

/// All interrupts of the device, as its client set them up.
#[derive(Debug)]
pub(crate) struct Irqs {
    /// Masks itself when it is signalled.
    pin: Vec<Line>,
    msix: Vec<Line>,
}

impl Irqs {
    pub(crate) fn new(has_pin: bool, vectors: u32) -> Self {
        let lines = |count: usize| (0..count).map(|_| Line::default()).collect();
        Self {
            pin: lines(has_pin.into()),
            msix: lines(vectors as usize),
        }
    }

    fn lines(&mut self, index: u32) -> Result<&mut [Line], Errno> {
        match index {
            wire::IRQ_PIN => Ok(&mut self.pin),
            wire::IRQ_MSIX => Ok(&mut self.msix),
            index if index < wire::IRQS => Ok(&mut []),
            _ => Err(Errno::INVAL),
        }
    }

    /// What kind of interrupt it is.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is no such kind.
    pub(crate) fn info(&mut self, index: u32) -> Result<IrqInfo, Errno> {
        let flags = match index {
            wire::IRQ_PIN => wire::IRQ_EVENTFD | wire::IRQ_MASKABLE | wire::IRQ_AUTOMASKED,
            wire::IRQ_MSIX => wire::IRQ_EVENTFD | wire::IRQ_MASKABLE,
            _ => 0,
        };
        Ok(IrqInfo {
            argsz: size_of::<IrqInfo>() as u32,
            flags,
            index,
            count: self.lines(index)?.len() as u32,
        })
    }

    /// Sets interrupts up.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it names interrupts that there are not.
    pub(crate) fn set(&mut self, set: &SetIrqs<'_>, fds: Vec<OwnedFd>) -> Result<(), Errno> {
        let lines = self.lines(set.index)?;
        if set.count == 0 {
            return disable(lines, set);
        }
        let (start, count) = (set.start as usize, set.count as usize);
        let lines = lines.get_mut(start..start + count).ok_or(Errno::INVAL)?;
        match set.which {
            Which::Events => return set_events(lines, fds),
            Which::All => lines.iter_mut().for_each(|line| act(line, set.action)),
            Which::Some(wanted) => {
                for (line, _) in lines.iter_mut().zip(wanted).filter(|(_, &byte)| byte != 0) {
                    act(line, set.action);
                }
            }
        }
        Ok(())
    }

    /// Signals what the device wants signalled, as far as the client lets it; which vectors were.
    pub(crate) fn deliver(&mut self, interrupts: Interrupts) -> u32 {
        for pin in &mut self.pin {
            if interrupts.pin && pin.signal() {
                pin.masked = true;
            }
        }
        let mut delivered = 0;
        for (vector, line) in self.msix.iter_mut().enumerate() {
            let bit = 1 << vector;
            if interrupts.pending & bit != 0 && line.signal() {
                delivered |= bit;
            }
        }
        delivered
    }
}

/// A count of 0 stands for all of a kind, and takes their events away.
fn disable(lines: &mut [Line], set: &SetIrqs<'_>) -> Result<(), Errno> {
    if (set.start, set.which, set.action) != (0, Which::All, Action::Trigger) {
        return Err(Errno::INVAL);
    }
    lines.iter_mut().for_each(|line| *line = Line::default());
    Ok(())
}

fn act(line: &mut Line, action: Action) {
    match action {
        Action::Mask => line.masked = true,
        Action::Unmask => line.masked = false,
        Action::Trigger => drop(line.signal()),
    }
}

/// Gives each interrupt an event of its own, or takes their events away if there are none.
fn set_events(lines: &mut [Line], fds: Vec<OwnedFd>) -> Result<(), Errno> {
    for fd in &fds {
        // A client that keeps a counter full must not make this process wait.
        rustix::io::ioctl_fionbio(fd, true)?;
    }
    let mut fds = fds.into_iter();
    for line in lines {
        *line = Line {
            event: fds.next().map(File::from),
            masked: false,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{eventfd, EventfdFlags};

    const TRIGGER: SetIrqs<'_> = SetIrqs {
        index: wire::IRQ_MSIX,
        start: 0,
        count: 2,
        which: Which::Events,
        action: Action::Trigger,
    };

    fn event() -> (OwnedFd, OwnedFd) {
        let event = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        (event.try_clone().unwrap(), event)
    }

    /// How often an event was signalled since the last look.
    fn count(event: &OwnedFd) -> u64 {
        let mut count = [0; 8];
        match rustix::io::read(event, &mut count) {
            Ok(_) => u64::from_ne_bytes(count),
            Err(e) => {
                assert_eq!(e, Errno::AGAIN);
                0
            }
        }
    }

    fn pending(bits: u32) -> Interrupts {
        Interrupts {
            pin: false,
            pending: bits,
        }
    }

    #[test]
    fn a_vector_waits_until_there_is_an_event() {
        let mut irqs = Irqs::new(true, 2);
        assert_eq!(irqs.deliver(pending(2)), 0);
        let (first, first_fd) = event();
        let (second, second_fd) = event();
        irqs.set(&TRIGGER, vec![first_fd, second_fd]).unwrap();
        assert_eq!(irqs.deliver(pending(2)), 2);
        assert_eq!(count(&second), 1);
        assert_eq!(count(&first), 0);
        irqs.set(&TRIGGER, vec![]).unwrap();
        assert_eq!(irqs.deliver(pending(3)), 0);
    }

    #[test]
    fn a_masked_vector_waits() {
        let mut irqs = Irqs::new(true, 2);
        let (first, first_fd) = event();
        irqs.set(&TRIGGER, vec![first_fd, event().1]).unwrap();
        let only_first = SetIrqs {
            which: Which::Some(&[1, 0]),
            action: Action::Mask,
            ..TRIGGER
        };
        irqs.set(&only_first, vec![]).unwrap();
        assert_eq!(irqs.deliver(pending(3)), 2);
        let unmask = SetIrqs {
            which: Which::All,
            action: Action::Unmask,
            ..TRIGGER
        };
        irqs.set(&unmask, vec![]).unwrap();
        assert_eq!(irqs.deliver(pending(1)), 1);
        assert_eq!(count(&first), 1);
    }

    #[test]
    fn the_pin_masks_itself_and_signals_again_while_it_is_high() {
        let mut irqs = Irqs::new(true, 0);
        let (pin, fd) = event();
        let set = SetIrqs {
            index: wire::IRQ_PIN,
            count: 1,
            ..TRIGGER
        };
        irqs.set(&set, vec![fd]).unwrap();
        let high = Interrupts {
            pin: true,
            pending: 0,
        };
        irqs.deliver(high);
        irqs.deliver(high);
        assert_eq!(count(&pin), 1);
        let unmask = SetIrqs {
            which: Which::All,
            action: Action::Unmask,
            ..set
        };
        irqs.set(&unmask, vec![]).unwrap();
        irqs.deliver(Interrupts::default());
        assert_eq!(count(&pin), 0);
        irqs.deliver(high);
        assert_eq!(count(&pin), 1);
    }

    #[test]
    fn interrupts_that_there_are_not_are_refused() {
        let mut irqs = Irqs::new(true, 2);
        for (index, start, count) in [
            (wire::IRQ_MSIX, 1, 2),
            (wire::IRQ_MSIX, u32::MAX - 1, 1),
            (wire::IRQ_PIN, 0, 2),
            (1, 0, 1),
            (wire::IRQS, 0, 0),
            (wire::IRQ_MSIX, 1, 0),
        ] {
            let set = SetIrqs {
                index,
                start,
                count,
                which: Which::All,
                ..TRIGGER
            };
            assert_eq!(irqs.set(&set, vec![]), Err(Errno::INVAL), "{set:?}");
        }
        assert_eq!(irqs.info(wire::IRQS), Err(Errno::INVAL));
        assert_eq!(irqs.info(wire::IRQ_MSIX).unwrap().count, 2);
        assert_eq!(irqs.info(1).unwrap().count, 0);
    }

    #[test]
    fn a_full_counter_does_not_make_us_wait() {
        let mut irqs = Irqs::new(true, 1);
        let (event, fd) = event();
        rustix::io::write(&event, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        let set = SetIrqs {
            count: 1,
            ..TRIGGER
        };
        irqs.set(&set, vec![fd]).unwrap();
        assert_eq!(irqs.deliver(pending(1)), 1);
    }
}
