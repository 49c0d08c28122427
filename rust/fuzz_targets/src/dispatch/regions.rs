// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Regions that come and go, and accesses to them, beside an unsorted list.

use crate::{
    input::Input,
    outcome::{
        hold,
        Broken,
        Digest, //
    },
};
use ioregion_dispatch::{
    regions::{
        find,
        insert_position,
        position,
        Ranged, //
    },
    spec::Range,
};

/// Most regions at a time.
const MAX: usize = 12;

#[derive(Clone, Copy)]
struct Region {
    range: Range,
    /// Tells it from all others.
    number: u64,
}

impl Ranged for Region {
    fn range(&self) -> &Range {
        &self.range
    }
}

/// The regions twice: sorted, by what is under test, and in the order in which they came.
struct Regions {
    sorted: [Region; MAX],
    listed: [Region; MAX],
    count: usize,
    numbers: u64,
}

/// Adds and removes regions and looks accesses up.
///
/// # Errors
///
/// The promise that does not hold.
pub fn run(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    let nothing = Region {
        range: Range::new(0, 0).ok_or(Broken("an empty range is one"))?,
        number: 0,
    };
    let mut regions = Regions {
        sorted: [nothing; MAX],
        listed: [nothing; MAX],
        count: 0,
        numbers: 0,
    };
    while !input.is_empty() {
        let (kind, start, len) = (input.u8(), input.edgy(), input.edgy());
        let made = Range::new(start, len);
        hold(
            made.is_some() == start.checked_add(len).is_some(),
            "only a range that wraps is none",
        )?;
        match (kind % 8, made) {
            (0..=2, Some(range)) => regions.add(range, seen)?,
            (3, Some(range)) => regions.remove(&range, seen)?,
            (_, _) => regions.look_up(start, len % 9, kind & 8 != 0, seen)?,
        }
        regions.are_in_order()?;
    }
    Ok(())
}

impl Regions {
    fn sorted(&self) -> &[Region] {
        &self.sorted[..self.count]
    }

    fn listed(&self) -> &[Region] {
        &self.listed[..self.count]
    }

    fn add(&mut self, range: Range, seen: &mut Digest) -> Result<(), Broken> {
        let at = insert_position(self.sorted(), &range);
        let is_clear = self
            .listed()
            .iter()
            .all(|other| !overlap(&other.range, &range));
        hold(
            at.is_some() == is_clear,
            "a range is refused if it overlaps one",
        )?;
        seen.see_option(at.map(|at| at as u64));
        let Some(at) = at.filter(|_| self.count < MAX) else {
            return Ok(());
        };
        self.numbers += 1;
        let region = Region {
            range,
            number: self.numbers,
        };
        hold(at <= self.count, "a position is in the slice or at its end")?;
        self.sorted.copy_within(at..self.count.min(MAX - 1), at + 1);
        self.sorted[at] = region;
        self.listed[self.count] = region;
        self.count += 1;
        Ok(())
    }

    fn remove(&mut self, range: &Range, seen: &mut Digest) -> Result<(), Broken> {
        let at = position(self.sorted(), range);
        let listed = self.listed().iter().position(|other| other.range == *range);
        hold(
            at.is_some() == listed.is_some(),
            "a region is found by its range",
        )?;
        seen.see_option(at.map(|at| at as u64));
        let (Some(at), Some(listed)) = (at, listed) else {
            return Ok(());
        };
        hold(
            self.sorted[at].number == self.listed[listed].number,
            "the region of a range is the one that was added",
        )?;
        self.sorted.copy_within(at + 1..self.count, at);
        self.listed.copy_within(listed + 1..self.count, listed);
        self.count -= 1;
        Ok(())
    }

    fn look_up(
        &self,
        addr: u64,
        len: u64,
        is_write: bool,
        seen: &mut Digest,
    ) -> Result<(), Broken> {
        let found = find(self.sorted(), addr, len, is_write).map(|region| region.number);
        let mut owners = self
            .listed()
            .iter()
            .filter(|region| takes(&region.range, addr, len, is_write));
        let wanted = owners.next().map(|region| region.number);
        // An access of no bytes is in a region wherever it touches one; KVM makes none.
        hold(found == wanted || len == 0, "an access finds its region")?;
        hold(
            owners.next().is_none() || len == 0,
            "an access has one region",
        )?;
        seen.see_option(found);
        Ok(())
    }

    fn are_in_order(&self) -> Result<(), Broken> {
        let starts = self
            .sorted()
            .windows(2)
            .all(|pair| pair[0].range.start() < pair[1].range.start());
        hold(starts, "regions are sorted by their addresses")
    }
}

/// The addresses that a range keeps for itself: those in it, or that of the doorbell.
fn kept(range: &Range) -> core::ops::Range<u128> {
    let start = u128::from(range.start());
    start..start + u128::from(range.len()).max(1)
}

fn overlap(one: &Range, other: &Range) -> bool {
    let (one, other) = (kept(one), kept(other));
    one.start < other.end && other.start < one.end
}

fn takes(range: &Range, addr: u64, len: u64, is_write: bool) -> bool {
    let (addr, kept) = (u128::from(addr), kept(range));
    match range.len() {
        0 => is_write && addr == kept.start,
        _ => kept.start <= addr && addr + u128::from(len) <= kept.end,
    }
}
