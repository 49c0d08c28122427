// SPDX-License-Identifier: GPL-2.0-only

//! ioregionfd: guest MMIO and PIO go from KVM to a device process.
//!
//! ```text
//! MMIO that KVM has no device for: try_io, without an exit
//!   -> Vm::find_without_exit       which region?                            vm.rs, table.rs
//!   -> attempt (access.rs)         a rule (rules.rs), or a ring that may answer at once
//! KVM_RUN, about to exit for an access: handle_io
//!   -> Vm::find                    none: the exit goes to the VMM
//!   -> Access::advance (access.rs) piece by piece, until the whole access is done
//!   -> Channel (channel.rs)        command out, answer in: frames.rs, ring.rs
//!   -> failure.rs                  what the VMM is told when the device does not answer
//! an access that has ended: observation.rs, counters.rs
//! ```
//!
//! Decisions are in `ioregion_dispatch`, formats in `ioregion_wire`, everything unsafe in
//! `kvm_ext`. Documentation/ioregion.md describes the interface.

#![forbid(unsafe_code)]

mod access;
mod argument;
mod buses;
mod channel;
mod counters;
mod failure;
mod observation;
mod region;
mod rules;
mod table;
mod vm;

use access::Vcpu;
use ioregion_wire::uapi;
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    uaccess::UserPtr, //
};
use kvm_ext::{
    Extension,
    Io,
    IoOutcome,
    Kvm,
    ReadSide,
    Registration, //
};
use vm::Vm;

module! {
    type: IoRegionModule,
    name: "ioregion",
    authors: ["Shunt developers"],
    description: "Guest I/O from KVM to a device process",
    license: "GPL",
}

struct IoRegionModule {
    _registration: Registration<IoRegion>,
}

impl kernel::Module for IoRegionModule {
    fn init(module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _registration: Registration::new(module)?,
        })
    }
}

struct IoRegion;

impl Extension for IoRegion {
    const DEBUGFS: &'static CStr = c"ioregion";

    type Vm = Pin<KBox<Vm>>;
    type Vcpu = Vcpu;

    fn check_extension(number: usize) -> u32 {
        match u32::try_from(number) {
            Ok(uapi::KVM_CAP_IOREGIONFD) => uapi::API_VERSION,
            _ => 0,
        }
    }

    fn owns_ioctl(cmd: u32) -> bool {
        matches!(
            cmd,
            uapi::KVM_SET_IOREGION
                | uapi::KVM_SET_IOREGION_RULES
                | uapi::KVM_CREATE_IOREGION_CHANNEL
        )
    }

    fn create_vm(kvm: &Kvm<'_>) -> Result<Self::Vm> {
        KBox::pin_init(Vm::new(kvm)?, GFP_KERNEL_ACCOUNT)
    }

    fn ioctl(vm: Pin<&Vm>, kvm: &Kvm<'_>, cmd: u32, arg: UserPtr) -> Result<isize> {
        match cmd {
            uapi::KVM_SET_IOREGION => vm.set_ioregion(kvm, arg),
            uapi::KVM_SET_IOREGION_RULES => vm.set_rules(kvm, arg),
            uapi::KVM_CREATE_IOREGION_CHANNEL => vm.create_channel(arg),
            _ => Err(ENOTTY),
        }
    }

    #[inline]
    fn try_io(vm: Pin<&Vm>, vcpu: &mut Self::Vcpu, io: &mut Io<'_>, side: &ReadSide<'_>) -> bool {
        access::attempt(&vm, vcpu, io, side)
    }

    #[inline]
    fn handle_io(vm: Pin<&Vm>, vcpu: &mut Self::Vcpu, io: &mut Io<'_>) -> IoOutcome {
        access::handle(&vm, vcpu, io)
    }

    fn show(vm: Pin<&Vm>, file: &SeqFile) {
        vm.show(file);
    }
}
