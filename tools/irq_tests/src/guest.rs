// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The guest's programs: one that has the device raise interrupts, and the handler.

use rawguest::{Asm, Mem, Reg, Width};

use crate::edu::{ACKNOWLEDGE, RAISE};
use crate::hpet;

/// Where the guest has the first device's registers.
const REGISTERS: u64 = 0xe000_0000;
/// From one device's registers to the next one's.
const REGISTERS_STEP: u64 = 0x10_0000;
/// How many interrupts the handler has seen, 8 bytes.
pub(crate) const SEEN: u32 = 0xc000;
/// How many times `INT` [`SOFTWARE`] got to its handler, 8 bytes.
pub(crate) const SOFTWARE_SEEN: u32 = 0xc010;
/// What `SIDT` said, 10 bytes.
pub(crate) const IDTR: u32 = 0xc020;
/// Ends [`wait_with_interrupts_off`], 4 bytes.
pub(crate) const RELEASE: u32 = 0xc030;
/// How many interrupts [`other_handler`] has seen, 8 bytes.
pub(crate) const OTHER_SEEN: u32 = 0xc040;
/// The guest's vector for itself, above the limit of a direct run.
pub(crate) const SOFTWARE: u8 = 0x80;
/// Set by the handler.
const DONE: u32 = 0xc008;
/// From what the first device's handler counts and sets to the next one's.
const HANDLED_STEP: u32 = 0x100;
/// A port without a device: an access to it is an exit.
pub(crate) const MARK: u16 = 0x100;

/// x2APIC: the spurious vector register with the local APIC's switch, and end of interrupt.
const SPURIOUS: u32 = 0x80f;
const ON: u32 = 0x1ff;
const EOI: u32 = 0x80b;
/// And the task's priority, which keeps off all vectors below it.
const PRIORITY: u32 = 0x808;
const HIGH: u32 = 0xff;

/// Where the guest has the registers of its `place`th device.
pub(crate) fn registers(place: u32) -> u64 {
    REGISTERS + u64::from(place) * REGISTERS_STEP
}

/// How many interrupts of its `place`th device a guest has seen, 8 bytes.
pub(crate) fn seen(place: u32) -> u32 {
    SEEN + place * HANDLED_STEP
}

fn done(place: u32) -> u32 {
    DONE + place * HANDLED_STEP
}

/// Switches the local APIC and interrupts on, and exits.
pub(crate) fn start() -> Asm {
    let mut program = Asm::long();
    let (raise, acknowledge) = match hpet::is_used() {
        true => (hpet::COMPARATOR, hpet::STATUS),
        false => (RAISE, ACKNOWLEDGE),
    };
    program
        .write_msr(SPURIOUS, ON)
        .mov(Reg::Bx, registers(0) + raise)
        .mov(Reg::Di, registers(0) + acknowledge)
        .mov(Reg::Si, registers(0) + hpet::COUNTER)
        .interrupts_on();
    mark(&mut program);
    program
}

/// Asks the device for an interrupt, `soon` if it is the HPET. Ax is 0.
fn raise(program: &mut Asm, soon: i32) {
    match hpet::is_used() {
        true => set_timer(program, soon),
        false => {
            program
                .add_imm(Reg::Ax, 1)
                .store(Width::Long, Mem::At(Reg::Bx), Reg::Ax);
        }
    }
}

/// Sets the timer. If an exit takes so long that the counter is beyond that already when it gets to the
/// comparator, no interrupt comes.
fn set_timer(program: &mut Asm, soon: i32) {
    program
        .load(Width::Quad, Reg::Ax, Mem::At(Reg::Si))
        .add_imm(Reg::Ax, soon)
        .store(Width::Quad, Mem::At(Reg::Bx), Reg::Ax);
}

/// Waits until [`hpet::SOON`] is over.
fn let_pass(program: &mut Asm) {
    program
        .push(Reg::Cx)
        .repeat(hpet::PATIENCE, |_| {})
        .pop(Reg::Cx);
}

/// Asks the device for an interrupt, and waits for it. Ax is 0.
fn raise_and_wait(program: &mut Asm) {
    match hpet::is_used() {
        true => program.repeat_until_set(Mem::Ram(DONE), |body| {
            set_timer(body, hpet::SOON);
            let_pass(body);
        }),
        false => {
            raise(program, 0);
            program.spin_until_set(Mem::Ram(DONE))
        }
    };
}

/// Waits for `count` interrupts that it asks the device for, one after the other, and exits.
pub(crate) fn ask_for(program: &mut Asm, count: u32) {
    program.repeat(count, |body| {
        body.zero(Reg::Ax)
            .store(Width::Long, Mem::Ram(DONE), Reg::Ax);
        raise_and_wait(body);
    });
    mark(program);
}

/// The same of each of these devices in turn.
pub(crate) fn ask_in_turn(program: &mut Asm, places: &[u32], count: u32) {
    program.repeat(count, |body| {
        for &place in places {
            body.mov(Reg::Bx, registers(place) + RAISE)
                .zero(Reg::Ax)
                .store(Width::Long, Mem::Ram(done(place)), Reg::Ax)
                .add_imm(Reg::Ax, 1)
                .store(Width::Long, Mem::At(Reg::Bx), Reg::Ax)
                .spin_until_set(Mem::Ram(done(place)));
        }
    });
    mark(program);
}

