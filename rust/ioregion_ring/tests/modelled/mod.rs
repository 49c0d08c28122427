// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A channel in the model checker's memory.

use std::collections::HashMap;

use ioregion_ring::consumer::Consumer;
use ioregion_ring::layout::{Layout, CONSUMED_AT, ROOM_WANTED_AT, WAKE_ME_AT};
use ioregion_ring::memory::Memory;
use ioregion_ring::producer::Producer;
use ioregion_ring::slot::Access;
use ioregion_wire::frame::{Command, Operation, Width};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{
    fence, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use loom::sync::Arc;

/// Words of a slot that are used.
const SLOT_WORDS: usize = 6;
/// Words of a completion line that are used.
const LINE_WORDS: usize = 2;
/// The vCPU that all accesses are of.
pub(crate) const VCPU: usize = 0;

/// A word of an area.
struct Word {
    value: AtomicU64,
    /// Present if the sides take turns with the word, by what else they tell each other. Then
    /// loom checks that they do: it does not itself let a load see what is stored later.
    turns: Option<UnsafeCell<()>>,
}

impl Word {
    fn free() -> Self {
        Self {
            value: AtomicU64::new(0),
            turns: None,
        }
    }

    fn in_turns() -> Self {
        Self {
            turns: Some(UnsafeCell::new(())),
            ..Self::free()
        }
    }
}

/// The words of an area that are shared while the threads run, by offset.
pub(crate) struct Area(HashMap<usize, Word>);

impl Area {
    /// An area of single words, and of lines that begin with a word that tells whose turn it is.
    fn new(words: &[usize], lines: impl IntoIterator<Item = usize>, length: usize) -> Self {
        let mut area: HashMap<_, _> = words.iter().map(|&at| (at, Word::free())).collect();
        for start in lines {
            area.insert(start, Word::free());
            area.extend((1..length).map(|word| (start + word * 8, Word::in_turns())));
        }
        Self(area)
    }
}

impl Memory for Area {
    fn load(&self, at: usize) -> u64 {
        let word = &self.0[&at];
        if let Some(turns) = &word.turns {
            turns.with(|_| ());
        }
        word.value.load(Relaxed)
    }

    fn load_acquire(&self, at: usize) -> u64 {
        self.0[&at].value.load(Acquire)
    }

    fn store(&self, at: usize, value: u64) {
        // What a new ring says of itself is set before anybody looks, and not modelled.
        if let Some(word) = self.0.get(&at) {
            if let Some(turns) = &word.turns {
                turns.with_mut(|_| ());
            }
            word.value.store(value, Relaxed);
        }
    }

    fn store_release(&self, at: usize, value: u64) {
        if let Some(word) = self.0.get(&at) {
            word.value.store(value, Release);
        }
    }

    fn full_barrier(&self) {
        fence(SeqCst);
    }
}

pub(crate) struct Channel {
    pub(crate) layout: Layout,
    pub(crate) kernel: Area,
    pub(crate) device: Area,
}

impl Channel {
    pub(crate) fn new(slots: u64) -> Arc<Self> {
        let layout = Layout::new(slots, 1).unwrap();
        // The flag of a vCPU is as far into the one area as its line is into the other.
        let line = Layout::completion(VCPU);
        let ring = (0..slots).map(|position| layout.slot(position));
        Arc::new(Self {
            layout,
            kernel: Area::new(&[ROOM_WANTED_AT, line], ring, SLOT_WORDS),
            device: Area::new(&[CONSUMED_AT, WAKE_ME_AT], [line], LINE_WORDS),
        })
    }

    pub(crate) fn producer(&self) -> Producer {
        Producer::new(self.layout, &self.kernel)
    }

    pub(crate) fn consumer(&self) -> Consumer {
        Consumer::new(self.layout, &self.device)
    }

    pub(crate) fn post(&self, producer: &mut Producer, number: u64) -> bool {
        let posted = producer.post(&self.kernel, &self.device, &access(number));
        posted.is_ok()
    }

    /// The number of the next access, whose words must all belong to it.
    pub(crate) fn next(&self, consumer: &mut Consumer) -> Option<u64> {
        let taken = consumer.next(&self.device, &self.kernel)?.unwrap();
        assert_eq!(taken, access(taken.request));
        Some(taken.request)
    }
}

/// An access each of whose words tells its number.
pub(crate) fn access(number: u64) -> Access {
    Access {
        command: Command {
            operation: Operation::Write(number),
            width: Width::Quad,
            expects_reply: true,
            user_data: number,
            offset: number,
        },
        vcpu: number as u32,
        request: number,
    }
}
