// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The protocol between KVM and a device process.
//!
//! KVM writes a [`Command`]; when the command asks for it, the device writes one [`Reply`].
//! Replies come in the order of their commands; nothing else relates the two. Numbers are in
//! host byte order. On the wire (`struct ioregionfd_cmd`, `struct ioregionfd_resp`):
//!
//! ```text
//! command   0      1                2       8          16      24
//!           | cmd  | size, resp     | zero  | user_data | offset | data |   32 bytes
//!                    bits 0-3: log2 of the size; bit 4: a reply is expected
//! reply     0      8
//!           | data | ignored |                                              32 bytes
//! ```

/// Bytes of a command, and of a reply.
pub const FRAME_SIZE: usize = 32;

const CMD_READ: u8 = 0;
const CMD_WRITE: u8 = 1;
const SIZE_EXPONENT: u8 = 0x0f;
const RESP: u8 = 1 << 4;

/// Width of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Width {
    /// 1 byte, `IOREGIONFD_SIZE_8BIT`.
    Byte = 0,
    /// 2 bytes, `IOREGIONFD_SIZE_16BIT`.
    Word = 1,
    /// 4 bytes, `IOREGIONFD_SIZE_32BIT`.
    Long = 2,
    /// 8 bytes, `IOREGIONFD_SIZE_64BIT`.
    Quad = 3,
}

impl Width {
    /// The width of `bytes` bytes, if there is one.
    #[inline]
    pub const fn from_bytes(bytes: usize) -> Option<Self> {
        match bytes {
            1 => Some(Self::Byte),
            2 => Some(Self::Word),
            4 => Some(Self::Long),
            8 => Some(Self::Quad),
            _ => None,
        }
    }

    /// The width with this logarithm, if there is one.
    pub const fn from_exponent(exponent: u8) -> Option<Self> {
        match exponent {
            0 => Some(Self::Byte),
            1 => Some(Self::Word),
            2 => Some(Self::Long),
            3 => Some(Self::Quad),
            _ => None,
        }
    }

    /// How many bytes it has.
    #[inline]
    pub const fn bytes(self) -> usize {
        1 << (self as u8)
    }

    /// The bits of `value` that an access of this width carries.
    #[inline]
    pub const fn mask(self, value: u64) -> u64 {
        value & (u64::MAX >> (64 - 8 * self.bytes() as u32))
    }
}

/// What a command asks of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reply with the value at the offset.
    Read,
    /// Store this value, zero-extended from the width.
    Write(u64),
}

/// One access on its way to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// Read, or write of a value.
    pub operation: Operation,
    /// How wide the access is.
    pub width: Width,
    /// The device answers with a [`Reply`]. True for every read.
    pub expects_reply: bool,
    /// `user_data` of the region.
    pub user_data: u64,
    /// Offset of the access from the start of the region.
    pub offset: u64,
}

/// Why a command frame is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCommand {
    /// `cmd` is neither read nor write.
    Operation(u8),
    /// `size_exponent` is greater than 3.
    SizeExponent(u8),
    /// A read that expects no reply.
    ReadWithoutReply,
}

impl Command {
    /// The frame of this command.
    #[inline]
    pub fn encode(&self) -> [u8; FRAME_SIZE] {
        let (cmd, data) = match self.operation {
            Operation::Read => (CMD_READ, 0),
            Operation::Write(data) => (CMD_WRITE, self.width.mask(data)),
        };
        let mut frame = [0; FRAME_SIZE];
        frame[0] = cmd;
        frame[1] = self.width as u8 | if self.expects_reply { RESP } else { 0 };
        put_u64(&mut frame, 8, self.user_data);
        put_u64(&mut frame, 16, self.offset);
        put_u64(&mut frame, 24, data);
        frame
    }

