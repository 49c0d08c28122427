// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Why an interrupt is not delivered directly: `enum exitless_refusal` of the header.

/// A reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    /// The host's local APICs are not in x2APIC mode.
    NoHostX2apic = 1,
    /// The guest's local APIC is not in the kernel, or not in x2APIC mode.
    NoGuestX2apic = 2,
    /// The processor emulates the guest's local APIC: AVIC or APICv is on.
    Apicv = 3,
    /// The guest's registers are encrypted.
    Protected = 4,
    /// The guest may use FRED, which has no IDT.
    Fred = 5,
    /// The vCPU's thread may run on more than one CPU, or has not run yet.
    NotPinned = 6,
    /// No device delivers interrupts to the eventfd.
    NotAssigned = 7,
    /// The irqfd's GSI is not an edge-triggered MSI to exactly one vCPU.
    NoRoute = 8,
    /// The guest's vector is not one of those that are set aside.
    Vector = 9,
    /// Another interrupt has the vector on that CPU.
    VectorTaken = 10,
    /// Another vCPU runs directly on that CPU, or the CPU watches one that does.
    CpuTaken = 11,
    /// The interrupt cannot be moved at once: it is not remapped.
    NotMovable = 12,
    /// The kernel has no memory for it.
    NoMemory = 13,
    /// There is no other CPU that could end runs in which the guest keeps interrupts off.
    NoWatchdog = 14,
    /// The guest has kept interrupts off, again and again, until the watchdog ended its runs.
    InterruptsOff = 15,
    /// An earlier move of the interrupt has not come to its end; it is tried again soon.
    Moving = 16,
    /// No irqfd of the VM has the eventfd.
    NoIrqfd = 17,
}

impl Refusal {
    const ALL: [Self; 17] = [
        Self::NoHostX2apic,
        Self::NoGuestX2apic,
        Self::Apicv,
        Self::Protected,
        Self::Fred,
        Self::NotPinned,
        Self::NotAssigned,
        Self::NoRoute,
        Self::Vector,
        Self::VectorTaken,
        Self::CpuTaken,
        Self::NotMovable,
        Self::NoMemory,
        Self::NoWatchdog,
        Self::InterruptsOff,
        Self::Moving,
        Self::NoIrqfd,
    ];

    /// The refusal of this number.
    pub fn from_number(number: u32) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|&refusal| refusal as u32 == number)
    }

    /// The refusal for an `enum kvm_exitless_obstacle`; the first six are the same. `None` for
    /// `KVM_EXITLESS_POSSIBLE`.
    pub const fn from_obstacle(obstacle: u32) -> Option<Self> {
        Some(match obstacle {
            0 => return None,
            1 => Self::NoHostX2apic,
            2 => Self::NoGuestX2apic,
            3 => Self::Apicv,
            4 => Self::Protected,
            5 => Self::Fred,
            _ => Self::NotPinned,
        })
    }

    /// A few words, for statistics.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoHostX2apic => "host without x2APIC",
            Self::NoGuestX2apic => "guest without x2APIC",
            Self::Apicv => "local APIC emulated by the processor",
            Self::Protected => "guest registers encrypted",
            Self::Fred => "guest with FRED",
            Self::NotPinned => "vCPU not pinned",
            Self::NotAssigned => "no assigned device",
            Self::NoRoute => "no MSI to one vCPU",
            Self::Vector => "vector not set aside",
            Self::VectorTaken => "vector taken",
            Self::CpuTaken => "CPU taken",
            Self::NotMovable => "interrupt not remapped",
            Self::NoMemory => "no memory",
            Self::NoWatchdog => "no CPU for a watchdog",
            Self::InterruptsOff => "guest kept interrupts off",
            Self::Moving => "on the move",
            Self::NoIrqfd => "no irqfd",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_one_refusal() {
        for number in 1..=17 {
            let refusal = Refusal::from_number(number);
            assert_eq!(refusal.map(|refusal| refusal as u32), Some(number));
        }
        assert_eq!(Refusal::from_number(0), None);
        assert_eq!(Refusal::from_number(18), None);
    }

    #[test]
    fn obstacles_keep_their_numbers() {
        assert_eq!(Refusal::from_obstacle(0), None);
        for obstacle in 1..=6 {
            let refusal = Refusal::from_obstacle(obstacle);
            assert_eq!(refusal.map(|refusal| refusal as u32), Some(obstacle));
        }
    }
}
