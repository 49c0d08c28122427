// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The state page: what of a device outlives its process.
//!
//! The VMM makes one per device, [`StatePage::create`], and hands it to every process that
//! serves the device. A process keeps no register elsewhere; it works on the page. Behind the page
//! are the device's [shadow registers](crate::shadow), in the same memory object: what the guest
//! can read of the device. The VMM owns both, and both stay as they are while there is no process.
//!
//! # Why a `kill -9` at any moment loses nothing
//!
//! Say a device process dies, a fresh one takes the page over, and the VMM repeats the accesses
//! that got no reply.
//!
//! 1. *The page is never torn.* Each field is a naturally aligned atomic; a store happens or it
//!    does not. No rule ties two fields so that a state between two stores would be dangerous:
//!    every field is checked when it is used, as if the guest had just written it. A shadow
//!    register either is the only copy (`Status`, `InterruptStatus`, `ConfigGeneration`) or follows
//!    from the page and the device; those the fresh process publishes anew before it does
//!    anything else. A store cut off between the page and the shadow register belongs to an
//!    access without a reply: it is repeated, and until then no driver reads its effect.
//!    A change of the configuration space that is cut off shows in an odd `ConfigGeneration`:
//!    the fresh process completes and announces it.
//! 2. *Repeating a register access is harmless.* A read has no effect. A write that stores, sets
//!    or clears bits does the same the second time. A reset ends in the same state wherever it
//!    was cut off. A notification makes the device look at its rings, which it does at any rate.
//!    An acknowledgement, `InterruptACK`, may on repetition clear the bit of a newer interrupt;
//!    but the driver looks at the rings only after its acknowledgement is done, so it finds what
//!    that interrupt announced. (With a rule for it, KVM acknowledges by itself, once.)
//!    Between an access and its repetition those of other virtual CPUs may come. Drivers make the
//!    ones that depend on each other from one virtual CPU at a time.
//! 3. *A request is done once to the guest's eyes.* The device takes the requests of a queue in
//!    order and completes one before it begins the next. Before it completes one, the page says
//!    which; whether it did, the ring says (`virtio_ring::device::Progress`). So everything before
//!    that is complete, and nothing behind it has begun except the first. The fresh process
//!    resumes there. The first request may have been carried out in part or in full, but
//!    the guest cannot know, for it still waits; its buffers still belong to the device and hold
//!    what they held; no later request was carried out in between. So the whole request runs
//!    again, with the same effect: reads and writes of a disk are idempotent.
//! 4. *No interrupt is lost.* A crash may come between a completion and its interrupt. The
//!    fresh process therefore raises one at any rate. An interrupt too many is one that finds
//!    nothing new.
//! 5. *No notification is lost.* Whatever the dead process knew of notifications, the fresh one
//!    looks at all rings once, and then asks the driver for notifications again (the dead one may
//!    have switched them off).
//!
//! The argument needs accesses to be repeated, so it does not hold for posted writes: those that
//! wait in a dead process's channel are gone. A posted `QueueNotify` is still safe (5), posted
//! set-up of a queue is not. `InterruptACK` must never be posted, even if no process dies: 2
//! relies on its being done before the driver looks at the rings. If it arrives later, it may
//! clear the bit of an interrupt that announces what the driver has not seen.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;

use vm_memory::mmap::MmapRegionError;
use vm_memory::{FileOffset, MmapRegion};

use crate::counters::Counters;
use crate::memory::sealed_memfd;
use crate::shadow::Shadow;

/// Most queues that a device can have.
pub const MAX_QUEUES: usize = 16;

const PAGE_SIZE: usize = 4096;
const MAGIC: u64 = u64::from_le_bytes(*b"shuntsta");
const VERSION: u32 = 3;
/// Of the page and the registers behind it.
const SIZE: usize = 2 * PAGE_SIZE;

#[repr(C)]
#[derive(Debug, Default)]
struct Page {
    magic: AtomicU64,
    version: AtomicU32,
    _reserved: AtomicU32,
    registers: Registers,
    counters: Counters,
}

const _: () = assert!(size_of::<Page>() <= PAGE_SIZE);

/// virtio-mmio registers that hold state and that the driver cannot read. See virtio 1.3, section
/// 4.2.2.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Registers {
    pub(crate) device_features_sel: AtomicU32,
    pub(crate) driver_features_sel: AtomicU32,
    pub(crate) driver_features: AtomicU64,
    pub(crate) queue_sel: AtomicU32,
    _reserved: AtomicU32,
    pub(crate) queues: [QueueRegisters; MAX_QUEUES],
}

