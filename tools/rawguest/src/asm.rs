// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A tiny assembler: named instructions, encoded for real mode or for 64-bit long mode.
//!
//! Wrong programs (a register or an address that the mode cannot encode) panic while they are
//! being assembled: they are mistakes of the test's author.

use crate::Width;

/// The processor mode a program runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 16-bit real mode. [`Mem::At`] is relative to the data segment, whose base is `window`,
    /// so a 16-bit offset reaches MMIO anywhere below 4 GiB.
    Real {
        /// Guest physical address of the data segment.
        window: u32,
    },
    /// 64-bit mode, the first 4 GiB mapped one to one.
    Long,
}

/// A general register. [`Asm::mov`] loads 32 bits in real mode and 64 in long mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reg {
    /// Accumulator: the data of port I/O.
    Ax = 0,
    /// Count of string instructions and of [`Asm::repeat`].
    Cx = 1,
    /// The port of port I/O.
    Dx = 2,
    /// Free; can hold an address.
    Bx = 3,
    /// Free.
    Bp = 5,
    /// Source of string output; can hold an address.
    Si = 6,
    /// Destination of string input; can hold an address.
    Di = 7,
}

/// A memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mem {
    /// Where the register points: Bx, Si or Di; in real mode relative to the window.
    At(Reg),
    /// Guest physical address in RAM; below 64 KiB in real mode.
    Ram(u32),
}

/// A program being put together. Methods append one instruction and return the assembler.
#[derive(Clone, Debug)]
pub struct Asm {
    mode: Mode,
    bytes: Vec<u8>,
}

const OPERAND_SIZE: u8 = 0x66;
const REX: u8 = 0x40;
const REX_W: u8 = 0x48;
const SEGMENT_ES: u8 = 0x26;
const REP: u8 = 0xf3;

impl Asm {
    /// An empty program for long mode.
    pub fn long() -> Self {
        Self {
            mode: Mode::Long,
            bytes: Vec::new(),
        }
    }

    /// An empty program for real mode, whose data segment starts at `window`.
    pub fn real(window: u32) -> Self {
        Self {
            mode: Mode::Real { window },
            bytes: Vec::new(),
        }
    }

    /// The mode it is for.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The machine code so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `reg = value`, all of the register.
    pub fn mov(&mut self, reg: Reg, value: u64) -> &mut Self {
        self.full_width_prefix();
        self.byte(0xb8 | reg as u8);
        match self.mode {
            Mode::Long => self.emit(&value.to_le_bytes()),
            Mode::Real { .. } => {
                assert!(
                    value <= u64::from(u32::MAX),
                    "{value:#x} in a 32-bit register"
                );
                self.emit(&(value as u32).to_le_bytes())
            }
        }
    }

    /// `reg = 0`.
    pub fn zero(&mut self, reg: Reg) -> &mut Self {
        self.register_pair(0x31, reg, reg)
    }

    /// `to += from`, full width.
    pub fn add(&mut self, to: Reg, from: Reg) -> &mut Self {
        self.register_pair(0x01, to, from)
    }

    /// `reg += value`, full width.
    pub fn add_imm(&mut self, reg: Reg, value: i32) -> &mut Self {
        self.full_width_prefix();
        self.emit(&[0x81, 0xc0 | reg as u8]);
        self.emit(&value.to_le_bytes())
    }

    /// Loads the low `width` of `reg` from memory; the bits above keep their value, except that
    /// a load of 4 bytes in long mode clears the upper half.
    pub fn load(&mut self, width: Width, reg: Reg, from: Mem) -> &mut Self {
        let opcode = if width == Width::Byte { 0x8a } else { 0x8b };
        self.sized_access(width, &[opcode], reg as u8, from)
    }

    /// Stores the low `width` of `reg` to memory.
    pub fn store(&mut self, width: Width, to: Mem, reg: Reg) -> &mut Self {
        let opcode = if width == Width::Byte { 0x88 } else { 0x89 };
        self.sized_access(width, &[opcode], reg as u8, to)
    }

    /// `memory += reg`: a load and a store of the low `width`.
    pub fn add_to(&mut self, width: Width, to: Mem, reg: Reg) -> &mut Self {
        let opcode = if width == Width::Byte { 0x00 } else { 0x01 };
        self.sized_access(width, &[opcode], reg as u8, to)
    }

    /// `rep movs`: Cx elements from memory at Si to memory at Di. Long mode.
    pub fn rep_movs(&mut self, width: Width) -> &mut Self {
        assert_eq!(self.mode, Mode::Long, "rep movs in real mode");
        self.byte(REP);
        match width {
            Width::Byte => self.byte(0xa4),
            Width::Word => self.emit(&[OPERAND_SIZE, 0xa5]),
            Width::Long => self.byte(0xa5),
            Width::Quad => self.emit(&[REX_W, 0xa5]),
        }
    }

