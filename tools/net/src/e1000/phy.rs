// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The PHY, behind the register MDIC: section 13.4.8, and IEEE 802.3 clause 22. It is a Marvell 88E1011
//! whose link is up, with 1000 Mb/s and full duplex negotiated.

const DATA: u32 = 0xffff;
const WRITE: u32 = 1 << 26;
const READ: u32 = 1 << 27;
const READY: u32 = 1 << 28;
const ERROR: u32 = 1 << 30;
/// The PHY's own address on its bus.
const ADDRESS: u32 = 1;

const CONTROL: usize = 0;
const STATUS: usize = 1;
/// Of the control register, what clears itself: reset and restart of the negotiation.
const SELF_CLEARING: u16 = 0x8200;

/// Registers that do not begin with zero.
const FIRST: [(usize, u16); 10] = [
    (CONTROL, 0x1140),
    // Negotiation complete, link up.
    (STATUS, 0x796d),
    (2, 0x0141),
    (3, 0x0c20),
    (4, 0x0de1),
    (5, 0x01e0),
    (9, 0x0e00),
    (10, 0x3c00),
    // Specific to the chip: control, and a status of 1000 Mb/s, full duplex, resolved, link up.
    (16, 0x0360),
    (17, 0xac00),
];

/// Its registers.
#[derive(Clone, Debug)]
pub(super) struct Phy([u16; 32]);

impl Default for Phy {
    fn default() -> Self {
        let mut registers = [0; 32];
        for (register, value) in FIRST {
            registers[register] = value;
        }
        Self(registers)
    }
}

impl Phy {
    /// Does what is written to MDIC; what is read there then.
    pub(super) fn access(&mut self, value: u32) -> u32 {
        let register = (value >> 16) as usize % self.0.len();
        if (value >> 21) & 0x1f != ADDRESS {
            return value | READY | ERROR;
        }
        if value & WRITE != 0 {
            self.write(register, value as u16);
            return value | READY;
        }
        let data = if value & READ != 0 {
            self.0[register]
        } else {
            0
        };
        value & !DATA | u32::from(data) | READY
    }

    fn write(&mut self, register: usize, value: u16) {
        match register {
            STATUS | 2 | 3 | 5 | 10 | 17 => {}
            CONTROL => self.0[CONTROL] = value & !SELF_CLEARING,
            _ => self.0[register] = value,
        }
    }
}