/// Registers of one queue.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct QueueRegisters {
    pub(crate) size: AtomicU32,
    pub(crate) ready: AtomicU32,
    pub(crate) descriptors: AtomicU64,
    pub(crate) driver_area: AtomicU64,
    pub(crate) device_area: AtomicU64,
    /// `virtio_ring::device::Progress`, as a word.
    pub(crate) progress: AtomicU32,
    _reserved: AtomicU32,
}

/// Why a state page cannot be used.
#[derive(Debug)]
pub enum StateError {
    /// It could not be made or examined.
    Memfd(io::Error),
    /// It could not be mapped.
    Map(MmapRegionError),
    /// It is too small.
    Size(u64),
    /// It does not begin as a state page does.
    Magic(u64),
    /// It has another layout than this library's.
    Version(u32),
}

impl std::fmt::Display for StateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memfd(e) => write!(f, "state page: {e}"),
            Self::Map(e) => write!(f, "cannot map the state page: {e}"),
            Self::Size(n) => write!(f, "the state page has {n} bytes, fewer than {SIZE}"),
            Self::Magic(n) => write!(f, "no state page: it begins with {n:#x}, not {MAGIC:#x}"),
            Self::Version(n) => write!(f, "state page of version {n}, this library has {VERSION}"),
        }
    }
}

impl std::error::Error for StateError {}

/// A mapped state page and the shadow registers behind it. Clones share the mapping.
#[derive(Clone, Debug)]
pub struct StatePage {
    file: Arc<File>,
    mapping: Arc<MmapRegion>,
    shadow: Shadow,
}

impl StatePage {
    /// Makes the page of a new device, in reset state, all counters and shadow registers zero.
    ///
    /// # Errors
    ///
    /// [`StateError::Memfd`] and [`StateError::Map`]: no memory or descriptors left.
    pub fn create() -> Result<Self, StateError> {
        let file = sealed_memfd("device-state", SIZE as u64).map_err(StateError::Memfd)?;
        let page = Self::map(file)?;
        page.page().version.store(VERSION, Ordering::Relaxed);
        page.page().magic.store(MAGIC, Ordering::Release);
        Ok(page)
    }

    /// Maps a page that another process made.
    ///
    /// # Errors
    ///
    /// [`StateError::Size`], [`StateError::Magic`] or [`StateError::Version`] when it is none.
    pub fn from_file(file: File) -> Result<Self, StateError> {
        let size = file.metadata().map_err(StateError::Memfd)?.len();
        if size < SIZE as u64 {
            return Err(StateError::Size(size));
        }
        let page = Self::map(file)?;
        let magic = page.page().magic.load(Ordering::Acquire);
        if magic != MAGIC {
            return Err(StateError::Magic(magic));
        }
        match page.page().version.load(Ordering::Relaxed) {
            VERSION => Ok(page),
            other => Err(StateError::Version(other)),
        }
    }

    fn map(file: File) -> Result<Self, StateError> {
        let file = Arc::new(file);
        let offset = FileOffset::from_arc(file.clone(), 0);
        let mapping = MmapRegion::from_file(offset, SIZE).map_err(StateError::Map)?;
        let mapping = Arc::new(mapping);
        Ok(Self {
            file,
            shadow: Shadow::new(Arc::clone(&mapping), PAGE_SIZE),
            mapping,
        })
    }

    /// The memfd.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The device's counters.
    pub fn counters(&self) -> &Counters {
        &self.page().counters
    }

    /// What the guest can read of the device: one page of registers.
    pub fn shadow(&self) -> &Shadow {
        &self.shadow
    }

    pub(crate) fn registers(&self) -> &Registers {
        &self.page().registers
    }

    fn page(&self) -> &Page {
        // SAFETY:
        // - The mapping is at least PAGE_SIZE bytes, page-aligned, and lives as long as `self`; a `Page`
        //   fits (asserted above).
        // - `Page` consists of atomics only, so any bytes are a valid one, and other processes
        //   may write it at any time.
        // - The file is not shortened while it is mapped: `sealed_memfd` seals it; for a file that
        //   came from another process, that is the VMM, which has all power over this one anyway.
        unsafe { &*self.mapping.as_ptr().cast::<Page>() }
    }
}
