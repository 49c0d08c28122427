// SPDX-License-Identifier: GPL-2.0-only

//! Declarations of `helpers.h` and of `include/linux/kvm_ext.h`.
//!
//! C structures are opaque, but for those that have to be read or filled in here. `helpers.c`
//! asserts the same sizes and offsets as this file.

use core::mem::offset_of;
use kernel::{
    bindings::seq_file,
    ffi::{
        c_char,
        c_int,
        c_long,
        c_uint,
        c_ulong,
        c_void, //
    }, //
};

/// `struct kvm`.
#[repr(C)]
pub(crate) struct Kvm {
    _opaque: [u8; 0],
}

/// `struct kvm_vcpu`.
#[repr(C)]
pub(crate) struct KvmVcpu {
    _opaque: [u8; 0],
}

/// `struct shunt_changes`.
#[repr(C)]
pub(crate) struct ShuntChanges {
    _opaque: [u8; 0],
}

/// `struct shunt_ring`.
#[repr(C)]
pub(crate) struct ShuntRing {
    _opaque: [u8; 0],
}

/// `struct shunt_registers`.
#[repr(C)]
pub(crate) struct ShuntRegisters {
    _opaque: [u8; 0],
}

/// `struct eventfd_ctx`.
#[repr(C)]
pub(crate) struct EventfdCtx {
    _opaque: [u8; 0],
}

/// `struct kvm_ext_io`.
#[repr(C)]
pub(crate) struct KvmExtIo {
    pub(crate) addr: u64,
    pub(crate) data: *mut u8,
    pub(crate) size: u32,
    pub(crate) count: u32,
    pub(crate) is_pio: bool,
    pub(crate) is_write: bool,
    pub(crate) resumed: bool,
}

/// `struct shunt_vcpu`.
#[repr(C)]
pub(crate) struct ShuntVcpu {
    pub(crate) kvm: *mut Kvm,
    pub(crate) vm_data: *mut c_void,
    pub(crate) index: u32,
}

/// `struct kvm_ext_ops`.
#[repr(C)]
pub(crate) struct KvmExtOps {
    pub(crate) owner: *mut c_void,
    pub(crate) check_extension: unsafe extern "C" fn(c_long) -> c_int,
    pub(crate) owns_ioctl: unsafe extern "C" fn(c_uint) -> bool,
    pub(crate) vm_create: unsafe extern "C" fn(*mut Kvm) -> c_int,
    pub(crate) vm_ioctl: unsafe extern "C" fn(*mut Kvm, c_uint, c_ulong) -> c_long,
    pub(crate) vm_destroy: unsafe extern "C" fn(*mut Kvm),
    pub(crate) vcpu_try_io: unsafe extern "C" fn(*mut KvmVcpu, *const KvmExtIo) -> bool,
    pub(crate) vcpu_io: unsafe extern "C" fn(*mut KvmVcpu, *const KvmExtIo, bool) -> c_int,
    pub(crate) vcpu_destroy: unsafe extern "C" fn(*mut KvmVcpu),
}

const _: () = {
    assert!(size_of::<KvmExtIo>() == 32);
    assert!(offset_of!(KvmExtIo, data) == 8);
    assert!(offset_of!(KvmExtIo, size) == 16);
    assert!(offset_of!(KvmExtIo, count) == 20);
    assert!(offset_of!(KvmExtIo, is_pio) == 24);
    assert!(offset_of!(KvmExtIo, is_write) == 25);
    assert!(offset_of!(KvmExtIo, resumed) == 26);
    assert!(size_of::<ShuntVcpu>() == 24);
    assert!(offset_of!(ShuntVcpu, vm_data) == 8);
    assert!(offset_of!(ShuntVcpu, index) == 16);
    assert!(size_of::<KvmExtOps>() == 72);
    assert!(offset_of!(KvmExtOps, check_extension) == 8);
    assert!(offset_of!(KvmExtOps, owns_ioctl) == 16);
    assert!(offset_of!(KvmExtOps, vm_create) == 24);
    assert!(offset_of!(KvmExtOps, vm_ioctl) == 32);
    assert!(offset_of!(KvmExtOps, vm_destroy) == 40);
    assert!(offset_of!(KvmExtOps, vcpu_try_io) == 48);
    assert!(offset_of!(KvmExtOps, vcpu_io) == 56);
    assert!(offset_of!(KvmExtOps, vcpu_destroy) == 64);
};

