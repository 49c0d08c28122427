// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! An access of any length at any address.

use crate::{
    input::Input,
    outcome::{
        hold,
        Broken,
        Digest, //
    },
};
use ioregion_dispatch::pieces;

/// Most bytes of an access of KVM's.
const LONGEST: usize = 8;
/// Where KVM cuts an access that crosses into the next one.
const PAGE: u64 = 4096;

/// Takes accesses to pieces.
///
/// # Errors
///
/// The promise that does not hold.
pub fn run(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    while !input.is_empty() {
        let (addr, len) = (input.edgy(), usize::from(input.u8()));
        let has_pieces = pieces::first(addr, len).is_some();
        hold(
            has_pieces == (1..=LONGEST).contains(&len),
            "an access of 1 to 8 bytes has pieces",
        )?;
        if has_pieces && addr.checked_add(len as u64).is_some() {
            take_apart(addr, len, seen)?;
        }
    }
    Ok(())
}

fn take_apart(addr: u64, len: usize, seen: &mut Digest) -> Result<(), Broken> {
    let at_page = addr % PAGE == 0 || (addr + len as u64) % PAGE == 0;
    let mut done = 0;
    while let Some(width) = pieces::first(addr + done as u64, len - done) {
        let bytes = width.bytes();
        hold(bytes <= len - done, "a piece is no more than the rest")?;
        hold(
            !len.is_power_of_two() || bytes == len,
            "a power of two stays whole",
        )?;
        hold(
            len.is_power_of_two() || !at_page || (addr + done as u64) & (bytes as u64 - 1) == 0,
            "the pieces of an access that ends at a page are aligned",
        )?;
        seen.see(bytes as u64);
        done += bytes;
    }
    hold(done == len, "the pieces are the access")
}
