// SPDX-License-Identifier: GPL-2.0-only

//! The tracepoints `exitless:exitless_place`, `exitless_mode` and `exitless_exit`.
//!
//! One that is off is a branch that is patched out.

use crate::ffi;
use exitless_vectors::refusal::Refusal;
use kernel::{
    bindings,
    jump_label::static_branch_unlikely, //
};

/// Where an interrupt is delivered directly.
#[derive(Clone, Copy)]
pub struct Where {
    /// The guest's vector.
    pub vector: u8,
    /// Index of the vCPU.
    pub vcpu: u32,
    /// The CPU.
    pub cpu: u32,
}

// A tracepoint is C's in every part; only its key's address is taken here.
#[expect(improper_ctypes)]
extern "C" {
    static __tracepoint_exitless_place: bindings::tracepoint;
    static __tracepoint_exitless_mode: bindings::tracepoint;
    static __tracepoint_exitless_exit: bindings::tracepoint;

    fn rust_do_trace_exitless_place(gsi: u32, vector: u8, vcpu: u32, cpu: u32, refusal: u32);
    fn rust_do_trace_exitless_mode(vcpu: u32, direct: bool, possible: bool, at_home: bool);
    fn rust_do_trace_exitless_exit(
        vcpu: u32,
        exit: *const ffi::KvmExitlessExit,
        verdict: *const ffi::KvmExitlessVerdict,
        overlong: bool,
    );
}

/// An interrupt is delivered directly, or no longer.
pub fn place(gsi: u32, place: Result<Where, Refusal>) {
    // SAFETY: `trace.c` defines this tracepoint, and its key with it.
    if unsafe { static_branch_unlikely!(__tracepoint_exitless_place, bindings::tracepoint, key) } {
        let (vector, vcpu, cpu, refusal) = match place {
            Ok(to) => (to.vector, to.vcpu, to.cpu, 0),
            Err(refusal) => (0, 0, 0, refusal as u32),
        };
        // SAFETY: It takes numbers only.
        unsafe { rust_do_trace_exitless_place(gsi, vector, vcpu, cpu, refusal) };
    }
}

/// A vCPU's runs are direct from now on, or ordinary.
#[inline(always)]
pub(crate) fn mode(vcpu: u32, direct: bool, possible: bool, at_home: bool) {
    // SAFETY: `trace.c` defines this tracepoint, and its key with it.
    if unsafe { static_branch_unlikely!(__tracepoint_exitless_mode, bindings::tracepoint, key) } {
        // SAFETY: It takes numbers only.
        unsafe { rust_do_trace_exitless_mode(vcpu, direct, possible, at_home) };
    }
}

/// A direct run has ended.
#[inline(always)]
pub(crate) fn exit(
    vcpu: u32,
    exit: &ffi::KvmExitlessExit,
    verdict: &ffi::KvmExitlessVerdict,
    overlong: bool,
) {
    // SAFETY: `trace.c` defines this tracepoint, and its key with it.
    if unsafe { static_branch_unlikely!(__tracepoint_exitless_exit, bindings::tracepoint, key) } {
        // SAFETY: Both are valid during the call.
        unsafe { rust_do_trace_exitless_exit(vcpu, exit, verdict, overlong) };
    }
}
