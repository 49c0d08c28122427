// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The EEPROM with the interface's address, behind the register EECD: sections 5.6 and 13.4.3.

use crate::microwire::{Lines, Microwire, WORDS};

const CLOCK: u32 = 1 << 0;
const SELECT: u32 = 1 << 1;
const DATA_IN: u32 = 1 << 2;
const DATA_OUT: u32 = 1 << 3;
const REQUEST: u32 = 1 << 6;
const GRANT: u32 = 1 << 7;
/// There is one.
pub(super) const PRESENT: u32 = 1 << 8;

/// What all words add up to.
const SUM: u16 = 0xbaba;

/// One with this address, and nothing else of interest.
pub(super) fn with_address(mac: [u8; 6]) -> Microwire {
    let mut words = [0; WORDS];
    for (word, pair) in words.iter_mut().zip(mac.chunks_exact(2)) {
        *word = u16::from_le_bytes([pair[0], pair[1]]);
    }
    let sum = words.iter().fold(0u16, |sum, word| sum.wrapping_add(*word));
    words[WORDS - 1] = SUM.wrapping_sub(sum);
    Microwire::new(words)
}

/// What is written to the register.
pub(super) fn lines(value: u32) -> Lines {
    Lines {
        select: value & SELECT != 0,
        clock: value & CLOCK != 0,
        data: value & DATA_IN != 0,
    }
}

/// What is read, `value` having been written.
pub(super) fn read(value: u32, chip: &Microwire) -> u32 {
    let ours = PRESENT | GRANT | DATA_OUT;
    let granted = if value & REQUEST != 0 { GRANT } else { 0 };
    let output = if chip.output { DATA_OUT } else { 0 };
    value & !ours | PRESENT | granted | output
}
