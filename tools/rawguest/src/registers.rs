// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The registers a program starts with.

use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};

use crate::ram::{DESCRIPTORS, GATES, PAGE_TABLES, STACKS, STACK_SIZE};
use crate::{Mode, Reg};

const CR0_PROTECTION: u64 = 1 << 0;
const CR0_MONITOR_FPU: u64 = 1 << 1;
const CR0_EXTENSION_TYPE: u64 = 1 << 4;
const CR0_PAGING: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const CR4_SSE: u64 = 1 << 9;
const EFER_LONG_MODE: u64 = 1 << 8 | 1 << 10;
const RFLAGS_ALWAYS_ONE: u64 = 1 << 1;

const CODE_SEGMENT: u8 = 11;
const DATA_SEGMENT: u8 = 3;

/// All zero, at the first instruction, with a stack.
pub(crate) fn initial(rip: u64, vcpu: usize) -> kvm_regs {
    kvm_regs {
        rip,
        rsp: STACKS + vcpu as u64 * STACK_SIZE,
        rflags: RFLAGS_ALWAYS_ONE,
        ..Default::default()
    }
}

/// Turns the reset state into that of `mode`.
pub(crate) fn enter(mode: Mode, sregs: &mut kvm_sregs) {
    match mode {
        Mode::Real { window } => {
            (sregs.cs.base, sregs.cs.selector) = (0, 0);
            sregs.ds.base = u64::from(window);
        }
        Mode::Long => {
            sregs.cs = flat(CODE_SEGMENT, 0x8);
            for segment in [&mut sregs.ds, &mut sregs.es, &mut sregs.ss] {
                *segment = flat(DATA_SEGMENT, 0x10);
            }
            sregs.cr0 = CR0_PROTECTION | CR0_MONITOR_FPU | CR0_EXTENSION_TYPE | CR0_PAGING;
            sregs.cr3 = PAGE_TABLES;
            sregs.cr4 = CR4_PAE | CR4_SSE;
            sregs.efer = EFER_LONG_MODE;
            (sregs.gdt.base, sregs.gdt.limit) = (DESCRIPTORS, 3 * 8 - 1);
            (sregs.idt.base, sregs.idt.limit) = (GATES, 256 * 16 - 1);
        }
    }
}

/// The local APIC is on, in x2APIC mode.
pub(crate) fn with_x2apic(sregs: &mut kvm_sregs) {
    const X2APIC_ON: u64 = 1 << 11 | 1 << 10;
    sregs.apic_base |= X2APIC_ON;
}

/// The field of `regs` that `reg` names.
pub(crate) fn field(regs: &mut kvm_regs, reg: Reg) -> &mut u64 {
    match reg {
        Reg::Ax => &mut regs.rax,
        Reg::Cx => &mut regs.rcx,
        Reg::Dx => &mut regs.rdx,
        Reg::Bx => &mut regs.rbx,
        Reg::Bp => &mut regs.rbp,
        Reg::Si => &mut regs.rsi,
        Reg::Di => &mut regs.rdi,
    }
}

fn flat(type_: u8, selector: u16) -> kvm_segment {
    let code = type_ == CODE_SEGMENT;
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        s: 1,
        l: u8::from(code),
        db: u8::from(!code),
        g: 1,
        ..Default::default()
    }
}
