// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Replies as a device's socket yields them.

use crate::{
    input::Input,
    outcome::{
        hold,
        Broken,
        Digest, //
    },
};
use ioregion_dispatch::reassembly::{
    BadLength,
    Boundaries,
    Reassembly, //
};
use ioregion_wire::frame::FRAME_SIZE;

/// Cuts a stream, or sends messages of any length.
///
/// # Errors
///
/// The promise that does not hold.
pub fn run(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    match input.u8() & 1 {
        0 => stream(input, seen),
        _ => messages(input, seen),
    }
}

/// Byte n of the stream is n, modulo 251 so that no two frames are alike.
fn stream(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    let mut reassembly = Reassembly::new(Boundaries::Lost);
    let mut received = 0;
    while !input.is_empty() {
        let space = reassembly.space();
        hold(!space.is_empty(), "a read has somewhere to go")?;
        let cut = usize::from(input.u8()).min(space.len());
        for (place, number) in space.iter_mut().zip(received..received + cut) {
            *place = byte(number);
        }
        received += cut;
        let is_whole = cut > 0 && received % FRAME_SIZE == 0;
        let Ok(frame) = reassembly.received(cut) else {
            return Err(Broken("a stream has no bad lengths"));
        };
        hold(
            frame.is_some() == is_whole,
            "a frame is there with its last byte",
        )?;
        if let Some(frame) = frame {
            let first = received - FRAME_SIZE;
            let is_next = (first..)
                .zip(frame)
                .all(|(number, got)| got == byte(number));
            hold(is_next, "frames are the stream")?;
        }
        seen.see_option(frame.map(|frame| frame[0].into()));
    }
    Ok(())
}

fn byte(number: usize) -> u8 {
    (number % 251) as u8
}

fn messages(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    while !input.is_empty() {
        // As in the kernel: after a bad message there is no next one.
        let mut reassembly = Reassembly::new(Boundaries::Kept);
        let space = reassembly.space();
        hold(space.len() > FRAME_SIZE, "a message that is too long shows")?;
        let (length, first) = (usize::from(input.u8()).min(space.len()), input.u8());
        space.fill(first);
        let received = reassembly.received(length);
        let wanted = match length {
            FRAME_SIZE => Ok(Some([first; FRAME_SIZE])),
            _ => Err(BadLength(length)),
        };
        hold(
            received == wanted,
            "a message is a frame if it has its length",
        )?;
        seen.see(length as u64);
    }
    Ok(())
}
