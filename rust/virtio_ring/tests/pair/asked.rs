// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Who has to be told of what.

/// What one side asks the other one to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Nothing,
    Everything,
    /// The event after so many others, and no further one.
    After(usize),
    /// A position in a packed ring that has been passed, and comes again after two rounds.
    Perhaps,
}

impl Asked {
    /// What is left of asking for one event.
    pub(crate) fn passed(is_packed: bool) -> Self {
        match is_packed {
            true => Self::Perhaps,
            false => Self::Nothing,
        }
    }

    /// Checks whether it is told rightly of so many events.
    pub(crate) fn check(&mut self, events: usize, is_told: bool, is_packed: bool) {
        match *self {
            Self::Nothing => assert!(!is_told, "told, unasked"),
            Self::Everything => assert!(is_told, "not told"),
            Self::After(others) if events > others => {
                assert!(is_told, "not told of what was asked for");
                *self = Self::passed(is_packed);
            }
            Self::After(others) => {
                // Buffers of several descriptors may pass a position earlier.
                assert!(is_packed || !is_told, "told too early");
                *self = match is_told {
                    true => Self::Perhaps,
                    false => Self::After(others - events),
                };
            }
            Self::Perhaps => {}
        }
    }
}
