// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A serial EEPROM of 64 words of 16 bits (93C46, organized by 16), as far as a driver reads it.
//!
//! Each rising edge of the clock while the chip is selected takes a bit: zeroes, a start bit, two
//! bits of the instruction, six of the address. From then on it brings a bit of the word.

/// Words.
pub(crate) const WORDS: usize = 64;

const ADDRESS_BITS: u32 = 6;
/// The instruction with its start bit: read.
const READ: u32 = 0b110;

/// The lines that the driver sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) select: bool,
    pub(crate) clock: bool,
    pub(crate) data: bool,
}

/// The chip.
#[derive(Clone, Debug)]
pub(crate) struct Microwire {
    words: [u16; WORDS],
    lines: Lines,
    /// Start bit, instruction and address, as far as they came.
    command: u32,
    /// What is still to come of the word, from the highest bit on.
    word: Option<u16>,
    /// The line that the driver reads.
    pub(crate) output: bool,
}

impl Microwire {
    pub(crate) fn new(words: [u16; WORDS]) -> Self {
        Self {
            words,
            lines: Lines::default(),
            command: 0,
            word: None,
            output: false,
        }
    }

    /// The driver has set the lines so.
    pub(crate) fn set(&mut self, lines: Lines) {
        let rises = lines.clock && !self.lines.clock;
        self.lines = lines;
        if !lines.select {
            (self.command, self.word, self.output) = (0, None, false);
        } else if rises {
            self.tick(lines.data);
        }
    }

    fn tick(&mut self, data: bool) {
        if let Some(word) = &mut self.word {
            self.output = *word >> 15 != 0;
            *word <<= 1;
            return;
        }
        self.command = self.command << 1 | u32::from(data);
        if self.command >> (ADDRESS_BITS + 2) == 0 {
            return;
        }
        if self.command >> ADDRESS_BITS == READ {
            self.word = Some(self.words[self.command as usize % WORDS]);
        }
        self.command = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `count` bits with zeroes before them, then reads a word.
    fn read(chip: &mut Microwire, command: u32, count: u32) -> u16 {
        let mut clock = |data| {
            for clock in [true, false] {
                let select = true;
                chip.set(Lines {
                    select,
                    clock,
                    data,
                });
            }
            chip.output
        };
        for bit in (0..count).rev() {
            clock(command >> bit & 1 != 0);
        }
        (0..16).fold(0, |word, _| word << 1 | u16::from(clock(false)))
    }

    #[test]
    fn a_word_comes_when_it_was_asked_for() {
        let words = std::array::from_fn(|index| 0x8129 + index as u16);
        let mut chip = Microwire::new(words);
        for (address, count) in [(0, 9), (7, 10), (63, 12)] {
            let command = READ << ADDRESS_BITS | address;
            assert_eq!(read(&mut chip, command, count), words[address as usize]);
            chip.set(Lines::default());
        }
        let write = 0b101 << ADDRESS_BITS;
        assert_eq!(read(&mut chip, write, 9), 0);
    }
}