    /// Over and over, for ever.
    pub fn endlessly(&mut self, body: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        body(self);
        // The sign flag of 0 is clear.
        self.register_pair(0x31, Reg::Ax, Reg::Ax);
        self.jump_back(0x89, start)
    }

    /// `movups xmm0, [from]`: 16 bytes, any alignment. Long mode.
    pub fn load_sse(&mut self, from: Mem) -> &mut Self {
        self.sse_access(&[0x0f, 0x10], from)
    }

    /// `movups [to], xmm0`.
    pub fn store_sse(&mut self, to: Mem) -> &mut Self {
        self.sse_access(&[0x0f, 0x11], to)
    }

    /// `movdqa xmm0, [from]`: 16 bytes, aligned. Long mode.
    pub fn load_sse_aligned(&mut self, from: Mem) -> &mut Self {
        self.byte(OPERAND_SIZE).sse_access(&[0x0f, 0x6f], from)
    }

    /// `movdqa [to], xmm0`.
    pub fn store_sse_aligned(&mut self, to: Mem) -> &mut Self {
        self.byte(OPERAND_SIZE).sse_access(&[0x0f, 0x7f], to)
    }

    /// `in al/ax/eax, dx`. 1, 2 or 4 bytes.
    pub fn port_in(&mut self, width: Width) -> &mut Self {
        self.port_access(width, &[], 0xec)
    }

    /// `out dx, al/ax/eax`. 1, 2 or 4 bytes.
    pub fn port_out(&mut self, width: Width) -> &mut Self {
        self.port_access(width, &[], 0xee)
    }

    /// `rep ins`: Cx elements from port Dx to RAM at Di.
    pub fn rep_ins(&mut self, width: Width) -> &mut Self {
        self.port_access(width, &[REP], 0x6c)
    }

    /// `rep outs`: Cx elements from RAM at Si to port Dx.
    pub fn rep_outs(&mut self, width: Width) -> &mut Self {
        match self.mode {
            Mode::Real { .. } => self.port_access(width, &[SEGMENT_ES, REP], 0x6e),
            Mode::Long => self.port_access(width, &[REP], 0x6e),
        }
    }

    /// `count` times the body, which must leave Cx alone. 1 at least.
    pub fn repeat(&mut self, count: u32, body: impl FnOnce(&mut Self)) -> &mut Self {
        self.mov(Reg::Cx, u64::from(count));
        let start = self.bytes.len();
        body(self);
        self.full_width_prefix();
        self.emit(&[0xff, 0xc8 | Reg::Cx as u8]);
        self.jump_back(0x85, start)
    }

    /// The body, over and over until the 4 bytes in memory are not zero; leaves them in Ax.
    pub fn repeat_until_set(&mut self, flag: Mem, body: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        body(self);
        self.load(Width::Long, Reg::Ax, flag);
        self.register_pair(0x85, Reg::Ax, Reg::Ax);
        self.jump_back(0x84, start)
    }

    /// Waits until the 4 bytes in memory are not zero; leaves them in Ax.
    pub fn spin_until_set(&mut self, flag: Mem) -> &mut Self {
        self.repeat_until_set(flag, |body| {
            body.emit(&[REP, 0x90]);
        })
    }

    /// `push reg`. Long mode.
    pub fn push(&mut self, reg: Reg) -> &mut Self {
        self.byte(0x50 | reg as u8)
    }

    /// `pop reg`. Long mode.
    pub fn pop(&mut self, reg: Reg) -> &mut Self {
        self.byte(0x58 | reg as u8)
    }

    /// `wrmsr`: writes a value of 32 bits, by way of Ax, Cx and Dx.
    pub fn write_msr(&mut self, msr: u32, value: u32) -> &mut Self {
        self.mov(Reg::Cx, msr.into())
            .mov(Reg::Ax, value.into())
            .zero(Reg::Dx)
            .emit(&[0x0f, 0x30])
    }

    /// `sti`: interrupts are on from the next but one instruction on.
    pub fn interrupts_on(&mut self) -> &mut Self {
        self.byte(0xfb)
    }

    /// `cli`: interrupts are off.
    pub fn interrupts_off(&mut self) -> &mut Self {
        self.byte(0xfa)
    }

    /// `int vector`.
    pub fn software_interrupt(&mut self, vector: u8) -> &mut Self {
        self.emit(&[0xcd, vector])
    }

