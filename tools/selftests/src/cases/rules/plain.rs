// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Registers that are memory.

use anyhow::Result;
use ioregion_wire::uapi::{KVM_IOREGION_RULE_READ, KVM_IOREGION_RULE_WRITE};
use rawguest::Width;

use super::{fixture, pattern_at, CARRIERS, SIZE};
use crate::cases::access::VALUE;
use crate::channel::Transport;
use crate::check::check_eq;
use crate::guest::{read_command, write_command};
use crate::rules::{plain, BOTH};
use crate::script::{values, Bus, Script, BUSES};
use crate::suite::{tests, Context};

tests!(
    "rules_plain",
    Ioregion,
    [
        reads,
        writes,
        read_sees_what_was_written,
        other_widths_go_to_the_device,
        other_offsets_go_to_the_device,
        directions,
        every_page_of_the_registers,
        table_full_of_rules,
    ]
);

const OFFSET: u32 = 0x40;

fn reads(_: &Context) -> Result<()> {
    for (transport, bus) in CARRIERS.into_iter().zip(BUSES) {
        for &width in bus.widths() {
            let what = format!("{transport:?} {bus:?} {width:?}");
            let program = Script::new(bus).read(width, OFFSET).end();
            let rules = [plain(width, OFFSET, KVM_IOREGION_RULE_READ)];
            let mut test = fixture(transport, bus, SIZE, &rules, &program)?;
            test.expect_commands(&[], &what)?;
            let want = [pattern_at(OFFSET, width.bytes())];
            check_eq!(values(&test.machine, 1)?, want, "value, {what}");
            test.expect_registers(&[], &what)?;
        }
    }
    Ok(())
}

fn writes(_: &Context) -> Result<()> {
    for (transport, bus) in CARRIERS.into_iter().rev().zip(BUSES) {
        for &width in bus.widths() {
            let what = format!("{transport:?} {bus:?} {width:?}");
            let program = Script::new(bus).write(width, OFFSET, VALUE).end();
            let rules = [plain(width, OFFSET, KVM_IOREGION_RULE_WRITE)];
            let mut test = fixture(transport, bus, SIZE, &rules, &program)?;
            test.expect_commands(&[], &what)?;
            let bytes = VALUE.to_le_bytes();
            test.expect_registers(&[(OFFSET, &bytes[..width.bytes()])], &what)?;
        }
    }
    Ok(())
}

/// By the guest, and between two reads by the device.
fn read_sees_what_was_written(_: &Context) -> Result<()> {
    for bus in BUSES {
        let program = Script::new(bus)
            .read(Width::Long, OFFSET)
            .write(Width::Long, OFFSET, VALUE)
            .read(Width::Long, OFFSET)
            .write(Width::Byte, 0, 0)
            .read(Width::Long, OFFSET)
            .end();
        let rules = [plain(Width::Long, OFFSET, BOTH)];
        let mut test = fixture(Transport::Ring, bus, SIZE, &rules, &program)?;
        let registers = test.registers.clone();
        let (exit, log) = crate::stage::play(
            &mut test.vcpu,
            &mut test.device,
            crate::stage::Signals::None,
            |_| {
                registers.store(OFFSET.into(), 0x600d_600du32)?;
                Ok(0)
            },
            |driver| driver.run(),
        )?;
        crate::guest::expect_halt(&exit)?;
        check_eq!(log, [write_command(Width::Byte, 0, 0)], "commands, {bus:?}");
        let want = [pattern_at(OFFSET, 4), Width::Long.mask(VALUE), 0x600d_600d];
        check_eq!(values(&test.machine, 3)?, want, "values, {bus:?}");
    }
    Ok(())
}

/// At the rule's own offset.
fn other_widths_go_to_the_device(_: &Context) -> Result<()> {
    for bus in BUSES {
        for &ruled in bus.widths() {
            let others = bus.widths().iter().filter(|&&width| width != ruled);
            let mut script = Script::new(bus);
            let mut want = Vec::new();
            for &width in others {
                script = script.write(width, OFFSET, VALUE).read(width, OFFSET);
                want.push(write_command(width, OFFSET.into(), VALUE));
                want.push(read_command(width, OFFSET.into()));
            }
            let rules = [plain(ruled, OFFSET, BOTH)];
            let mut test = fixture(Transport::Seqpacket, bus, SIZE, &rules, &script.end())?;
            let what = format!("rule of {ruled:?}, {bus:?}");
            test.expect_commands(&want, &what)?;
            test.expect_registers(&[], &what)?;
        }
    }
    Ok(())
}

