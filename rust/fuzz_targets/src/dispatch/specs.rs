// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Any argument of `KVM_SET_IOREGION`, and of `KVM_SET_IOREGION_RULES`.

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
use ioregion_wire::uapi::{
    KvmIoregion,
    KvmIoregionRules, //
};

/// Addresses end here, exclusive: the last byte of the highest one is not a region's.
const MMIO_END: u128 = u64::MAX as u128;
const PIO_END: u128 = 1 << 16;

/// Parses arguments.
///
/// # Errors
///
/// The promise that does not hold.
pub fn run(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    while !input.is_empty() {
        let arg = argument(input);
        let parsed = Spec::parse(&arg);
        hold(
            parsed.err() == verdict(&arg),
            "the first error is the one told",
        )?;
        see(parsed.err(), seen);
        if let Ok(spec) = parsed {
            is_what_was_asked_for(&arg, &spec)?;
        }
        rules_of(&arg, seen)?;
    }
    Ok(())
}

/// Rules for the same region.
fn rules_of(region: &KvmIoregion, seen: &mut Digest) -> Result<(), Broken> {
    let arg = KvmIoregionRules {
        guest_paddr: region.guest_paddr,
        memory_size: region.memory_size,
        flags: region.flags,
        pad: region.pad,
        ..KvmIoregionRules::default()
    };
    let parsed = Spec::ruled(&arg);
    let wanted = if arg.flags > 1 {
        Some(BadSpec::Flags(arg.flags & !1))
    } else {
        let region = KvmIoregion {
            flags: arg.flags,
            ..*region
        };
        match verdict(&region) {
            Some(BadSpec::DoorbellNotPosted) => Some(BadSpec::DoorbellWithRules),
            other => other,
        }
    };
    hold(parsed.err() == wanted, "rules are for a region with bytes")?;
    see(parsed.err(), seen);
    if let Ok((bus, range)) = parsed {
        hold((bus == Bus::Pio) == (arg.flags & 1 != 0), "its bus")?;
        hold(range.start() == arg.guest_paddr, "its address")?;
        hold(range.len() == arg.memory_size, "its size")?;
    }
    Ok(())
}

fn see(bad: Option<BadSpec>, seen: &mut Digest) {
    match bad {
        None => seen.see(0),
        Some(BadSpec::Flags(flags)) => seen.see(1 << 32 | u64::from(flags)),
        Some(BadSpec::Padding) => seen.see(2),
        Some(BadSpec::Range { start, len }) => {
            seen.see(start);
            seen.see(len);
        }
        Some(BadSpec::DoorbellNotPosted) => seen.see(4),
        Some(BadSpec::DoorbellWithRules) => seen.see(5),
    }
}

/// An argument that is a region's now and then.
fn argument(input: &mut Input<'_>) -> KvmIoregion {
    let kind = input.u8();
    let mut arg = KvmIoregion {
        guest_paddr: input.edgy(),
        memory_size: input.edgy(),
        timeout_ms: input.edgy() as u32,
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
    hold(spec.timeout_ms == arg.timeout_ms, "its time-out")?;
    hold(spec.channel == (arg.flags & 8 != 0), "channel")
}
