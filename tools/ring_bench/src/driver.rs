// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a driver does with a ring, for ours and the kernel's.

use virtio_ring::memory::Areas;

use crate::area::Area;
use crate::case::{Case, Whose};
use crate::kernels::Kernels;
use crate::ours::Ours;

/// A driver whose buffers are all alike. It waits for nothing: the device polls, and its
/// interrupts are off.
pub(crate) trait Driver: Send {
    /// Adds buffers and publishes them together.
    fn offer(&mut self, count: usize);

    /// Takes buffers back, as many as are there, at most `count`: their number.
    fn collect(&mut self, count: usize) -> usize;
}

/// A driver, and the memory that it shares with its device.
pub(crate) fn start(case: Case) -> (Box<dyn Driver>, Areas<Area>) {
    match case.whose {
        Whose::Ours => Ours::start(case.load.format),
        Whose::Kernels => Kernels::start(case.load.format),
    }
}
