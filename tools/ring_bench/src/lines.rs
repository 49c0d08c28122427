// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Who has which cache line: a model of two CPUs with coherent caches that never run full.
//!
//! A line is held by nobody, by one CPU, which may write to it, or by both, which may read it. An
//! access that changes that is a transfer: a miss, or taking a line away from the other CPU.

use std::collections::HashMap;

/// Bytes of a cache line.
const LINE: u64 = 64;

/// A side of the ring, and its CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Agent {
    #[default]
    Driver,
    Device,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    One(Agent),
    Both,
}

/// The lines that have been accessed.
#[derive(Default)]
pub(crate) struct Lines(HashMap<u64, Holder>);

impl Lines {
    /// `agent` reads, or writes, `bytes` bytes from `address` on: how many transfers that takes.
    pub(crate) fn access(&mut self, agent: Agent, is_write: bool, address: u64, bytes: u64) -> u64 {
        let lines = address / LINE..=(address + bytes - 1) / LINE;
        let transfers = lines.map(|line| u64::from(self.moves(agent, is_write, line)));
        transfers.sum()
    }

    /// Accesses one line. Whether it is transferred.
    fn moves(&mut self, agent: Agent, is_write: bool, line: u64) -> bool {
        let before = self.0.get(&line).copied();
        let after = match before {
            Some(Holder::Both) if !is_write => Holder::Both,
            Some(Holder::One(other)) if !is_write && other != agent => Holder::Both,
            _ => Holder::One(agent),
        };
        self.0.insert(line, after);
        before != Some(after)
    }
}

#[cfg(test)]
mod tests {
    use super::Agent::{Device, Driver};
    use super::*;

    /// Transfers of each access: agent, whether it writes, address.
    fn transfers(accesses: &[(Agent, bool, u64)]) -> Vec<u64> {
        let mut lines = Lines::default();
        let access = |&(agent, is_write, at): &_| lines.access(agent, is_write, at, 8);
        accesses.iter().map(access).collect()
    }

    #[test]
    fn the_first_access_is_a_miss_and_the_next_ones_are_not() {
        let read = (Driver, false, 0);
        let write = (Driver, true, 56);
        assert_eq!(
            transfers(&[read, read, write, write, read]),
            [1, 0, 0, 0, 0]
        );
        assert_eq!(transfers(&[write, read]), [1, 0]);
    }

    #[test]
    fn a_line_that_is_handed_over_costs_a_transfer_each_way() {
        let turn = [(Driver, true, 0), (Device, false, 0), (Device, true, 0)];
        assert_eq!(transfers(&[turn, turn].concat()), [1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn both_may_read() {
        let reads = [(Driver, false, 0), (Device, false, 0)];
        assert_eq!(transfers(&[reads, reads].concat()), [1, 1, 0, 0]);
        let write = [(Driver, true, 0)];
        assert_eq!(
            transfers(&[&reads[..], &write, &write].concat()),
            [1, 1, 1, 0]
        );
    }

    #[test]
    fn an_access_across_a_boundary_is_one_of_each_line() {
        let mut lines = Lines::default();
        assert_eq!(lines.access(Driver, true, 60, 8), 2);
        assert_eq!(lines.access(Device, false, 64, 1), 1);
        assert_eq!(lines.access(Driver, true, 0, 64), 0);
        assert_eq!(lines.access(Driver, true, 64, 64), 1);
    }
}
