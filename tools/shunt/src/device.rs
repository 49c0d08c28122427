// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a device is to this library: a register file, and perhaps some work of its own.

use std::os::fd::BorrowedFd;

use ioregion_wire::frame::{Command, Operation, Reply, Width};

use crate::counters::{Counters, Origin};

/// A device behind a region of guest memory or ports.
///
/// Whoever owns the device calls one method at a time, so a device needs no locks. A register
/// access keeps a virtual CPU waiting: an access that starts something long notes it down, and
/// [`work`](Self::work) does it after the reply is on its way.
pub trait Device {
    /// The value of a register. Bits above `width` are ignored.
    fn read(&mut self, offset: u64, width: Width) -> u64;

    /// Stores `value`, zero-extended from `width`, in a register.
    fn write(&mut self, offset: u64, width: Width, value: u64);

    /// Event number `index` of [`Session::events`](crate::session::Session::events) was
    /// signalled. A virtio device is told so of a driver's notification for queue `index`, when
    /// the VMM gave it to an ioeventfd.
    fn notified(&mut self, index: usize) {
        let _ = index;
    }

    /// What becomes readable when the device has something to do that nobody asked it for.
    fn input(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// [`input`](Self::input) has become readable, or there is more to read since. It need not be
    /// read at once; nothing is said again before more has come.
    fn input_ready(&mut self) {}

    /// Does a bounded part of the work that accesses and events left behind, and says whether
    /// there is more. Called after each of them until it answers false.
    fn work(&mut self) -> bool {
        false
    }
}

/// Carries out one access and counts it.
///
/// The command's `user_data` is where its region begins in the device's registers, so a VMM can
/// split a device into several regions, each with its own flags; a region that is the whole
/// device has 0.
///
/// Every access of every dispatch mode comes through here: [`serve`](crate::serve) calls it for
/// the commands of a channel, a VMM that hosts the device itself calls it for an exit (and then
/// [`Device::work`] until that answers false).
pub fn perform(
    device: &mut dyn Device,
    command: &Command,
    origin: Origin,
    counters: &Counters,
) -> Reply {
    let offset = command.user_data.wrapping_add(command.offset);
    match command.operation {
        Operation::Read => {
            counters.count_read(origin);
            let data = device.read(offset, command.width);
            Reply {
                data: command.width.mask(data),
            }
        }
        Operation::Write(value) => {
            counters.count_write(origin);
            device.write(offset, command.width, value);
            Reply::default()
        }
    }
}
