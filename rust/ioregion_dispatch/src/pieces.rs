// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The pieces that an access goes to the device in.
//!
//! The protocol carries 1, 2, 4 and 8 bytes. KVM also makes accesses of 3, 5, 6 and 7 bytes:
//! one side of an access that crosses a page, so they start or end at a page. These become
//! naturally aligned pieces, in ascending order, as on a bus.

use ioregion_wire::frame::Width;

/// Width of the first piece of an access of `len` bytes at `addr`. The rest of the access is an
/// access in its own right.
///
/// `None` if `len` is not 1 to 8.
#[inline]
pub fn first(addr: u64, len: usize) -> Option<Width> {
    if len == 0 || len > 8 {
        return None;
    }
    if let Some(width) = Width::from_bytes(len) {
        return Some(width);
    }
    let aligned = 1 << addr.trailing_zeros().min(3);
    let fitting = 1 << len.ilog2();
    Width::from_bytes(usize::min(aligned, fitting))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut addr: u64, mut len: usize) -> Vec<(u64, usize)> {
        let mut pieces = Vec::new();
        while let Some(width) = first(addr, len) {
            pieces.push((addr, width.bytes()));
            addr += width.bytes() as u64;
            len -= width.bytes();
        }
        pieces
    }

    #[test]
    fn powers_of_two_stay_whole() {
        for len in [1, 2, 4, 8] {
            assert_eq!(all(0x1003, len), [(0x1003, len)]);
        }
    }

    #[test]
    fn both_sides_of_a_page_split_at_natural_boundaries() {
        assert_eq!(all(0x1000, 3), [(0x1000, 2), (0x1002, 1)]);
        assert_eq!(all(0x0ffd, 3), [(0x0ffd, 1), (0x0ffe, 2)]);
        assert_eq!(all(0x0ff9, 7), [(0x0ff9, 1), (0x0ffa, 2), (0x0ffc, 4)]);
        assert_eq!(all(0x1000, 7), [(0x1000, 4), (0x1004, 2), (0x1006, 1)]);
    }

    #[test]
    fn pieces_cover_the_access_once() {
        for (addr, len) in (0x1000..0x1010).flat_map(|addr| (1..=8).map(move |len| (addr, len))) {
            let mut next = addr;
            for (at, bytes) in all(addr, len) {
                assert_eq!(at, next);
                next += bytes as u64;
            }
            assert_eq!(next, addr + len as u64);
        }
    }

    #[test]
    fn pieces_at_a_page_are_aligned() {
        for len in [3, 5, 6, 7] {
            for addr in [0x1000, 0x1000 - len as u64] {
                assert!(all(addr, len)
                    .iter()
                    .all(|&(at, bytes)| at % bytes as u64 == 0));
            }
        }
    }

    #[test]
    fn no_other_length_has_pieces() {
        assert_eq!(first(0, 0), None);
        assert_eq!(first(0, 9), None);
    }
}
