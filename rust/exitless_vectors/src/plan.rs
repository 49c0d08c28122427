// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a vCPU may do in a direct run.

use crate::vectors::VectorSet;

/// A vCPU's vectors, and how its EOIs go. One word, so that it can change under a vCPU that runs:
/// a run keeps to the one that it began with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Vectors whose interrupts are the guest's.
    pub owned: VectorSet,
    /// The guest exits for each EOI, as it does without us: only the delivery is direct.
    pub eoi_exits: bool,
}

const EOI_EXITS: u32 = 1 << 16;

impl Plan {
    /// The plan that [`Self::bits`] has made this of.
    pub const fn from_bits(bits: u32) -> Self {
        Self {
            owned: VectorSet::from_bits(bits as u16),
            eoi_exits: bits & EOI_EXITS != 0,
        }
    }

    /// All of it.
    pub const fn bits(self) -> u32 {
        match self.eoi_exits {
            true => self.owned.bits() as u32 | EOI_EXITS,
            false => self.owned.bits() as u32,
        }
    }

    /// The answer to `kvm_exitless_ops.enter`: the IDT's limit in the low 16 bits, and
    /// `KVM_EXITLESS_EOI_EXITS`. 0, an ordinary run, without a vector.
    pub const fn answer(self) -> u32 {
        match (self.owned.idt_limit(), self.eoi_exits) {
            (None, _) => 0,
            (Some(limit), true) => limit as u32 | EOI_EXITS,
            (Some(limit), false) => limit as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_its_word() {
        for owned in [0, 1, 0x8000, u16::MAX].map(VectorSet::from_bits) {
            for eoi_exits in [false, true] {
                let plan = Plan { owned, eoi_exits };
                assert_eq!(Plan::from_bits(plan.bits()), plan);
            }
        }
    }

    #[test]
    fn without_vectors_runs_are_ordinary() {
        let plan = |owned, eoi_exits| Plan {
            owned: VectorSet::from_bits(owned),
            eoi_exits,
        };
        assert_eq!(plan(0, true).answer(), 0);
        assert_eq!(plan(1 << 2, false).answer(), 0x22f);
        assert_eq!(plan(1 << 2, true).answer(), 0x1_022f);
    }
}
