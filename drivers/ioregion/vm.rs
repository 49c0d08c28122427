// SPDX-License-Identifier: GPL-2.0-only

//! What `ioregion` keeps of a VM, and its ioctls.

use crate::{
    argument,
    buses::{
        Buses,
        Files, //
    },
    channel::RingChannel,
    counters,
    region::Region,
    rules::Rules,
    table::{
        Entry,
        Table, //
    },
};
use ioregion_dispatch::{
    regions,
    spec::{
        Bus,
        Spec, //
    },
};
use ioregion_wire::uapi::{
    KvmIoregion,
    KvmIoregionChannel,
    KvmIoregionRules, //
};
use kernel::{
    new_mutex,
    prelude::*,
    seq_file::SeqFile,
    sync::{
        Arc,
        Mutex, //
    },
    uaccess::UserPtr,
};
use kvm_ext::{
    Io,
    Kvm,
    Published,
    ReadSide, //
};

/// What `ioregion` keeps of a VM.
#[pin_data]
pub(crate) struct Vm {
    #[pin]
    buses: Mutex<Buses>,
    /// The MMIO bus, for accesses that are attempted without an exit.
    mmio: Published<Table>,
}

impl Vm {
    pub(crate) fn new(kvm: &Kvm<'_>) -> Result<impl PinInit<Self>> {
        let buses = Buses::new()?;
        let mmio = Published::new(kvm, buses.bus(Bus::Mmio).clone());
        Ok(pin_init!(Self {
            buses <- new_mutex!(buses),
            mmio,
        }))
    }

    /// The region that an access at an exit belongs to.
    pub(crate) fn find(&self, io: &Io<'_>) -> Option<Entry> {
        let buses = self.buses.lock();
        let table = buses.bus(if io.is_pio() { Bus::Pio } else { Bus::Mmio });
        regions::find(table, io.addr(), io.element_size() as u64, io.is_write()).cloned()
    }

    /// The region that an attempted access belongs to.
    #[inline]
    pub(crate) fn find_without_exit<'a>(
        &'a self,
        io: &Io<'_>,
        side: &'a ReadSide<'_>,
    ) -> Option<&'a Entry> {
        let table = self.mmio.read(side)?;
        regions::find(table, io.addr(), io.element_size() as u64, io.is_write())
    }

    /// Prints a line for each region.
    pub(crate) fn show(&self, file: &SeqFile) {
        let tables = {
            let buses = self.buses.lock();
            [Bus::Mmio, Bus::Pio].map(|bus| buses.bus(bus).clone())
        };
        for entry in tables.iter().flat_map(|table| table.iter()) {
            counters::show(&entry.region, file);
        }
    }

    /// `KVM_SET_IOREGION`.
    ///
    /// # Errors
    ///
    /// - `EFAULT`: the argument cannot be read.
    /// - `EINVAL`: it does not describe a region (see [`Spec::parse`]), or a file is neither a
    ///   pipe nor a socket, or is in non-blocking mode.
    /// - `EBADF`: a descriptor is not open for its direction, or is not a channel of this VM.
    /// - `EEXIST`: the region overlaps another one.
    /// - `ENOSPC`: the bus has `KVM_IOREGION_MAX` regions.
    /// - `ENOENT`: there is no region of exactly this range to remove.
    pub(crate) fn set_ioregion(&self, kvm: &Kvm<'_>, arg: UserPtr) -> Result<isize> {
        let arg: KvmIoregion = argument::read(arg)?;
        let spec = Spec::parse(&arg).map_err(|_| EINVAL)?;
        match spec.deassign {
            true => self.remove(kvm, &spec)?,
            false => self.add(kvm, spec, &arg)?,
        }
        Ok(0)
    }

    /// `KVM_SET_IOREGION_RULES`.
    ///
    /// # Errors
    ///
    /// - `EFAULT`: the argument cannot be read.
    /// - `ENOENT`: there is no region of exactly this range.
    /// - `EINVAL`: a flag or padding is not zero; the region is a doorbell.
    /// - Those of [`Rules::read`]. The rules are as before.
    pub(crate) fn set_rules(&self, kvm: &Kvm<'_>, arg: UserPtr) -> Result<isize> {
        let arg: KvmIoregionRules = argument::read(arg)?;
        let (bus, range) = Spec::ruled(&arg).map_err(|_| EINVAL)?;
        // Before the rules are read, so that a wrong range is never something else.
        self.buses.lock().bus(bus).position(&range)?;
        let rules = match arg.nr_rules {
            0 => None,
            _ => Some(Arc::new(Rules::read(&arg)?, GFP_KERNEL_ACCOUNT)?),
        };
        let mut buses = self.buses.lock();
        let table = buses.bus(bus);
        let at = table.position(&range)?;
        let region = table[at].region.clone();
        let table = table.with_replaced(at, Entry { region, rules })?;
        self.replace(kvm, &mut buses, bus, table)?;
        Ok(0)
    }

    /// `KVM_CREATE_IOREGION_CHANNEL`: yields the descriptor.
    ///
    /// # Errors
    ///
    /// - `EFAULT`: the argument cannot be read.
    /// - `EINVAL`: a channel cannot be so.
    /// - `EMFILE`, `ENOMEM`.
    pub(crate) fn create_channel(&self, arg: UserPtr) -> Result<isize> {
        let arg: KvmIoregionChannel = argument::read(arg)?;
        let ring = RingChannel::new(&arg)?;
        Ok(self.buses.lock().open_ring(ring)? as isize)
    }

    fn add(&self, kvm: &Kvm<'_>, spec: Spec, arg: &KvmIoregion) -> Result {
        let files = match spec.channel {
            true => None,
            false => Some(Files::open(&spec, arg)?),
        };
        let mut buses = self.buses.lock();
        let bus = spec.bus;
        let at = buses.bus(bus).vacancy(&spec.range)?;
        let channel = match files {
            Some(files) => buses.frames(files)?,
            None => buses.ring(arg.write_fd)?,
        };
        let region = Region::new(spec, arg.user_data, channel);
        let entry = Entry {
            region: Arc::new(region, GFP_KERNEL_ACCOUNT)?,
            rules: None,
        };
        let table = buses.bus(bus).with_inserted(at, entry)?;
        self.replace(kvm, &mut buses, bus, table)
    }

    fn remove(&self, kvm: &Kvm<'_>, spec: &Spec) -> Result {
        let entry = {
            let mut buses = self.buses.lock();
            let table = buses.bus(spec.bus).clone();
            let at = table.position(&spec.range)?;
            let rest = table.with_removed(at)?;
            self.replace(kvm, &mut buses, spec.bus, rest)?;
            buses.forget_unused(table[at].region.channel());
            table[at].clone()
        };
        entry.region.remove();
        Ok(())
    }

    /// Puts a table in place of the one before. Attempts that found something in that are over
    /// when this returns.
    fn replace(&self, kvm: &Kvm<'_>, buses: &mut Buses, bus: Bus, table: Arc<Table>) -> Result {
        if bus == Bus::Mmio {
            self.mmio.replace(kvm, table.clone())?;
        }
        buses.set(bus, table);
        Ok(())
    }
}