/// As [`ask_for`], but halts until the interrupt comes, `soon` if it is the HPET's. Others' interrupts may
/// end a halt, too.
pub(crate) fn ask_and_halt(program: &mut Asm, count: u32, soon: i32) {
    program.repeat(count, |body| {
        body.interrupts_off()
            .zero(Reg::Ax)
            .store(Width::Long, Mem::Ram(DONE), Reg::Ax);
        raise(body, soon);
        body.repeat_until_set(Mem::Ram(DONE), |body| {
            body.interrupts_on().halt().interrupts_off();
        });
    });
    program.interrupts_on();
    mark(program);
}

/// Asks the device for an interrupt and does not take it: exits with interrupts off.
pub(crate) fn ask_and_leave(program: &mut Asm) {
    program.interrupts_off().zero(Reg::Ax);
    raise(program, hpet::SOON);
    let_pass(program);
    mark(program);
}

/// Asks the device for an interrupt while the priority of the task is above it, and exits; then has it
/// come, and exits.
pub(crate) fn ask_and_postpone(program: &mut Asm) {
    program
        .write_msr(PRIORITY, HIGH)
        .zero(Reg::Ax)
        .store(Width::Long, Mem::Ram(DONE), Reg::Ax);
    raise(program, hpet::SOON);
    let_pass(program);
    mark(program);
    program.write_msr(PRIORITY, 0);
    program.spin_until_set(Mem::Ram(DONE));
    mark(program);
}

/// Writes `count` EOIs although nothing is in service.
pub(crate) fn end_nothing(program: &mut Asm, count: u32) {
    program.repeat(count, |body| {
        body.push(Reg::Cx).write_msr(EOI, 0).pop(Reg::Cx);
    });
}

/// Executes `INT` [`SOFTWARE`] that often.
pub(crate) fn interrupt_itself(program: &mut Asm, count: u32) {
    program.repeat(count, |body| {
        body.software_interrupt(SOFTWARE);
    });
}

/// Keeps interrupts off until somebody sets [`RELEASE`], without `PAUSE`, which may exit.
pub(crate) fn wait_with_interrupts_off(program: &mut Asm) {
    program
        .interrupts_off()
        .repeat_until_set(Mem::Ram(RELEASE), |_| {})
        .interrupts_on();
}

/// Stores what `SIDT` says to [`IDTR`], and loads it again.
pub(crate) fn reload_idt(program: &mut Asm) {
    program.store_idt(Mem::Ram(IDTR)).load_idt(Mem::Ram(IDTR));
}

/// Loads what is at [`IDTR`].
pub(crate) fn load_idt(program: &mut Asm) {
    program.load_idt(Mem::Ram(IDTR));
}

/// Acknowledges the interrupt at the device, counts it, and ends it at the local APIC.
pub(crate) fn handler() -> Asm {
    counting(SEEN)
}

/// The same, with a counter of its own.
pub(crate) fn other_handler() -> Asm {
    counting(OTHER_SEEN)
}

/// As [`handler`], for the `place`th device.
pub(crate) fn handler_of(place: u32) -> Asm {
    let saved = [Reg::Ax, Reg::Cx, Reg::Dx, Reg::Bx];
    let mut program = Asm::long();
    for reg in saved {
        program.push(reg);
    }
    program
        .mov(Reg::Bx, registers(place) + ACKNOWLEDGE)
        .mov(Reg::Ax, 1)
        .store(Width::Long, Mem::At(Reg::Bx), Reg::Ax)
        .add_to(Width::Quad, Mem::Ram(seen(place)), Reg::Ax)
        .store(Width::Long, Mem::Ram(done(place)), Reg::Ax)
        .write_msr(EOI, 0);
    for reg in saved.into_iter().rev() {
        program.pop(reg);
    }
    program.iret();
    program
}

/// Counts an interrupt and stays, with interrupts on.
pub(crate) fn endless_handler() -> Asm {
    let mut program = Asm::long();
    program
        .mov(Reg::Ax, 1)
        .add_to(Width::Quad, Mem::Ram(SEEN), Reg::Ax)
        .interrupts_on()
        .endlessly(|_| {});
    program
}

fn counting(counter: u32) -> Asm {
    let mut program = Asm::long();
    program
        .push(Reg::Ax)
        .push(Reg::Cx)
        .push(Reg::Dx)
        .mov(Reg::Ax, 1)
        .store(Width::Long, Mem::At(Reg::Di), Reg::Ax)
        .add_to(Width::Quad, Mem::Ram(counter), Reg::Ax)
        .store(Width::Long, Mem::Ram(DONE), Reg::Ax)
        .write_msr(EOI, 0)
        .pop(Reg::Dx)
        .pop(Reg::Cx)
        .pop(Reg::Ax)
        .iret();
    program
}

/// Counts an `INT` [`SOFTWARE`].
pub(crate) fn software_handler() -> Asm {
    let mut program = Asm::long();
    program
        .push(Reg::Ax)
        .mov(Reg::Ax, 1)
        .add_to(Width::Quad, Mem::Ram(SOFTWARE_SEEN), Reg::Ax)
        .pop(Reg::Ax)
        .iret();
    program
}

fn mark(program: &mut Asm) {
    program.mov(Reg::Dx, MARK.into()).port_out(Width::Byte);
}
