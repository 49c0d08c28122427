// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What is measured: whose ring, which format, how many buffers at once.

use std::fmt;

use virtio_spec::features::Features;
use virtio_spec::{packed, split};

/// Descriptors of the queue.
pub(crate) const QUEUE_SIZE: u16 = 256;

/// Lengths of a buffer's segments, of which the device reads the first one: those of a block
/// device's 4 KiB read.
pub(crate) const LENGTHS: [u32; 3] = [16, 4096, 1];

/// How many buffers are added, published, used and popped together.
pub(crate) const BATCHES: [usize; 5] = [1, 4, 16, 32, 64];

/// Whose ring the driver has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// `rust/virtio_ring`.
    Ours,
    /// The kernel's.
    Kernels,
}

/// A format of virtqueues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Split,
    Packed,
    /// The device answers for all buffers of a batch with one descriptor.
    PackedInOrder,
}

impl Format {
    const ALL: [Self; 3] = [Self::Split, Self::Packed, Self::PackedInOrder];

    /// What driver and device negotiated.
    pub(crate) fn features(self) -> Features {
        let split = Features::VERSION_1.with(Features::EVENT_IDX);
        match self {
            Self::Split => split,
            Self::Packed => split.with(Features::RING_PACKED),
            Self::PackedInOrder => Self::Packed.features().with(Features::IN_ORDER),
        }
    }

    /// Bytes of the descriptor area, the driver area and the device area.
    pub(crate) fn areas(self) -> [usize; 3] {
        match self {
            Self::Split => [
                split::descriptor_area(QUEUE_SIZE),
                split::driver_area(QUEUE_SIZE),
                split::device_area(QUEUE_SIZE),
            ],
            Self::Packed | Self::PackedInOrder => [
                packed::descriptor_area(QUEUE_SIZE),
                packed::EVENT,
                packed::EVENT,
            ],
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Split => "split",
            Self::Packed => "packed",
            Self::PackedInOrder => "packed-in-order",
        })
    }
}

/// A format and a batch, the same for both rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) format: Format,
    pub(crate) batch: usize,
}

impl Load {
    /// Every format with every batch.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let of = |format| BATCHES.map(|batch| Self { format, batch });
        Format::ALL.into_iter().flat_map(of)
    }
}

/// A load, and whose ring bears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) load: Load,
    pub(crate) whose: Whose,
}

impl Case {
    /// Every load, for our ring and then for the kernel's.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let of = |load| [Whose::Ours, Whose::Kernels].map(|whose| Self { load, whose });
        Load::all().flat_map(of)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.whose {
            Whose::Ours => "rust",
            Whose::Kernels => "c",
        };
        write!(out, "{whose}-{}-b{}", self.load.format, self.load.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let mut names: Vec<String> = Case::all().map(|case| case.to_string()).collect();
        assert_eq!(names.len(), 30);
        assert!(names.contains(&"c-packed-in-order-b64".to_owned()));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 30);
    }

    #[test]
    fn the_largest_batch_fits_into_the_queue() {
        let largest = BATCHES.iter().max().unwrap();
        assert!(largest * LENGTHS.len() <= QUEUE_SIZE.into());
    }
}
