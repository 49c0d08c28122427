// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Regions of one bus: a slice sorted by address, without overlap.

use crate::spec::Range;
use core::ops::Deref;

/// Something that occupies a range of addresses.
pub trait Ranged {
    /// The addresses it occupies.
    fn range(&self) -> &Range;
}

impl<P: Deref<Target: Ranged>> Ranged for P {
    fn range(&self) -> &Range {
        self.deref().range()
    }
}

/// The region that an access of `len` bytes at `addr` belongs to: the one that it lies wholly
/// inside, or the doorbell at exactly `addr` if it is a write.
#[inline]
pub fn find<R: Ranged>(regions: &[R], addr: u64, len: u64, is_write: bool) -> Option<&R> {
    let after = regions.partition_point(|region| region.range().start() <= addr);
    let candidate = regions.get(after.checked_sub(1)?)?;
    let range = candidate.range();
    let hit = if range.is_empty() {
        is_write && addr == range.start()
    } else {
        range.contains(addr, len)
    };
    hit.then_some(candidate)
}

/// Index of the region with exactly this range.
pub fn position<R: Ranged>(regions: &[R], range: &Range) -> Option<usize> {
    regions.iter().position(|region| region.range() == range)
}

/// Where to insert `range` to keep the slice sorted.
///
/// `None` if it overlaps a region that is there.
pub fn insert_position<R: Ranged>(regions: &[R], range: &Range) -> Option<usize> {
    let at = regions.partition_point(|region| region.range().start() < range.start());
    let clear_before = at == 0 || regions[at - 1].range().last() < range.start();
    let clear_after = at == regions.len() || range.last() < regions[at].range().start();
    (clear_before && clear_after).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Ranged for Range {
        fn range(&self) -> &Range {
            self
        }
    }

    fn range(start: u64, len: u64) -> Range {
        Range::new(start, len).unwrap()
    }

    fn build(wanted: &[(u64, u64)]) -> Vec<Range> {
        let mut regions = Vec::new();
        for &(start, len) in wanted {
            if let Some(at) = insert_position(&regions, &range(start, len)) {
                regions.insert(at, range(start, len));
            }
        }
        regions
    }

    #[test]
    fn one_byte_of_overlap_is_overlap() {
        let regions = build(&[(0x1000, 0x10)]);
        for (start, len, free) in [
            (0xff0, 0x10, true),
            (0xff0, 0x11, false),
            (0x100f, 1, false),
            (0x1010, 1, true),
            (0x1008, 0, false),
            (0x1010, 0, true),
            (0xfff, 0, true),
            (0x1000, 0, false),
        ] {
            let at = insert_position(&regions, &range(start, len));
            assert_eq!(at.is_some(), free, "{start:#x}+{len:#x}");
        }
    }

    #[test]
    fn a_doorbell_takes_writes_at_its_address_only() {
        let regions = build(&[(0x1000, 0)]);
        assert!(find(&regions, 0x1000, 8, true).is_some());
        assert!(find(&regions, 0x1000, 8, false).is_none());
        assert!(find(&regions, 0x1001, 1, true).is_none());
    }

    proptest! {
        #[test]
        fn find_agrees_with_a_linear_search(
            wanted in prop::collection::vec((0u64..64, 0u64..8), 0..12),
            addr in 0u64..72,
            len in 1u64..9,
            is_write: bool,
        ) {
            let regions = build(&wanted);
            let linear = regions.iter().find(|r| match r.len() {
                0 => is_write && r.start() == addr,
                _ => r.start() <= addr && addr + len <= r.start() + r.len(),
            });
            prop_assert_eq!(find(&regions, addr, len, is_write), linear);
        }

        #[test]
        fn no_address_is_in_two_regions(
            wanted in prop::collection::vec((0u64..64, 0u64..8), 0..12),
        ) {
            let regions = build(&wanted);
            for pair in regions.windows(2) {
                prop_assert!(pair[0].last() < pair[1].start());
            }
        }
    }
}
