// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The two areas of a channel for one thread, without the holes in them, small enough for a
//! kernel's stack. They take note of what an end must not do.

use crate::outcome::Broken;
use core::cell::Cell;
use ioregion_ring::{
    layout::{
        Layout,
        ROOM_WANTED_AT, //
    },
    memory::Memory, //
};

/// Most slots of a ring here.
pub(super) const MAX_SLOTS: usize = 8;
/// Most vCPUs of a channel here.
pub(super) const MAX_VCPUS: usize = 4;

/// Bytes of a line.
const LINE: usize = 64;
/// Lines before the first page boundary that are used.
const HEAD: usize = 2;
const WORDS: usize = (HEAD + MAX_VCPUS + MAX_SLOTS) * LINE / 8;

/// One area, zeroed when it is new.
pub(super) struct Area {
    layout: Layout,
    words: [Cell<u64>; WORDS],
    has_slots: bool,
    broken: Cell<Option<Broken>>,
}

/// An area as one end sees it.
pub(super) struct View<'a> {
    area: &'a Area,
    is_own: bool,
}

impl Area {
    /// The kernel's.
    pub(super) fn of_kernel(layout: Layout) -> Self {
        Self::new(layout, true)
    }

    /// The device's.
    pub(super) fn of_device(layout: Layout) -> Self {
        Self::new(layout, false)
    }

    fn new(layout: Layout, has_slots: bool) -> Self {
        Self {
            layout,
            words: [const { Cell::new(0) }; WORDS],
            has_slots,
            broken: Cell::new(None),
        }
    }

    /// The area for the end that writes it.
    pub(super) fn own(&self) -> View<'_> {
        View {
            area: self,
            is_own: true,
        }
    }

    /// The area for the other end.
    pub(super) fn others(&self) -> View<'_> {
        View {
            area: self,
            is_own: false,
        }
    }

    /// A word, for nobody: neither end looks.
    pub(super) fn get(&self, at: usize) -> u64 {
        self.index(at).map_or(0, |index| self.words[index].get())
    }

    /// A word gets a value, from nobody.
    pub(super) fn set(&self, at: usize, value: u64) {
        self.word(at).set(value);
    }

    /// Any word of the area gets any value.
    pub(super) fn scribble(&self, which: usize, value: u64) {
        self.words[which % WORDS].set(value);
    }

    /// Passes if both ends did what they may.
    ///
    /// # Errors
    ///
    /// The first thing that one must not do.
    pub(super) fn check(&self) -> Result<(), Broken> {
        self.broken.get().map_or(Ok(()), Err)
    }

    fn forbid(&self, what: &'static str) {
        if self.broken.get().is_none() {
            self.broken.set(Some(Broken(what)));
        }
    }

    /// Where the word at an offset is kept.
    fn index(&self, at: usize) -> Option<usize> {
        if at % 8 != 0 {
            return None;
        }
        let per_vcpu = Layout::completion(0)..Layout::completion(self.layout.vcpus());
        let ring = self.layout.slot(0);
        let slots = ring..ring + self.layout.slots() * LINE;
        let start = if at < HEAD * LINE {
            at
        } else if per_vcpu.contains(&at) {
            HEAD * LINE + at - per_vcpu.start
        } else if self.has_slots && slots.contains(&at) {
            (HEAD + MAX_VCPUS) * LINE + at - slots.start
        } else {
            return None;
        };
        Some(start / 8)
    }

    fn word(&self, at: usize) -> &Cell<u64> {
        let index = self.index(at).unwrap_or_else(|| {
            self.forbid("a word that is used is in its area");
            0
        });
        &self.words[index]
    }
}

impl Memory for View<'_> {
    fn load(&self, at: usize) -> u64 {
        // The kernel's flag, which the device cannot write, is the one word that is.
        if self.is_own && at != ROOM_WANTED_AT {
            self.area.forbid("what an end wrote it does not read back");
        }
        self.area.word(at).get()
    }

    fn load_acquire(&self, at: usize) -> u64 {
        self.load(at)
    }

    fn store(&self, at: usize, value: u64) {
        if !self.is_own {
            self.area.forbid("an end writes its own area only");
        }
        self.area.word(at).set(value);
    }

    fn store_release(&self, at: usize, value: u64) {
        self.store(at, value);
    }

    fn full_barrier(&self) {}
}
