// SPDX-License-Identifier: GPL-2.0-only

//! Exitless interrupts: those of an assigned device go through the guest's own IDT, and the guest's
//! EOI to the local APIC of the CPU.
//!
//! ```text
//! /dev/exitless: ATTACH, ARM, DISARM ──► Session                        session.rs
//! KVM: routes_changed ──────────────────►   │
//! irqbypass: changed ──► Interrupt ─────►   ▼
//!                                        Table: what is delivered where    table.rs
//!                                           │ allow, deny                   vcpus.rs
//!                                           ▼
//! KVM: enter, exit ────────────────────► Vcpu: the plan, counters       vcpu.rs
//! /proc/PID/fdinfo ────────────────────► what the file has armed        report.rs
//! ```
//!
//! Decisions are in `exitless_vectors`, everything unsafe in `kvm_exitless`.
//! Documentation/exitless.md describes the interface.

#![forbid(unsafe_code)]

mod argument;
mod device;
mod report;
mod session;
mod table;
mod vcpu;
mod vcpus;

use device::Exitless;
use kernel::{
    miscdevice::{
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    prelude::*, //
};
use kvm_exitless::NmiHandler;

module! {
    type: ExitlessModule,
    name: "exitless",
    authors: ["Shunt developers"],
    description: "Interrupts of assigned devices without exits",
    license: "GPL",
}

#[pin_data]
struct ExitlessModule {
    /// Before the handler of its watchdogs' NMIs, so that no file is open when that goes.
    #[pin]
    _device: MiscDeviceRegistration<Exitless>,
    _watchdogs: NmiHandler,
}

impl kernel::InPlaceModule for ExitlessModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _watchdogs: NmiHandler::new()?,
            _device <- MiscDeviceRegistration::register(MiscDeviceOptions {
                name: c"exitless",
            }),
        })
    }
}
