// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The sixteen vectors that the host's kernel sets aside, `FIRST_CHOSEN_VECTOR` of
//! `arch/x86/include/asm/irq_vectors.h` and those that follow.

/// The lowest of them: the lowest vector that is no exception's.
pub const FIRST: u8 = 0x20;
/// How many there are.
pub const COUNT: u8 = 16;
/// Bytes of a gate in the IDT of a 64-bit guest.
const GATE: u16 = 16;

/// A vector that can be a guest's in a direct run.
///
/// # Invariants
///
/// The number is less than [`COUNT`]; the vector is [`FIRST`] plus that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChosenVector(u8);

impl ChosenVector {
    /// The vector of this number in the IDT, if it is one of them.
    pub const fn new(vector: u8) -> Option<Self> {
        match vector.wrapping_sub(FIRST) {
            number if number < COUNT => Some(Self(number)),
            _ => None,
        }
    }

    /// Its number in the IDT.
    pub const fn vector(self) -> u8 {
        FIRST + self.0
    }
}

/// A set of such vectors: bit n is vector [`FIRST`] + n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VectorSet(u16);

impl VectorSet {
    /// The set of these bits.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Its bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The set of one vector.
    pub const fn only(vector: ChosenVector) -> Self {
        Self(1 << vector.0)
    }

    /// Whether it has no vector.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it has this vector.
    pub const fn contains(self, vector: ChosenVector) -> bool {
        self.0 & Self::only(vector).0 != 0
    }

    /// With this vector.
    #[must_use]
    pub const fn with(self, vector: ChosenVector) -> Self {
        Self(self.0 | Self::only(vector).0)
    }

    /// Without this vector.
    #[must_use]
    pub const fn without(self, vector: ChosenVector) -> Self {
        Self(self.0 & !Self::only(vector).0)
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The limit of an IDT that ends with the highest of them: the offset of its last byte. `None`
    /// without a vector.
    pub const fn idt_limit(self) -> Option<u16> {
        match self.0.checked_ilog2() {
            Some(highest) => Some((FIRST as u16 + highest as u16 + 1) * GATE - 1),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sixteen_vectors_can_be_chosen() {
        let chosen: Vec<u8> = (0..=u8::MAX)
            .filter(|&vector| ChosenVector::new(vector).is_some())
            .collect();
        assert_eq!(chosen, (0x20..0x30).collect::<Vec<u8>>());
    }

    #[test]
    fn limits_end_with_the_highest_vector() {
        let limit = |bits| VectorSet::from_bits(bits).idt_limit();
        assert_eq!(limit(0), None);
        assert_eq!(limit(1), Some(0x20f));
        assert_eq!(limit(0b101), Some(0x22f));
        assert_eq!(limit(u16::MAX), Some(0x2ff));
    }
}
