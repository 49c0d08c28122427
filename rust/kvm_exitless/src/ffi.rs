// SPDX-License-Identifier: GPL-2.0-only

//! Declarations of `helpers.h`, of `watchdog.h` and of `include/linux/kvm_exitless.h`. `helpers.c` asserts the same
//! sizes and offsets as this file.

use core::mem::offset_of;
use kernel::ffi::{
    c_int,
    c_void, //
};

/// `struct kvm`.
#[repr(C)]
pub(crate) struct Kvm {
    _opaque: [u8; 0],
}

/// `struct shunt_consumer`.
#[repr(C)]
pub(crate) struct ShuntConsumer {
    _opaque: [u8; 0],
}

/// `struct shunt_watchdog`.
#[repr(C)]
pub(crate) struct ShuntWatchdog {
    _opaque: [u8; 0],
}

/// `KVM_EXITLESS_NONE`.
pub(crate) const NONE: u8 = 0;
/// `KVM_EXITLESS_INTERRUPT`.
pub(crate) const INTERRUPT: u8 = 1;
/// `KVM_EXITLESS_SOFTWARE`.
pub(crate) const SOFTWARE: u8 = 2;

/// `struct kvm_exitless_exit`.
#[repr(C)]
pub(crate) struct KvmExitlessExit {
    pub(crate) event: u8,
    pub(crate) vector: u8,
    pub(crate) fault: bool,
    pub(crate) nmi: bool,
    pub(crate) masked: bool,
    pub(crate) expired: bool,
    pub(crate) in_service: u16,
}

/// `struct kvm_exitless_verdict`.
#[repr(C)]
pub(crate) struct KvmExitlessVerdict {
    pub(crate) host: u8,
    pub(crate) pending: u16,
    pub(crate) in_service: u16,
}

/// `struct kvm_exitless_ops`.
#[repr(C)]
pub(crate) struct KvmExitlessOps {
    pub(crate) routes_changed: unsafe extern "C" fn(*mut c_void),
    pub(crate) enter: unsafe extern "C" fn(*mut c_void, bool) -> u32,
    pub(crate) exit:
        unsafe extern "C" fn(*mut c_void, *const KvmExitlessExit, *mut KvmExitlessVerdict),
}

const _: () = {
    assert!(size_of::<KvmExitlessExit>() == 8);
    assert!(offset_of!(KvmExitlessExit, vector) == 1);
    assert!(offset_of!(KvmExitlessExit, fault) == 2);
    assert!(offset_of!(KvmExitlessExit, nmi) == 3);
    assert!(offset_of!(KvmExitlessExit, masked) == 4);
    assert!(offset_of!(KvmExitlessExit, expired) == 5);
    assert!(offset_of!(KvmExitlessExit, in_service) == 6);
    assert!(size_of::<KvmExitlessVerdict>() == 6);
    assert!(offset_of!(KvmExitlessVerdict, pending) == 2);
    assert!(offset_of!(KvmExitlessVerdict, in_service) == 4);
    assert!(size_of::<KvmExitlessOps>() == 24);
    assert!(offset_of!(KvmExitlessOps, enter) == 8);
    assert!(offset_of!(KvmExitlessOps, exit) == 16);
};

extern "C" {
    pub(crate) fn kvm_exitless_attach(
        vm_fd: c_int,
        ops: *const KvmExitlessOps,
        data: *mut c_void,
        kvm: *mut *mut Kvm,
    ) -> c_int;
    pub(crate) fn kvm_exitless_detach(kvm: *mut Kvm);
    pub(crate) fn kvm_exitless_route(kvm: *mut Kvm, gsi: u32, vector: *mut u8) -> c_int;
    pub(crate) fn kvm_exitless_obstacle(kvm: *mut Kvm, index: u32, cpu: *mut c_int) -> c_int;
    pub(crate) fn kvm_exitless_arm(
        kvm: *mut Kvm,
        index: u32,
        cpu: c_int,
        data: *mut c_void,
    ) -> c_int;
    pub(crate) fn kvm_exitless_disarm(kvm: *mut Kvm, index: u32);
    pub(crate) fn kvm_exitless_settle(kvm: *mut Kvm);
    pub(crate) fn kvm_exitless_is_timed() -> bool;

    pub(crate) fn shunt_watchdog_init() -> c_int;
    pub(crate) fn shunt_watchdog_exit();
    pub(crate) fn shunt_watchdog_start(cpu: u32, error: *mut c_int) -> *mut ShuntWatchdog;
    pub(crate) fn shunt_watchdog_stop(watchdog: *mut ShuntWatchdog);
    pub(crate) fn shunt_watchdog_note(watchdog: *mut ShuntWatchdog);
    pub(crate) fn shunt_watchdog_struck(watchdog: *mut ShuntWatchdog) -> bool;

    pub(crate) fn shunt_consumer_register(
        eventfd: c_int,
        data: *mut c_void,
        changed: unsafe extern "C" fn(*mut c_void),
        error: *mut c_int,
    ) -> *mut ShuntConsumer;
    pub(crate) fn shunt_consumer_unregister(consumer: *mut ShuntConsumer);
    pub(crate) fn shunt_consumer_is_connected(consumer: *mut ShuntConsumer) -> bool;
    pub(crate) fn shunt_consumer_gsi(consumer: *mut ShuntConsumer, kvm: *mut Kvm) -> c_int;
    pub(crate) fn shunt_consumer_choose_vector(
        consumer: *mut ShuntConsumer,
        cpu: u32,
        vector: u32,
    ) -> c_int;
    pub(crate) fn shunt_consumer_leave_vector(consumer: *mut ShuntConsumer, cpu: u32);
}