/// All those whose bytes overlap the rule's, or that are next to them.
fn other_offsets_go_to_the_device(_: &Context) -> Result<()> {
    let mut script = Script::new(Bus::Mmio);
    let mut want = Vec::new();
    for offset in (OFFSET - 8..=OFFSET + 8).filter(|&offset| offset != OFFSET) {
        script = script
            .read(Width::Long, offset)
            .write(Width::Long, offset, VALUE);
        want.push(read_command(Width::Long, offset.into()));
        want.push(write_command(Width::Long, offset.into(), VALUE));
    }
    for transport in CARRIERS {
        let rules = [plain(Width::Long, OFFSET, BOTH)];
        let program = script.clone().end();
        let mut test = fixture(transport, Bus::Mmio, SIZE, &rules, &program)?;
        let what = format!("{transport:?}");
        test.expect_commands(&want, &what)?;
        test.expect_registers(&[], &what)?;
    }
    Ok(())
}

fn directions(_: &Context) -> Result<()> {
    for bus in BUSES {
        let program = Script::new(bus)
            .write(Width::Word, OFFSET, VALUE)
            .read(Width::Word, OFFSET)
            .end();
        let rules = [plain(Width::Word, OFFSET, KVM_IOREGION_RULE_READ)];
        let mut test = fixture(Transport::Ring, bus, SIZE, &rules, &program)?;
        let write = write_command(Width::Word, OFFSET.into(), VALUE);
        test.expect_commands(&[write], "rule for reads")?;
        test.expect_registers(&[], "rule for reads")?;
        check_eq!(
            values(&test.machine, 1)?,
            [pattern_at(OFFSET, 2)],
            "value by the rule, {bus:?}"
        );

        let rules = [plain(Width::Word, OFFSET, KVM_IOREGION_RULE_WRITE)];
        let mut test = fixture(Transport::Ring, bus, SIZE, &rules, &program)?;
        let read = read_command(Width::Word, OFFSET.into());
        test.expect_commands(&[read], "rule for writes")?;
        let written = &VALUE.to_le_bytes()[..2];
        test.expect_registers(&[(OFFSET, written)], "rule for writes")?;
        check_eq!(
            values(&test.machine, 1)?,
            [Width::Word.mask(VALUE)],
            "value of the device, {bus:?}"
        );
    }
    Ok(())
}

/// The last bytes of each page, and the first, of the largest region that may have registers;
/// and the end of a region that ends within a page.
fn every_page_of_the_registers(_: &Context) -> Result<()> {
    for size in [0x1_0000, 0x1ff8] {
        let last = size - 8;
        let ends = (0xff8..last).step_by(0x1000);
        let offsets: Vec<u32> = ends.flat_map(|end| [end, end + 8]).chain([last]).collect();
        let mut script = Script::new(Bus::Mmio);
        for &offset in &offsets {
            script =
                script
                    .read(Width::Quad, offset)
                    .write(Width::Quad, offset, u64::from(offset) + 1);
        }
        let rules: Vec<_> = offsets
            .iter()
            .map(|&offset| plain(Width::Quad, offset, BOTH))
            .collect();
        let size = u64::from(size);
        let program = script.end();
        let mut test = fixture(Transport::Ring, Bus::Mmio, size, &rules, &program)?;
        let what = format!("{size:#x} bytes");
        test.expect_commands(&[], &what)?;
        let want: Vec<u64> = offsets.iter().map(|&at| pattern_at(at, 8)).collect();
        let got = values(&test.machine, offsets.len() as u64)?;
        check_eq!(got, want, "values, {what}");
        let written: Vec<_> = offsets
            .iter()
            .map(|&at| (at, (u64::from(at) + 1).to_le_bytes()))
            .collect();
        let written: Vec<_> = written
            .iter()
            .map(|(at, bytes)| (*at, &bytes[..]))
            .collect();
        test.expect_registers(&written, &what)?;
    }
    Ok(())
}

/// As many as there may be, each found.
fn table_full_of_rules(_: &Context) -> Result<()> {
    const COUNT: u32 = ioregion_wire::uapi::KVM_IOREGION_MAX_RULES as u32;
    for bus in BUSES {
        // In an order that is neither up nor down.
        let offsets: Vec<u32> = (0..COUNT).map(|n| n * 37 % COUNT).collect();
        let rules: Vec<_> = offsets
            .iter()
            .map(|&offset| plain(Width::Byte, offset, KVM_IOREGION_RULE_READ))
            .collect();
        let script = (0..=COUNT).fold(Script::new(bus), |script, offset| {
            script.read(Width::Byte, offset)
        });
        let mut test = fixture(Transport::Seqpacket, bus, SIZE, &rules, &script.end())?;
        let beyond = read_command(Width::Byte, COUNT.into());
        test.expect_commands(&[beyond], "64 rules")?;
        let got = values(&test.machine, COUNT.into())?;
        let want: Vec<u64> = (0..COUNT).map(|at| pattern_at(at, 1)).collect();
        check_eq!(got, want, "values, {bus:?}");
    }
    Ok(())
}
