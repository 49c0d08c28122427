// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Broken promises, and digests of what was seen.

use ioregion_wire::frame::{
    Command,
    Operation, //
};

/// A promise that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// Passes if the promise holds.
///
/// # Errors
///
/// [`Broken`] names it.
pub fn hold(holds: bool, promise: &'static str) -> Result<(), Broken> {
    match holds {
        true => Ok(()),
        false => Err(Broken(promise)),
    }
}

/// What was seen, as a number: 64-bit FNV-1a over words, lowest byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// The number.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Adds a word.
    pub fn see(&mut self, word: u64) {
        for byte in word.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// Adds a word that may be absent.
    pub fn see_option(&mut self, word: Option<u64>) {
        self.see(word.is_some().into());
        self.see(word.unwrap_or_default());
    }

    /// Adds all of a command.
    pub fn see_command(&mut self, command: &Command) {
        self.see_option(match command.operation {
            Operation::Read => None,
            Operation::Write(data) => Some(data),
        });
        self.see(command.width.bytes() as u64);
        self.see(command.expects_reply.into());
        self.see(command.user_data);
        self.see(command.offset);
    }
}
