// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Where everything is in the two areas of a channel.
//!
//! What is written by itself has a line of its own, 64 bytes.
//!
//! ```text
//! kernel's area                                device's area
//! 0     MAGIC_AT                               0     CONSUMED_AT: slots consumed so far
//! 8     SLOTS_AT: slots of the ring            64    WAKE_ME_AT: 1 before the device sleeps
//! 16    VCPUS_AT: vCPUs that have lines        4096  completion lines, one per vCPU
//! 64    ROOM_WANTED_AT: vCPUs wait for room
//! 4096  sleep flags, one line per vCPU
//! ...   slots, from the next page on
//! ```

/// Bytes of a page.
const PAGE: usize = 4096;
/// Bytes of a slot, a flag and a completion line.
const LINE: usize = 64;

/// Kernel's area: [`MAGIC`].
pub const MAGIC_AT: usize = 0;
/// Kernel's area: slots of the ring.
pub const SLOTS_AT: usize = 8;
/// Kernel's area: vCPUs that there are lines for.
pub const VCPUS_AT: usize = 16;
/// Kernel's area: not 0 while a vCPU waits for room in the ring.
pub const ROOM_WANTED_AT: usize = LINE;

/// Device's area: slots that the device has consumed so far.
pub const CONSUMED_AT: usize = 0;
/// Device's area: not 0 if the device wants to be woken for the next access.
pub const WAKE_ME_AT: usize = LINE;

/// What [`MAGIC_AT`] holds: "ioring" and the version of the layout, 1.
pub const MAGIC: u64 = u64::from_be_bytes(*b"ioring\0\x01");

/// Most slots of a ring.
pub const MAX_SLOTS: usize = 4096;
/// Most vCPUs of a channel.
pub const MAX_VCPUS: usize = 1024;

/// The dimensions of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    slots: usize,
    /// `slots - 1`: which bits of a position number the slot.
    mask: usize,
    vcpus: usize,
    /// Offset of slot 0.
    ring: usize,
}

/// Dimensions that a channel cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLayout {
    /// Slots asked for; a power of two up to [`MAX_SLOTS`] is possible.
    pub slots: u64,
    /// vCPUs asked for; 1 to [`MAX_VCPUS`] are possible.
    pub vcpus: u64,
}

impl Layout {
    /// The layout with these dimensions.
    ///
    /// # Errors
    ///
    /// [`BadLayout`] repeats them.
    pub fn new(slots: u64, vcpus: u64) -> Result<Self, BadLayout> {
        let fits = slots.is_power_of_two()
            && slots <= MAX_SLOTS as u64
            && (1..=MAX_VCPUS as u64).contains(&vcpus);
        match fits {
            true => Ok(Self {
                slots: slots as usize,
                mask: slots as usize - 1,
                vcpus: vcpus as usize,
                ring: PAGE + pages(vcpus as usize * LINE),
            }),
            false => Err(BadLayout { slots, vcpus }),
        }
    }

    /// Slots of the ring.
    #[inline]
    pub const fn slots(&self) -> usize {
        self.slots
    }

    /// vCPUs that there are lines for.
    #[inline]
    pub const fn vcpus(&self) -> usize {
        self.vcpus
    }

    /// Bytes of the kernel's area, whole pages.
    pub const fn kernel_area(&self) -> usize {
        self.ring + pages(self.slots * LINE)
    }

    /// Bytes of the device's area, whole pages.
    pub const fn device_area(&self) -> usize {
        PAGE + pages(self.vcpus * LINE)
    }

    /// Offset of a vCPU's sleep flag in the kernel's area.
    #[inline]
    pub(crate) const fn sleep_flag(vcpu: usize) -> usize {
        PAGE.wrapping_add(vcpu.wrapping_mul(LINE))
    }

    /// Offset of a vCPU's completion line in the device's area. Its first word is the request
    /// that it answers.
    #[inline]
    pub const fn completion(vcpu: usize) -> usize {
        PAGE.wrapping_add(vcpu.wrapping_mul(LINE))
    }

    /// Offset of the slot for a position in the kernel's area. Its first word is the stamp: one
    /// more than the position of the access that it holds.
    #[inline]
    pub const fn slot(&self, position: u64) -> usize {
        self.ring
            .wrapping_add((position as usize & self.mask).wrapping_mul(LINE))
    }
}

const fn pages(bytes: usize) -> usize {
    bytes.next_multiple_of(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_dimensions_make_a_layout() {
        for (slots, vcpus) in [(0, 1), (3, 1), (8192, 1), (4, 0), (4, 1025), (u64::MAX, 1)] {
            assert_eq!(Layout::new(slots, vcpus), Err(BadLayout { slots, vcpus }));
        }
        assert!(Layout::new(1, 1).is_ok());
        assert!(Layout::new(4096, 1024).is_ok());
    }

    #[test]
    fn nothing_overlaps() {
        for (slots, vcpus) in [(1, 1), (64, 64), (64, 65), (4096, 1024)] {
            let layout = Layout::new(slots, vcpus).unwrap();
            let last = vcpus as usize - 1;
            assert!(Layout::sleep_flag(last) + LINE <= layout.slot(0));
            assert!(layout.slot(slots - 1) + LINE <= layout.kernel_area());
            assert!(Layout::completion(last) + LINE <= layout.device_area());
            assert_eq!(layout.slot(0), layout.slot(slots));
        }
    }
}
