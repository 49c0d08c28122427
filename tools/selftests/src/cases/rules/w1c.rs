// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Writes that clear the bits they name.

use anyhow::Result;
use rawguest::Width;

use super::{fixture, pattern_at, CARRIERS, SIZE};
use crate::cases::access::VALUE;
use crate::channel::Transport;
use crate::check::check_eq;
use crate::guest::{read_command, write_command};
use crate::rules::{plain, w1c};
use crate::script::{values, Bus, Script, BUSES};
use crate::suite::{tests, Context};

tests!(
    "rules_w1c",
    Ioregion,
    [
        named_bits_and_no_others,
        target_at_the_offset_itself,
        nothing_and_everything,
        other_accesses_go_to_the_device,
        two_acknowledges_of_one_register,
    ]
);

const STATUS: u32 = 0x60;
const ACK: u32 = 0x70;

/// What is left of the pattern at `offset`.
fn cleared(width: Width, offset: u32, bits: u64) -> Vec<u8> {
    let left = pattern_at(offset, width.bytes()) & !bits;
    left.to_le_bytes()[..width.bytes()].to_vec()
}

/// Each width, at each place in 8 bytes: the neighbours stay, and the device sleeps on.
fn named_bits_and_no_others(_: &Context) -> Result<()> {
    for (transport, bus) in CARRIERS.into_iter().zip(BUSES) {
        for &width in bus.widths() {
            for target in (STATUS..STATUS + 8).step_by(width.bytes()) {
                let what = format!("{bus:?} {width:?} target {target:#x}");
                let program = Script::new(bus).write(width, ACK, VALUE).end();
                let rules = [w1c(width, ACK, target)];
                let mut test = fixture(transport, bus, SIZE, &rules, &program)?;
                test.expect_commands(&[], &what)?;
                test.expect_registers(&[(target, &cleared(width, target, VALUE))], &what)?;
            }
        }
    }
    Ok(())
}

fn target_at_the_offset_itself(_: &Context) -> Result<()> {
    for bus in BUSES {
        let program = Script::new(bus).write(Width::Long, STATUS, VALUE).end();
        let rules = [w1c(Width::Long, STATUS, STATUS)];
        let mut test = fixture(Transport::Ring, bus, SIZE, &rules, &program)?;
        test.expect_commands(&[], "one register")?;
        let left = cleared(Width::Long, STATUS, VALUE);
        test.expect_registers(&[(STATUS, &left)], "one register")?;
    }
    Ok(())
}

fn nothing_and_everything(_: &Context) -> Result<()> {
    let program = Script::new(Bus::Mmio)
        .write(Width::Quad, ACK, 0)
        .read(Width::Quad, STATUS)
        .write(Width::Quad, ACK, u64::MAX)
        .read(Width::Quad, STATUS)
        .end();
    let rules = [
        w1c(Width::Quad, ACK, STATUS),
        plain(
            Width::Quad,
            STATUS,
            ioregion_wire::uapi::KVM_IOREGION_RULE_READ,
        ),
    ];
    let mut test = fixture(Transport::Seqpacket, Bus::Mmio, SIZE, &rules, &program)?;
    test.expect_commands(&[], "W1C and plain")?;
    check_eq!(
        values(&test.machine, 2)?,
        [pattern_at(STATUS, 8), 0],
        "values"
    );
    Ok(())
}

/// Reads there, other widths there, and writes to the register itself.
fn other_accesses_go_to_the_device(_: &Context) -> Result<()> {
    for bus in BUSES {
        let program = Script::new(bus)
            .read(Width::Long, ACK)
            .write(Width::Word, ACK, VALUE)
            .write(Width::Long, STATUS, VALUE)
            .write(Width::Long, ACK + 4, VALUE)
            .end();
        let rules = [w1c(Width::Long, ACK, STATUS)];
        let mut test = fixture(Transport::Ring, bus, SIZE, &rules, &program)?;
        let want = [
            read_command(Width::Long, ACK.into()),
            write_command(Width::Word, ACK.into(), VALUE),
            write_command(Width::Long, STATUS.into(), VALUE),
            write_command(Width::Long, u64::from(ACK) + 4, VALUE),
        ];
        test.expect_commands(&want, "not acknowledges")?;
        test.expect_registers(&[], "not acknowledges")?;
    }
    Ok(())
}

/// Two offsets, two widths, one register.
fn two_acknowledges_of_one_register(_: &Context) -> Result<()> {
    let program = Script::new(Bus::Mmio)
        .write(Width::Byte, ACK, 0xff)
        .write(Width::Word, ACK + 8, 0xff00)
        .end();
    let rules = [
        w1c(Width::Byte, ACK, STATUS),
        w1c(Width::Word, ACK + 8, STATUS),
    ];
    let mut test = fixture(Transport::Ring, Bus::Mmio, SIZE, &rules, &program)?;
    test.expect_commands(&[], "two acknowledges")?;
    test.expect_registers(&[(STATUS, &[0, 0])], "two acknowledges")
}
