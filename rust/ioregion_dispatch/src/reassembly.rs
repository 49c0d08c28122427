// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Whole frames out of partial reads.

use ioregion_wire::frame::FRAME_SIZE;

/// A read of a peer that keeps message boundaries asks for one byte more than a frame, so that a
/// message that is too long shows.
const BUFFER_SIZE: usize = FRAME_SIZE + 1;

/// What a file does with message boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundaries {
    /// A stream socket or a pipe: a read may yield part of a frame.
    Lost,
    /// A sequenced-packet or datagram socket: a read yields one message.
    Kept,
}

/// A message that is not a frame, by its length; a longer one counts as one byte too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLength(pub usize);

/// The frame that is being received.
#[derive(Debug)]
pub struct Reassembly {
    boundaries: Boundaries,
    buffer: [u8; BUFFER_SIZE],
    filled: usize,
}

impl Reassembly {
    /// An empty buffer.
    pub const fn new(boundaries: Boundaries) -> Self {
        Self {
            boundaries,
            buffer: [0; BUFFER_SIZE],
            filled: 0,
        }
    }

    /// Where the next read stores its bytes.
    pub fn space(&mut self) -> &mut [u8] {
        let end = match self.boundaries {
            Boundaries::Lost => FRAME_SIZE,
            Boundaries::Kept => BUFFER_SIZE,
        };
        &mut self.buffer[self.filled..end]
    }

    /// Takes note of `n` bytes read into [`Self::space`]. Yields the frame that they complete.
    ///
    /// # Errors
    ///
    /// [`BadLength`] for a message that is not a frame.
    pub fn received(&mut self, n: usize) -> Result<Option<[u8; FRAME_SIZE]>, BadLength> {
        self.filled = usize::min(self.filled.saturating_add(n), BUFFER_SIZE);
        if self.boundaries == Boundaries::Kept && self.filled != FRAME_SIZE {
            return Err(BadLength(self.filled));
        }
        if self.filled < FRAME_SIZE {
            return Ok(None);
        }
        self.filled = 0;
        let mut frame = [0; FRAME_SIZE];
        frame.copy_from_slice(&self.buffer[..FRAME_SIZE]);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_of_another_length_is_refused() {
        for n in [1, 31, 33] {
            let mut kept = Reassembly::new(Boundaries::Kept);
            assert_eq!(kept.space().len(), 33);
            assert_eq!(kept.received(n), Err(BadLength(n)));
        }
    }

    proptest! {
        #[test]
        fn a_stream_yields_its_frames_however_it_is_cut(
            frames in prop::collection::vec(any::<[u8; FRAME_SIZE]>(), 1..5),
            cuts in prop::collection::vec(1usize..40, 1..200),
        ) {
            let stream: Vec<u8> = frames.concat();
            let mut rest = &stream[..];
            let mut lost = Reassembly::new(Boundaries::Lost);
            let mut got = Vec::new();
            for cut in cuts.into_iter().cycle() {
                let space = lost.space();
                let n = cut.min(space.len()).min(rest.len());
                space[..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
                got.extend(lost.received(n).unwrap());
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(got, frames);
        }
    }
}
