// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A frame that knows which one it is and when it was sent.
//!
//! ```text
//! 0   destination, source, EtherType   Ethernet II
//! 14  MAGIC                            4 bytes
//! 18  run                              4 bytes; big-endian, as all of these
//! 22  sequence                         8 bytes
//! 30  sent                             8 bytes, nanoseconds
//! 38  the low byte of sequence + offset, for each byte to the end
//! ```

use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, IntoBytes};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// IEEE 802's local experimental EtherType 1.
pub const ETHERTYPE: u16 = 0x88b5;

const MAGIC: u32 = 0x5348_4e54;

/// Bytes of a frame without its pattern: none is shorter. Without the frame check sequence.
pub const SHORTEST: usize = size_of::<Header>();

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    destination: [u8; 6],
    source: [u8; 6],
    ethertype: U16,
    magic: U32,
    run: U32,
    sequence: U64,
    sent: U64,
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which run it belongs to; frames of an earlier one may still come.
    pub run: u32,
    /// Which of the run's frames it is.
    pub sequence: u64,
    /// When it was sent, in nanoseconds of the sender's clock.
    pub sent: u64,
}

/// What a received frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// One of ours, whole.
    Whole(Stamp),
    /// One of ours with other bytes than it was sent with.
    Damaged,
    /// Somebody else's.
    Foreign,
}

/// Fills `frame`, of [`SHORTEST`] bytes at least.
pub fn write(frame: &mut [u8], destination: [u8; 6], source: [u8; 6], stamp: Stamp) {
    let header = Header {
        destination,
        source,
        ethertype: ETHERTYPE.into(),
        magic: MAGIC.into(),
        run: stamp.run.into(),
        sequence: stamp.sequence.into(),
        sent: stamp.sent.into(),
    };
    let (head, rest) = frame.split_at_mut(SHORTEST);
    head.copy_from_slice(header.as_bytes());
    for (offset, byte) in rest.iter_mut().enumerate() {
        *byte = pattern(stamp.sequence, offset);
    }
}

/// Reads a frame of which all that were sent have `length` bytes.
#[must_use]
pub fn read(frame: &[u8], length: usize) -> Received {
    let Ok((header, rest)) = Header::ref_from_prefix(frame) else {
        return Received::Foreign;
    };
    if header.ethertype != ETHERTYPE || header.magic != MAGIC {
        return Received::Foreign;
    }
    let sequence = header.sequence.get();
    let mut bytes = rest.iter().enumerate();
    let is_right = bytes.all(|(offset, &byte)| byte == pattern(sequence, offset));
    if frame.len() != length || !is_right {
        return Received::Damaged;
    }
    Received::Whole(Stamp {
        run: header.run.get(),
        sequence,
        sent: header.sent.get(),
    })
}

fn pattern(sequence: u64, offset: usize) -> u8 {
    (sequence as usize).wrapping_add(offset) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THERE: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn stamp() -> impl Strategy<Value = Stamp> {
        (any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(run, sequence, sent)| Stamp {
            run,
            sequence,
            sent,
        })
    }

    proptest! {
        #[test]
        fn a_frame_says_what_it_was_told(stamp in stamp(), length in SHORTEST..2000) {
            let mut frame = vec![0; length];
            write(&mut frame, THERE, HERE, stamp);
            prop_assert_eq!(read(&frame, length), Received::Whole(stamp));
        }

        #[test]
        fn a_changed_byte_of_the_pattern_is_seen(
            stamp in stamp(),
            place in SHORTEST..1000usize,
            change in 1..=255u8,
        ) {
            let mut frame = vec![0; 1000];
            write(&mut frame, THERE, HERE, stamp);
            frame[place] ^= change;
            prop_assert_eq!(read(&frame, 1000), Received::Damaged);
        }
    }

    #[test]
    fn a_cut_frame_is_damaged_and_anything_else_is_foreign() {
        let mut frame = [0; 60];
        let stamp = Stamp {
            run: 1,
            sequence: 2,
            sent: 3,
        };
        write(&mut frame, THERE, HERE, stamp);
        assert_eq!(read(&frame[..59], 60), Received::Damaged);
        assert_eq!(read(&frame[..SHORTEST - 1], 60), Received::Foreign);
        frame[12] ^= 1;
        assert_eq!(read(&frame, 60), Received::Foreign);
    }
}
