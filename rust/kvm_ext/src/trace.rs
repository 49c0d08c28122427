// SPDX-License-Identifier: GPL-2.0-only

//! The tracepoints `ioregion:ioregion_dispatch` and `ioregion:ioregion_complete`.
//!
//! One that is off is a branch that is patched out: an event is only made when it is on.

use core::mem::offset_of;
use kernel::{
    bindings,
    jump_label::static_branch_unlikely, //
};

/// An access to a region. Documentation/observability.md says what the numbers mean.
///
/// `trace.h` has the same as `struct shunt_access_event`.
#[repr(C)]
pub struct AccessEvent {
    /// The region's first address or port.
    pub region: u64,
    /// That of the access.
    pub addr: u64,
    /// What is written, or was read: the first element, zero-extended.
    pub data: u64,
    /// Nanoseconds that the vCPU waited.
    pub wait_ns: u64,
    /// Index of the vCPU in its VM.
    pub vcpu: u32,
    /// Bytes of all elements.
    pub size: u32,
    /// errno, positive; 0 for none.
    pub error: i32,
    /// Port I/O, else MMIO.
    pub is_pio: bool,
    /// What the guest does: 0 read, 1 write, 2 posted write.
    pub kind: u8,
    /// What handles it: 0 rule, 1 ring, 2 frames.
    pub by: u8,
    /// How it ended: 0 at once, 1 ruled, 2 spun, 3 slept, 4 failed, 5 timed out.
    pub how: u8,
}

const _: () = {
    assert!(size_of::<AccessEvent>() == 48);
    assert!(offset_of!(AccessEvent, wait_ns) == 24);
    assert!(offset_of!(AccessEvent, error) == 40);
    assert!(offset_of!(AccessEvent, is_pio) == 44);
    assert!(offset_of!(AccessEvent, how) == 47);
};

// A tracepoint is C's in every part; only its key's address is taken here.
#[expect(improper_ctypes)]
extern "C" {
    static __tracepoint_ioregion_dispatch: bindings::tracepoint;
    static __tracepoint_ioregion_complete: bindings::tracepoint;

    fn rust_do_trace_ioregion_dispatch(event: *const AccessEvent);
    fn rust_do_trace_ioregion_complete(event: *const AccessEvent);
}

/// An access begins.
#[inline(always)]
pub fn dispatch(event: impl FnOnce() -> AccessEvent) {
    // SAFETY: `trace.c` defines this tracepoint, and its key with it.
    let is_on = unsafe {
        static_branch_unlikely!(__tracepoint_ioregion_dispatch, bindings::tracepoint, key)
    };
    if is_on {
        // SAFETY: The event is valid during the call, and copied there.
        unsafe { rust_do_trace_ioregion_dispatch(&event()) }
    }
}

/// An access has ended.
#[inline(always)]
pub fn complete(event: impl FnOnce() -> AccessEvent) {
    // SAFETY: `trace.c` defines this tracepoint, and its key with it.
    let is_on = unsafe {
        static_branch_unlikely!(__tracepoint_ioregion_complete, bindings::tracepoint, key)
    };
    if is_on {
        // SAFETY: The event is valid during the call, and copied there.
        unsafe { rust_do_trace_ioregion_complete(&event()) }
    }
}