    /// Reads a command frame. Bits that no version defines are ignored.
    ///
    /// # Errors
    ///
    /// [`BadCommand`] says which field is wrong and what it held.
    pub fn decode(frame: &[u8; FRAME_SIZE]) -> Result<Self, BadCommand> {
        let exponent = frame[1] & SIZE_EXPONENT;
        let width = Width::from_exponent(exponent).ok_or(BadCommand::SizeExponent(exponent))?;
        let expects_reply = frame[1] & RESP != 0;
        let operation = match frame[0] {
            CMD_READ if !expects_reply => return Err(BadCommand::ReadWithoutReply),
            CMD_READ => Operation::Read,
            CMD_WRITE => Operation::Write(width.mask(get_u64(frame, 24))),
            other => return Err(BadCommand::Operation(other)),
        };
        Ok(Self {
            operation,
            width,
            expects_reply,
            user_data: get_u64(frame, 8),
            offset: get_u64(frame, 16),
        })
    }
}

/// The device's answer to a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The value read; ignored after a write.
    pub data: u64,
}

impl Reply {
    /// The frame of this reply.
    #[inline]
    pub fn encode(&self) -> [u8; FRAME_SIZE] {
        let mut frame = [0; FRAME_SIZE];
        put_u64(&mut frame, 0, self.data);
        frame
    }

    /// Reads a reply frame; every frame is one.
    #[inline]
    pub fn decode(frame: &[u8; FRAME_SIZE]) -> Self {
        Self {
            data: get_u64(frame, 0),
        }
    }
}

#[inline]
fn put_u64(frame: &mut [u8; FRAME_SIZE], at: usize, value: u64) {
    frame[at..at + 8].copy_from_slice(&value.to_ne_bytes());
}

#[inline]
fn get_u64(frame: &[u8; FRAME_SIZE], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&frame[at..at + 8]);
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_width() -> impl Strategy<Value = Width> {
        prop_oneof![
            Just(Width::Byte),
            Just(Width::Word),
            Just(Width::Long),
            Just(Width::Quad),
        ]
    }

    fn any_command() -> impl Strategy<Value = Command> {
        let operation = prop_oneof![
            Just(Operation::Read),
            any::<u64>().prop_map(Operation::Write),
        ];
        (operation, any_width(), any::<(bool, u64, u64)>()).prop_map(
            |(operation, width, (reply, user_data, offset))| Command {
                operation: match operation {
                    Operation::Write(data) => Operation::Write(width.mask(data)),
                    read => read,
                },
                width,
                expects_reply: reply || operation == Operation::Read,
                user_data,
                offset,
            },
        )
    }

    proptest! {
        #[test]
        fn command_survives_the_wire(command in any_command()) {
            prop_assert_eq!(Command::decode(&command.encode()), Ok(command));
        }

        #[test]
        fn decode_never_yields_more_than_the_width(frame in any::<[u8; FRAME_SIZE]>()) {
            if let Ok(Command { operation: Operation::Write(data), width, .. }) =
                Command::decode(&frame)
            {
                prop_assert_eq!(data, width.mask(data));
            }
        }

        #[test]
        fn reply_survives_the_wire(data in any::<u64>()) {
            prop_assert_eq!(Reply::decode(&Reply { data }.encode()).data, data);
        }
    }

    #[test]
    fn write_frame_is_the_documented_bytes() {
        let command = Command {
            operation: Operation::Write(0xffff_ffff_ffff_1234),
            width: Width::Word,
            expects_reply: true,
            user_data: 7,
            offset: 0x50,
        };
        let mut want = [0; FRAME_SIZE];
        want[0] = 1;
        want[1] = 0x11;
        want[8] = 7;
        want[16] = 0x50;
        want[24..26].copy_from_slice(&0x1234u16.to_ne_bytes());
        assert_eq!(command.encode(), want);
    }

    #[test]
    fn bad_commands_are_named() {
        let mut frame = [0; FRAME_SIZE];
        assert_eq!(Command::decode(&frame), Err(BadCommand::ReadWithoutReply));
        frame[0] = 9;
        assert_eq!(Command::decode(&frame), Err(BadCommand::Operation(9)));
        frame[1] = 4;
        assert_eq!(Command::decode(&frame), Err(BadCommand::SizeExponent(4)));
    }

    #[test]
    fn mask_keeps_exactly_the_width() {
        for (width, mask) in [
            (Width::Byte, 0xff),
            (Width::Word, 0xffff),
            (Width::Long, 0xffff_ffff),
            (Width::Quad, u64::MAX),
        ] {
            assert_eq!(width.mask(u64::MAX), mask);
            assert_eq!(Width::from_bytes(width.bytes()), Some(width));
        }
    }
}
