// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Many threads read and write at once.

use std::thread;

use anyhow::{Context, Result};
use fe_tests::content::{LAST, WRITTEN};
use fe_tests::plan::{self, Kind};

use super::open;
use crate::disk::Disk;

const THREADS: u64 = 8;
const ROUNDS: u64 = 60;

/// Most sectors at a time.
const MOST: u64 = 256;

/// Blocks of 4 KiB are what each disk takes.
const BLOCK: u64 = 8;

/// Each thread writes and reads its own part of the disk, flushes now and then, and knows what has
/// to be there. At the end all of it is of the generation [`LAST`].
pub(super) fn run(plan: &plan::Disk) -> Result<()> {
    if plan.kind == Kind::ReadOnly {
        return Ok(());
    }
    exercise(&open(plan)?, ROUNDS)
}

/// As [`run`], with so many rounds.
pub(super) fn exercise(disk: &Disk, rounds: u64) -> Result<()> {
    let part = (WRITTEN.end - WRITTEN.start) / THREADS;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let first = WRITTEN.start + number * part;
                scope.spawn(move || Part::new(disk, first, part).work(number, rounds))
            })
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })
}

/// What one thread has.
struct Part<'a> {
    disk: &'a Disk,
    first: u64,
    /// The generation of each block.
    generations: Vec<u64>,
}

impl<'a> Part<'a> {
    fn new(disk: &'a Disk, first: u64, sectors: u64) -> Self {
        let generations = vec![0; (sectors / BLOCK) as usize];
        Self {
            disk,
            first,
            generations,
        }
    }

    fn work(mut self, seed: u64, rounds: u64) -> Result<()> {
        let mut random = fastrand::Rng::with_seed(seed);
        let sectors = self.generations.len() * BLOCK as usize;
        self.disk.write(self.first, sectors, 0)?;
        for round in 1..=rounds {
            let blocks = random.usize(1..=(MOST / BLOCK) as usize);
            let at = random.usize(0..=self.generations.len() - blocks);
            self.round(round, at, blocks, &mut random)
                .with_context(|| format!("thread {seed}, round {round}"))?;
        }
        self.disk.write(self.first, sectors, LAST)?;
        self.disk.flush()?;
        self.disk.verify(self.first, sectors, LAST)
    }

    fn round(
        &mut self,
        round: u64,
        at: usize,
        blocks: usize,
        random: &mut fastrand::Rng,
    ) -> Result<()> {
        let sector = |block: usize| self.first + block as u64 * BLOCK;
        if random.bool() {
            self.disk
                .write(sector(at), blocks * BLOCK as usize, round)?;
            self.generations[at..at + blocks].fill(round);
        } else {
            for block in at..at + blocks {
                let generation = self.generations[block];
                self.disk
                    .verify(sector(block), BLOCK as usize, generation)?;
            }
        }
        if random.u8(0..8) == 0 {
            self.disk.flush()?;
        }
        Ok(())
    }
}
