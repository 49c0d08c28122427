// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What arms interrupts: the interface of exitless.ko, and a VMM as others see it.
//!
//! [`exitless`] is `/dev/exitless`, [`vmm`] finds in another process what that wants to know, and
//! [`interrupts`] brings the two together.

pub mod exitless;
pub mod interrupts;
pub mod vmm;
