// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What is on the disks: each sector says which it is, of which disk, and how often it was
//! written, and no two are alike.

/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// Sectors of a disk.
pub const SECTORS: u64 = 16 << 11;

/// The part of a disk that is only read, the part that the tests leave with the generation
/// [`LAST`], and the part that they leave as they like.
pub const READ_ONLY: std::ops::Range<u64> = 0..SECTORS / 2;
/// See [`READ_ONLY`].
pub const WRITTEN: std::ops::Range<u64> = SECTORS / 2..SECTORS / 4 * 3;
/// See [`READ_ONLY`].
pub const SCRATCH: std::ops::Range<u64> = SECTORS / 4 * 3..SECTORS;

/// The sector, of [`SCRATCH`], whose generation is how often the process that serves the disk was
/// restarted.
pub const RESTARTS: u64 = SCRATCH.end - 1;

/// Generation of what was never written, and of what was written last.
pub const FIRST: u64 = 0;
/// See [`FIRST`].
pub const LAST: u64 = 1 << 32;

/// Fills `bytes` with the sectors of `disk` from `first` on.
pub fn fill(disk: &str, first: u64, generation: u64, bytes: &mut [u8]) {
    let disk = disk.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte)));
    for (sector, bytes) in (first..).zip(bytes.chunks_mut(SECTOR)) {
        let mut word = mix(disk ^ mix(sector ^ mix(generation)));
        for place in bytes.chunks_mut(8) {
            word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
            place.copy_from_slice(&mix(word).to_le_bytes()[..place.len()]);
        }
    }
}

/// The first sector that is not as [`fill`] makes it, and whether it is all zeroes.
pub fn first_wrong(disk: &str, first: u64, generation: u64, bytes: &[u8]) -> Option<(u64, bool)> {
    let mut expected = vec![0; bytes.len()];
    fill(disk, first, generation, &mut expected);
    let pairs = bytes.chunks(SECTOR).zip(expected.chunks(SECTOR));
    (first..)
        .zip(pairs)
        .find(|(_, (found, expected))| found != expected)
        .map(|(sector, (found, _))| (sector, found.iter().all(|&byte| byte == 0)))
}

/// A word that looks random, another one for each argument (SplitMix64's finalizer).
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_tells_which_it_is() {
        let mut sectors = vec![0; 4 * SECTOR];
        fill("a", 7, FIRST, &mut sectors);
        assert_eq!(first_wrong("a", 7, FIRST, &sectors), None);
        assert_eq!(first_wrong("a", 8, FIRST, &sectors), Some((8, false)));
        assert_eq!(first_wrong("b", 7, FIRST, &sectors), Some((7, false)));
        assert_eq!(first_wrong("a", 7, LAST, &sectors), Some((7, false)));
        sectors[2 * SECTOR..3 * SECTOR].fill(0);
        assert_eq!(first_wrong("a", 7, FIRST, &sectors), Some((9, true)));
    }

    #[test]
    fn the_parts_are_the_whole() {
        assert_eq!(READ_ONLY.end, WRITTEN.start);
        assert_eq!(WRITTEN.end, SCRATCH.start);
        assert_eq!((READ_ONLY.start, SCRATCH.end), (0, SECTORS));
    }
}
