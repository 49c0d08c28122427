// SPDX-License-Identifier: GPL-2.0-only

//! The tracepoints `virtio_fe:virtio_fe_notify`, `virtio_fe_used` and `virtio_fe_recovery`.
//!
//! One that is off is a branch that is patched out.

use kernel::{
    bindings,
    device::Device,
    ffi::c_int,
    jump_label::static_branch_unlikely,
    prelude::*, //
};
use virtio_spec::notification::Notification;

/// What becomes of a device. `trace.h` has the same numbers.
#[derive(Clone, Copy)]
pub enum Step {
    /// It is being reset.
    Reset = 0,
    /// It works again.
    Working = 1,
    /// It sleeps.
    Asleep = 2,
    /// It is lost.
    Lost = 3,
}

// A tracepoint is C's in every part; only its key's address is taken here.
#[expect(improper_ctypes)]
extern "C" {
    static __tracepoint_virtio_fe_notify: bindings::tracepoint;
    static __tracepoint_virtio_fe_used: bindings::tracepoint;
    static __tracepoint_virtio_fe_recovery: bindings::tracepoint;

    fn rust_do_trace_virtio_fe_notify(device: *mut bindings::device, queue: u16, data: u32);
    fn rust_do_trace_virtio_fe_used(device: *mut bindings::device, queue: u16, count: u32);
    fn rust_do_trace_virtio_fe_recovery(device: *mut bindings::device, step: u8, error: c_int);
}

fn raw(device: &Device) -> *mut bindings::device {
    // A `Device` is a transparent `struct device`.
    core::ptr::from_ref(device).cast_mut().cast()
}

/// The device is notified.
#[inline(always)]
pub(crate) fn notify(device: &Device, notification: Notification) {
    // SAFETY: `trace.c` defines this tracepoint, and its key with it.
    if unsafe { static_branch_unlikely!(__tracepoint_virtio_fe_notify, bindings::tracepoint, key) }
    {
        // SAFETY: The device is valid during the call.
        unsafe {
            rust_do_trace_virtio_fe_notify(raw(device), notification.queue, notification.data());
        }
    }
}

/// The device has used so many buffers of a queue.
#[inline(always)]
pub(crate) fn used(device: &Device, queue: u16, count: u32) {
    // SAFETY: `trace.c` defines this tracepoint, and its key with it.
    if unsafe { static_branch_unlikely!(__tracepoint_virtio_fe_used, bindings::tracepoint, key) } {
        // SAFETY: The device is valid during the call.
        unsafe { rust_do_trace_virtio_fe_used(raw(device), queue, count) };
    }
}

/// Something becomes of the device, and why.
#[inline(always)]
pub fn recovery(device: &Device, step: Step, result: Result) {
    // SAFETY: `trace.c` defines this tracepoint, and its key with it.
    if unsafe {
        static_branch_unlikely!(__tracepoint_virtio_fe_recovery, bindings::tracepoint, key)
    } {
        let error = result.err().map_or(0, Error::to_errno);
        // SAFETY: The device is valid during the call.
        unsafe { rust_do_trace_virtio_fe_recovery(raw(device), step as u8, error) };
    }
}
