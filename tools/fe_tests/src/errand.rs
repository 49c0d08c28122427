// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What L1 sends the lab to do while a test runs. It says so in a line of its output.

use std::fmt;

/// What a line begins with; to KTAP it is a comment.
const MARK: &str = "# errand ";

/// What is to be done to a device of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand<'a> {
    /// QEMU takes it from its slot.
    Take(&'a str),
    /// QEMU puts it back.
    Give(&'a str),
    /// The process that serves it is killed, and another one started.
    Restart(&'a str),
}

impl fmt::Display for Errand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Take(name) => write!(f, "{MARK}take {name}"),
            Self::Give(name) => write!(f, "{MARK}give {name}"),
            Self::Restart(name) => write!(f, "{MARK}restart {name}"),
        }
    }
}

impl<'a> Errand<'a> {
    /// The errand in this line, if there is one.
    pub fn parse(line: &'a str) -> Option<Self> {
        match line.strip_prefix(MARK)?.split_once(' ')? {
            ("take", name) => Some(Self::Take(name)),
            ("give", name) => Some(Self::Give(name)),
            ("restart", name) => Some(Self::Restart(name)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errand_is_heard_as_it_was_said() {
        for errand in [
            Errand::Take("a-1"),
            Errand::Give("b"),
            Errand::Restart("c_d"),
        ] {
            assert_eq!(Errand::parse(&errand.to_string()), Some(errand));
        }
    }

    #[test]
    fn other_lines_are_no_errands() {
        for line in ["ok 1 load", "# errand", "# errand open a", "# take a"] {
            assert_eq!(Errand::parse(line), None);
        }
    }
}