extern "C" {
    pub(crate) fn kvm_ext_register(ops: *const KvmExtOps) -> c_int;
    pub(crate) fn kvm_ext_unregister(ops: *const KvmExtOps);

    pub(crate) fn shunt_vm_data(kvm: *mut Kvm) -> *mut c_void;
    pub(crate) fn shunt_set_vm_data(kvm: *mut Kvm, data: *mut c_void);
    pub(crate) fn shunt_vcpu_data(vcpu: *mut KvmVcpu) -> *mut c_void;
    pub(crate) fn shunt_set_vcpu_data(vcpu: *mut KvmVcpu, data: *mut c_void);
    pub(crate) fn shunt_vcpu(vcpu: *mut KvmVcpu) -> ShuntVcpu;
    pub(crate) fn shunt_describe_exit(
        vcpu: *mut KvmVcpu,
        reason: u32,
        tail: *const c_void,
        len: usize,
    );

    pub(crate) fn shunt_synchronize(kvm: *mut Kvm);
    pub(crate) fn shunt_deadline(ms: u32) -> u64;
    pub(crate) fn shunt_cycles_to_ns(cycles: u64) -> u64;
    pub(crate) fn shunt_is_over(deadline: u64) -> bool;

    pub(crate) fn shunt_registers_pin(
        addr: u64,
        size: usize,
        registers: *mut *mut ShuntRegisters,
    ) -> c_int;
    pub(crate) fn shunt_registers_unpin(registers: *mut ShuntRegisters);
    pub(crate) fn shunt_registers_start(registers: *mut ShuntRegisters) -> *mut c_void;
    pub(crate) fn shunt_register_load(at: *const c_void, size: u32) -> u64;
    pub(crate) fn shunt_register_store(at: *mut c_void, size: u32, value: u64);
    pub(crate) fn shunt_register_clear(at: *mut c_void, size: u32, bits: u64);

    pub(crate) fn shunt_eventfd_get(fd: c_int, error: *mut c_int) -> *mut EventfdCtx;
    pub(crate) fn shunt_eventfd_put(eventfd: *mut EventfdCtx);
    pub(crate) fn shunt_eventfd_signal(eventfd: *mut EventfdCtx);

    pub(crate) fn shunt_vm_debugfs(
        kvm: *mut Kvm,
        name: *const c_char,
        show: unsafe extern "C" fn(*mut seq_file, *mut c_void) -> c_int,
    );

    pub(crate) fn shunt_file_check(file: *mut c_void, write: bool) -> c_int;
    pub(crate) fn shunt_file_keeps_messages(file: *mut c_void) -> bool;
    pub(crate) fn shunt_file_read(file: *mut c_void, buf: *mut c_void, len: usize) -> isize;
    pub(crate) fn shunt_file_write(file: *mut c_void, buf: *const c_void, len: usize) -> isize;
    pub(crate) fn shunt_file_readable(file: *mut c_void) -> bool;

    pub(crate) fn shunt_ring_alloc(
        kernel_size: usize,
        device_size: usize,
        slots: u32,
        first_slot: usize,
        vcpus: u32,
    ) -> *mut ShuntRing;
    pub(crate) fn shunt_ring_put(ring: *mut ShuntRing);
    pub(crate) fn shunt_ring_open(ring: *mut ShuntRing) -> c_int;
    pub(crate) fn shunt_ring_get(fd: c_int) -> *mut ShuntRing;
    pub(crate) fn shunt_ring_kernel_area(ring: *mut ShuntRing) -> *mut c_void;
    pub(crate) fn shunt_ring_device_area(ring: *mut ShuntRing) -> *mut c_void;
    pub(crate) fn shunt_ring_device_is_gone(ring: *mut ShuntRing) -> *const bool;
    pub(crate) fn shunt_ring_close(ring: *mut ShuntRing);
    pub(crate) fn shunt_ring_changes(ring: *mut ShuntRing) -> u32;
    pub(crate) fn shunt_ring_announce(ring: *mut ShuntRing);
    pub(crate) fn shunt_ring_wake_device(ring: *mut ShuntRing);
    pub(crate) fn shunt_ring_spin(ring: *mut ShuntRing, line: usize, request: u64, ns: u64)
        -> bool;
    pub(crate) fn shunt_ring_sleep(
        ring: *mut ShuntRing,
        vcpu: u32,
        line: usize,
        request: u64,
        seen: u32,
        deadline: u64,
    ) -> c_int;
    pub(crate) fn shunt_ring_wait_for_room(ring: *mut ShuntRing, seen: u32, deadline: u64)
        -> c_int;

    pub(crate) fn shunt_changes_alloc() -> *mut ShuntChanges;
    pub(crate) fn shunt_changes_free(changes: *mut ShuntChanges);
    pub(crate) fn shunt_changes_count(changes: *const ShuntChanges) -> u32;
    pub(crate) fn shunt_changes_announce(changes: *mut ShuntChanges);
    pub(crate) fn shunt_wait(
        changes: *mut ShuntChanges,
        seen: u32,
        file: *mut c_void,
        write: bool,
        deadline: u64,
    ) -> c_int;
}