    /// `sidt [to]`: the limit of the IDT, 2 bytes, and its address, 8 bytes. Long mode.
    pub fn store_idt(&mut self, to: Mem) -> &mut Self {
        self.emit(&[0x0f, 0x01]).operand(1, to)
    }

    /// `lidt [from]`: loads what [`Asm::store_idt`] stores.
    pub fn load_idt(&mut self, from: Mem) -> &mut Self {
        self.emit(&[0x0f, 0x01]).operand(3, from)
    }

    /// `iretq`: the end of an interrupt handler. Long mode.
    pub fn iret(&mut self) -> &mut Self {
        self.emit(&[REX_W, 0xcf])
    }

    /// The end: `hlt`. Without an in-kernel interrupt controller that is [`crate::Exit::Halt`].
    pub fn halt(&mut self) -> &mut Self {
        self.byte(0xf4)
    }

    fn byte(&mut self, byte: u8) -> &mut Self {
        self.emit(&[byte])
    }

    fn emit(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// The prefix for 64 bits in long mode, 32 in real mode.
    fn full_width_prefix(&mut self) -> &mut Self {
        let prefix = if self.mode == Mode::Long {
            REX_W
        } else {
            OPERAND_SIZE
        };
        self.byte(prefix)
    }

    fn register_pair(&mut self, opcode: u8, to: Reg, from: Reg) -> &mut Self {
        self.full_width_prefix();
        self.emit(&[opcode, 0xc0 | ((from as u8) << 3) | to as u8])
    }

    fn sized_access(&mut self, width: Width, opcode: &[u8], reg: u8, mem: Mem) -> &mut Self {
        self.segment_prefix(mem);
        match (self.mode, width) {
            (Mode::Long, Width::Byte) => self.byte(REX),
            (Mode::Long, Width::Word) | (Mode::Real { .. }, Width::Long) => self.byte(OPERAND_SIZE),
            (Mode::Long, Width::Quad) => self.byte(REX_W),
            (Mode::Real { .. }, Width::Quad) => panic!("8-byte access in real mode"),
            (Mode::Real { .. }, Width::Byte) if reg >= 4 => {
                panic!("no low byte of Bp, Si, Di in real mode")
            }
            _ => self,
        };
        self.emit(opcode).operand(reg, mem)
    }

    fn sse_access(&mut self, opcode: &[u8], mem: Mem) -> &mut Self {
        assert_eq!(self.mode, Mode::Long, "16-byte access in real mode");
        self.emit(opcode).operand(0, mem)
    }

    fn port_access(&mut self, width: Width, prefixes: &[u8], byte_opcode: u8) -> &mut Self {
        self.emit(prefixes);
        match (self.mode, width) {
            (_, Width::Quad) => panic!("8-byte port access"),
            (Mode::Long, Width::Word) | (Mode::Real { .. }, Width::Long) => self.byte(OPERAND_SIZE),
            _ => self,
        };
        self.byte(byte_opcode | u8::from(width != Width::Byte))
    }

    /// In real mode RAM is reached through the extra segment, whose base is 0.
    fn segment_prefix(&mut self, mem: Mem) {
        if matches!((self.mode, mem), (Mode::Real { .. }, Mem::Ram(_))) {
            self.byte(SEGMENT_ES);
        }
    }

    /// ModRM (and SIB, displacement) for `mem` with `reg` in the reg field.
    fn operand(&mut self, reg: u8, mem: Mem) -> &mut Self {
        let reg = reg << 3;
        match (self.mode, mem) {
            (Mode::Long, Mem::At(base @ (Reg::Bx | Reg::Si | Reg::Di))) => {
                self.byte(reg | base as u8)
            }
            (Mode::Long, Mem::Ram(address)) => {
                self.emit(&[reg | 4, 0x25]).emit(&address.to_le_bytes())
            }
            (Mode::Real { .. }, Mem::At(Reg::Si)) => self.byte(reg | 4),
            (Mode::Real { .. }, Mem::At(Reg::Di)) => self.byte(reg | 5),
            (Mode::Real { .. }, Mem::At(Reg::Bx)) => self.byte(reg | 7),
            (Mode::Real { .. }, Mem::Ram(address)) => {
                assert!(address < 0x1_0000, "{address:#x} in real mode");
                self.byte(reg | 6).emit(&(address as u16).to_le_bytes())
            }
            (_, Mem::At(other)) => panic!("{other:?} holds no address"),
        }
    }

    /// A near conditional jump (second opcode byte) to an earlier place.
    fn jump_back(&mut self, condition: u8, target: usize) -> &mut Self {
        self.emit(&[0x0f, condition]);
        match self.mode {
            Mode::Long => {
                let distance = target as i32 - (self.bytes.len() as i32 + 4);
                self.emit(&distance.to_le_bytes())
            }
            Mode::Real { .. } => {
                let distance = target as i32 - (self.bytes.len() as i32 + 2);
                self.emit(&(distance as i16).to_le_bytes())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected bytes are what GNU as makes of the same instructions.
    #[test]
    fn long_mode_encodings() {
        let mut asm = Asm::long();
        asm.mov(Reg::Bx, 0x1_0000_0002)
            .zero(Reg::Ax)
            .load(Width::Byte, Reg::Ax, Mem::At(Reg::Bx))
            .load(Width::Quad, Reg::Si, Mem::At(Reg::Di))
            .store(Width::Word, Mem::Ram(0xc000), Reg::Ax)
            .add(Reg::Si, Reg::Ax)
            .add_imm(Reg::Bx, -4)
            .load_sse(Mem::At(Reg::Bx))
            .store_sse_aligned(Mem::Ram(0xc010))
            .port_out(Width::Word)
            .rep_ins(Width::Word)
            .halt();
        let want = [
            &[0x48, 0xbb, 2, 0, 0, 0, 1, 0, 0, 0][..],
            &[0x48, 0x31, 0xc0],
            &[0x40, 0x8a, 0x03],
            &[0x48, 0x8b, 0x37],
            &[0x66, 0x89, 0x04, 0x25, 0x00, 0xc0, 0, 0],
            &[0x48, 0x01, 0xc6],
            &[0x48, 0x81, 0xc3, 0xfc, 0xff, 0xff, 0xff],
            &[0x0f, 0x10, 0x03],
            &[0x66, 0x0f, 0x7f, 0x04, 0x25, 0x10, 0xc0, 0, 0],
            &[0x66, 0xef],
            &[0xf3, 0x66, 0x6d],
            &[0xf4],
        ]
        .concat();
        assert_eq!(asm.bytes(), want);
    }

    #[test]
    fn interrupt_encodings() {
        let mut asm = Asm::long();
        asm.interrupts_on()
            .interrupts_off()
            .push(Reg::Dx)
            .write_msr(0x80b, 1)
            .pop(Reg::Dx)
            .software_interrupt(0x80)
            .store_idt(Mem::Ram(0xc000))
            .load_idt(Mem::At(Reg::Bx))
            .iret();
        let want = [
            &[0xfb, 0xfa, 0x52][..],
            &[0x48, 0xb9, 0x0b, 0x08, 0, 0, 0, 0, 0, 0],
            &[0x48, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0],
            &[0x48, 0x31, 0xd2],
            &[0x0f, 0x30],
            &[0x5a, 0xcd, 0x80],
            &[0x0f, 0x01, 0x0c, 0x25, 0x00, 0xc0, 0, 0],
            &[0x0f, 0x01, 0x1b],
            &[0x48, 0xcf],
        ]
        .concat();
        assert_eq!(asm.bytes(), want);
    }

    #[test]
    fn real_mode_encodings() {
        let mut asm = Asm::real(0xd000_0000);
        asm.mov(Reg::Bx, 4)
            .load(Width::Long, Reg::Ax, Mem::At(Reg::Bx))
            .store(Width::Byte, Mem::Ram(0xc000), Reg::Ax)
            .port_in(Width::Long)
            .rep_outs(Width::Byte);
        let want = [
            &[0x66, 0xbb, 4, 0, 0, 0][..],
            &[0x66, 0x8b, 0x07],
            &[0x26, 0x88, 0x06, 0x00, 0xc0],
            &[0x66, 0xed],
            &[0x26, 0xf3, 0x6e],
        ]
        .concat();
        assert_eq!(asm.bytes(), want);
    }

    #[test]
    fn loops_jump_back_to_their_start() {
        let mut long = Asm::long();
        long.repeat(3, |body| {
            body.add_imm(Reg::Ax, 1);
        });
        // mov 10, add 7, dec 3, jnz 6: the jump goes back 16 bytes.
        assert_eq!(long.bytes().len(), 26);
        assert_eq!(long.bytes()[20..], [0x0f, 0x85, 0xf0, 0xff, 0xff, 0xff]);

        let mut real = Asm::real(0);
        real.repeat(3, |body| {
            body.add_imm(Reg::Ax, 1);
        });
        // mov 6, add 7, dec 3, jnz 4.
        assert_eq!(real.bytes()[16..], [0x0f, 0x85, 0xf2, 0xff]);
    }

    #[test]
    #[should_panic(expected = "8-byte access in real mode")]
    fn real_mode_has_no_quad() {
        Asm::real(0).load(Width::Quad, Reg::Ax, Mem::At(Reg::Bx));
    }
}
