// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A vCPU's completion line.
//!
//! ```text
//! word 0  request that it answers; stored last
//!      1  data of a read
//!      2 to 7  not used
//! ```
//!
//! A vCPU has one access in flight at most, so a line is enough. Its requests are numbered from
//! 1; a line that holds another number is an answer to something else, too late or made up, and
//! is ignored.

use crate::{
    layout::Layout,
    memory::Memory, //
};

const REQUEST: usize = 0;
const DATA: usize = 8;

/// Device: answers a request of a vCPU. Says whether the vCPU sleeps and has to be woken.
#[inline]
pub fn complete<M: Memory>(own: &M, kernel: &M, vcpu: usize, request: u64, data: u64) -> bool {
    let at = Layout::completion(vcpu);
    own.store(at + DATA, data);
    own.store_release(at + REQUEST, request);
    // Pairs with `fall_asleep`: either this load sees the flag, or that look sees the answer.
    own.full_barrier();
    kernel.load(Layout::sleep_flag(vcpu)) != 0
}

/// Kernel: the answer to a request of a vCPU, if it is there.
#[inline]
pub fn answer<M: Memory>(device: &M, vcpu: usize, request: u64) -> Option<u64> {
    let at = Layout::completion(vcpu);
    let is_there = device.load_acquire(at.wrapping_add(REQUEST)) == request;
    is_there.then(|| device.load(at.wrapping_add(DATA)))
}

/// Kernel: tells the device that the vCPU is going to sleep. To be followed by a last look for
/// the [`answer`].
#[inline]
pub fn fall_asleep<M: Memory>(own: &M, vcpu: usize) {
    own.store(Layout::sleep_flag(vcpu), 1);
    own.full_barrier();
}

/// Kernel: tells the device that the vCPU need not be woken.
#[inline]
pub fn wake_up<M: Memory>(own: &M, vcpu: usize) {
    own.store(Layout::sleep_flag(vcpu), 0);
}
