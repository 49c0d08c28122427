// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What we use of QEMU's interface for plugins, version 4 (`qemu/qemu-plugin.h`).

use std::ffi::{c_int, c_uint, c_void};

/// The version of the interface.
pub(crate) const VERSION: c_int = 4;

/// `QEMU_PLUGIN_INLINE_ADD_U64`.
pub(crate) const INLINE_ADD: c_int = 0;
/// `QEMU_PLUGIN_CB_NO_REGS`.
pub(crate) const NO_REGISTERS: c_int = 0;
/// `QEMU_PLUGIN_MEM_RW`.
pub(crate) const READS_AND_WRITES: c_int = 3;

/// A number in an entry of a scoreboard (`qemu_plugin_u64`).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Number {
    pub(crate) scoreboard: *mut c_void,
    /// In bytes.
    pub(crate) offset: usize,
}

pub(crate) type Translated = unsafe extern "C" fn(plugin: u64, block: *mut c_void);
pub(crate) type Executed = unsafe extern "C" fn(cpu: c_uint, data: *mut c_void);
pub(crate) type Accessed =
    unsafe extern "C" fn(cpu: c_uint, access: u32, address: u64, data: *mut c_void);

extern "C" {
    pub(crate) fn qemu_plugin_register_vcpu_tb_trans_cb(plugin: u64, call: Translated);
    pub(crate) fn qemu_plugin_tb_n_insns(block: *const c_void) -> usize;
    pub(crate) fn qemu_plugin_tb_get_insn(block: *const c_void, index: usize) -> *mut c_void;
    pub(crate) fn qemu_plugin_insn_vaddr(instruction: *const c_void) -> u64;
    pub(crate) fn qemu_plugin_insn_data(
        instruction: *const c_void,
        bytes: *mut c_void,
        length: usize,
    ) -> usize;
    pub(crate) fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut c_void,
        call: Executed,
        flags: c_int,
        data: *mut c_void,
    );
    pub(crate) fn qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
        instruction: *mut c_void,
        operation: c_int,
        entry: Number,
        operand: u64,
    );
    pub(crate) fn qemu_plugin_register_vcpu_mem_cb(
        instruction: *mut c_void,
        call: Accessed,
        flags: c_int,
        which: c_int,
        data: *mut c_void,
    );
    pub(crate) fn qemu_plugin_get_hwaddr(access: u32, address: u64) -> *const c_void;
    pub(crate) fn qemu_plugin_hwaddr_is_io(address: *const c_void) -> bool;
    pub(crate) fn qemu_plugin_scoreboard_new(bytes: usize) -> *mut c_void;
    pub(crate) fn qemu_plugin_scoreboard_find(scoreboard: *mut c_void, cpu: c_uint) -> *mut u64;
}
