// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Any argument of `KVM_SET_IOREGION`.

use crate::{
    input::Input,
    outcome::{
        hold,
        Broken,
        Digest, //
    },
};
use ioregion_dispatch::spec::{
    BadSpec,
    Bus,
    Spec, //
};
use ioregion_wire::uapi::KvmIoregion;

/// Addresses end here, exclusive: the last byte of the highest one is not a region's.
const MMIO_END: u128 = u64::MAX as u128;
const PIO_END: u128 = 1 << 16;

/// Parses one argument.
///
/// # Errors
///
/// The promise that does not hold.
pub fn run(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    while !input.is_empty() {
        let arg = argument(input);
        let parsed = Spec::parse(&arg);
        let wanted = verdict(&arg);
        hold(parsed.err() == wanted, "the first error is the one told")?;
        match parsed {
            Ok(spec) => {
                is_what_was_asked_for(&arg, &spec)?;
                seen.see(0);
            }
            Err(BadSpec::Flags(flags)) => seen.see(1 << 32 | u64::from(flags)),
            Err(BadSpec::Padding) => seen.see(2),
            Err(BadSpec::Range { start, len }) => {
                seen.see(start);
                seen.see(len);
            }
            Err(BadSpec::DoorbellNotPosted) => seen.see(4),
        }
    }
    Ok(())
}

/// An argument that is a region's now and then.
fn argument(input: &mut Input<'_>) -> KvmIoregion {
    let kind = input.u8();
    let mut arg = KvmIoregion {
        guest_paddr: input.edgy(),
        memory_size: input.edgy(),
        user_data: input.edgy(),
        flags: u32::from(kind & 0xf),
        ..KvmIoregion::default()
    };
    if kind & 0x40 != 0 {
        arg.flags |= 1 << input.below(32);
    }
    if kind & 0x80 != 0 {
        arg.pad[input.below(24)] = input.u8();
    }
    arg
}

/// What is wrong with an argument, by the comments in the header.
fn verdict(arg: &KvmIoregion) -> Option<BadSpec> {
    let (is_pio, is_posted, is_deassign) =
        (arg.flags & 1 != 0, arg.flags & 2 != 0, arg.flags & 4 != 0);
    if arg.flags >= 16 {
        return Some(BadSpec::Flags(arg.flags / 16 * 16));
    }
    if arg.pad.iter().any(|&byte| byte != 0) {
        return Some(BadSpec::Padding);
    }
    let (start, len) = (u128::from(arg.guest_paddr), u128::from(arg.memory_size));
    let is_outside = match is_pio {
        true => start >= PIO_END || start + len > PIO_END,
        false => start + len > MMIO_END,
    };
    if is_outside {
        return Some(BadSpec::Range {
            start: arg.guest_paddr,
            len: arg.memory_size,
        });
    }
    (len == 0 && !is_posted && !is_deassign).then_some(BadSpec::DoorbellNotPosted)
}

fn is_what_was_asked_for(arg: &KvmIoregion, spec: &Spec) -> Result<(), Broken> {
    hold(
        spec.range.start() == arg.guest_paddr,
        "the region's address",
    )?;
    hold(spec.range.len() == arg.memory_size, "the region's size")?;
    hold((spec.bus == Bus::Pio) == (arg.flags & 1 != 0), "its bus")?;
    hold(spec.posted_writes == (arg.flags & 2 != 0), "posted writes")?;
    hold(spec.deassign == (arg.flags & 4 != 0), "deassign")?;
    hold(spec.channel == (arg.flags & 8 != 0), "channel")
}
