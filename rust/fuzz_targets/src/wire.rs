// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `ioregion_wire`: frames and structures.

use crate::{
    input::Input,
    outcome::{
        hold,
        Broken,
        Digest, //
    },
};
use ioregion_wire::{
    frame::{
        BadCommand,
        Command,
        Operation,
        Reply,
        Width,
        FRAME_SIZE, //
    },
    run::RunAccess,
    uapi::{
        KvmIoregion,
        KvmIoregionChannel,
        KvmIoregionRule,
        KvmIoregionRules,
        KvmIoregionfdFailure, //
    },
};
use zerocopy::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

/// Any 32 bytes as a command and as a reply.
///
/// # Errors
///
/// The promise that does not hold.
pub fn frames(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    while !input.is_empty() {
        let frame: [u8; FRAME_SIZE] = input.array();
        let reply = Reply::decode(&frame);
        hold(reply.data == word(&frame, 0), "a reply is its first word")?;
        hold(Reply::decode(&reply.encode()) == reply, "a reply survives")?;
        let command = Command::decode(&frame);
        hold(command == decode_naively(&frame), "a command is its bytes")?;
        match command {
            Ok(command) => {
                let again = Command::decode(&command.encode());
                hold(again == Ok(command), "a command survives")?;
                seen.see_command(&command);
            }
            Err(bad) => see_bad(bad, seen),
        }
    }
    Ok(())
}

/// As `Documentation/ioregion.md` describes a command, byte by byte.
fn decode_naively(frame: &[u8; FRAME_SIZE]) -> Result<Command, BadCommand> {
    let (width, bits) = match frame[1] % 16 {
        0 => (Width::Byte, 8),
        1 => (Width::Word, 16),
        2 => (Width::Long, 32),
        3 => (Width::Quad, 64),
        other => return Err(BadCommand::SizeExponent(other)),
    };
    let expects_reply = frame[1] / 16 % 2 == 1;
    let data = (0..bits).fold(0, |data, bit| data | word(frame, 24) & (1 << bit));
    let operation = match (frame[0], expects_reply) {
        (0, true) => Operation::Read,
        (0, false) => return Err(BadCommand::ReadWithoutReply),
        (1, _) => Operation::Write(data),
        (other, _) => return Err(BadCommand::Operation(other)),
    };
    Ok(Command {
        operation,
        width,
        expects_reply,
        user_data: word(frame, 8),
        offset: word(frame, 16),
    })
}

pub(crate) fn see_bad(bad: BadCommand, seen: &mut Digest) {
    seen.see(match bad {
        BadCommand::Operation(byte) => 0x100 | u64::from(byte),
        BadCommand::SizeExponent(byte) => 0x200 | u64::from(byte),
        BadCommand::ReadWithoutReply => 0x300,
    });
}

/// Any bytes as each of the structures that cross the border to userspace.
///
/// # Errors
///
/// The promise that does not hold.
pub fn structures(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    let bytes: [u8; 128] = input.array();
    let region: KvmIoregion = read(&bytes, 64)?;
    hold(region.guest_paddr == word(&bytes, 0), "guest_paddr is at 0")?;
    hold(region.memory_size == word(&bytes, 8), "memory_size is at 8")?;
    hold(region.user_data == word(&bytes, 16), "user_data is at 16")?;
    hold(
        region.read_fd as u32 == half(&bytes, 24),
        "read_fd is at 24",
    )?;
    hold(
        region.write_fd as u32 == half(&bytes, 28),
        "write_fd is at 28",
    )?;
    hold(region.flags == half(&bytes, 32), "flags is at 32")?;
    hold(region.timeout_ms == half(&bytes, 36), "timeout_ms is at 36")?;
    hold(region.pad == bytes[40..64], "pad is at 40")?;
    let channel: KvmIoregionChannel = read(&bytes, 16)?;
    hold(channel.slots == half(&bytes, 0), "slots is at 0")?;
    hold(channel.vcpus == half(&bytes, 4), "vcpus is at 4")?;
    rules(&bytes)?;
    let failure: KvmIoregionfdFailure = read(&bytes, 96)?;
    hold(failure.access == bytes[..32], "access is at 0")?;
    hold(failure.data == word(&bytes, 64), "data is at 64")?;
    hold(failure.error as u32 == half(&bytes, 84), "error is at 84")?;
    access(&failure, &bytes)?;
    for at in (0..bytes.len()).step_by(8) {
        seen.see(word(&bytes, at));
    }
    Ok(())
}

/// The access of a failure: `kvm_run.mmio`, or `kvm_run.io` if it is one of ports.
fn access(failure: &KvmIoregionfdFailure, bytes: &[u8]) -> Result<(), Broken> {
    let is_pio = failure.flags & 1 != 0;
    let access = RunAccess::from(failure);
    let wanted = match is_pio {
        true => RunAccess {
            is_pio,
            is_write: bytes[0] == 1,
            address: u64::from(half(bytes, 0) >> 16),
            size: bytes[1].into(),
            count: half(bytes, 4),
            data_offset: word(bytes, 8),
        },
        false => RunAccess {
            is_pio,
            is_write: bytes[20] != 0,
            address: word(bytes, 0),
            size: half(bytes, 16),
            count: 1,
            data_offset: 40,
        },
    };
    hold(access == wanted, "an access is the bytes of its exit")?;
    let length = u128::from(access.size) * u128::from(access.count);
    hold(
        u128::from(access.bytes()) == length,
        "all bytes of an access",
    )
}

fn rules(bytes: &[u8]) -> Result<(), Broken> {
    let rule: KvmIoregionRule = read(bytes, 32)?;
    hold(rule.offset == half(bytes, 0), "offset is at 0")?;
    hold(rule.target == half(bytes, 16), "target is at 16")?;
    hold(rule.fd as u32 == half(bytes, 20), "fd is at 20")?;
    hold(rule.datamatch == word(bytes, 24), "datamatch is at 24")?;
    let rules: KvmIoregionRules = read(bytes, 64)?;
    hold(rules.registers == word(bytes, 16), "registers is at 16")?;
    hold(rules.rules == word(bytes, 24), "rules is at 24")?;
    hold(rules.nr_rules == half(bytes, 32), "nr_rules is at 32")
}

/// The structure at the start of `bytes`, which must have this size and no hidden bytes.
fn read<T: FromBytes + IntoBytes + Immutable>(bytes: &[u8], size: usize) -> Result<T, Broken> {
    hold(size_of::<T>() == size, "a structure has its size")?;
    let Ok((value, _)) = T::read_from_prefix(bytes) else {
        return Err(Broken("every bytes are a structure"));
    };
    hold(
        value.as_bytes() == &bytes[..size],
        "a structure keeps all of its bytes",
    )?;
    Ok(value)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    (0..8).rfold(0, |word, byte| word << 8 | u64::from(bytes[at + byte]))
}

fn half(bytes: &[u8], at: usize) -> u32 {
    word(bytes, at) as u32
}
