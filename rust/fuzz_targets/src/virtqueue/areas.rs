// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The areas of a virtqueue for one thread, small enough for a kernel's stack. They take note of
//! what a side must not do.

use crate::outcome::Broken;
use core::cell::Cell;
use virtio_ring::{
    device::Tables,
    driver::Settings,
    memory::{
        Areas,
        Memory,
        Unshared, //
    },
};
use virtio_spec::{
    features::Features,
    packed,
    split, //
};

/// Most descriptors of a queue here.
pub(super) const MAX_SIZE: usize = 8;

/// Bytes of the largest area.
const BYTES: usize = 16 * MAX_SIZE;
/// Where the indirect table is.
pub(super) const TABLE: u64 = 0x1000;

/// Bytes that both sides reach.
struct Bytes([Cell<u8>; BYTES]);

/// The areas of a queue, and a table.
pub(super) struct Queue {
    descriptors: Bytes,
    driver: Bytes,
    device: Bytes,
    table: Bytes,
    lengths: [usize; 3],
    broken: Cell<Option<Broken>>,
}

/// What a side may do with an area.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// It is its own, and not looked at again.
    Store,
    /// It is the other's.
    Load,
    /// Both write it in turn.
    Both,
}

/// An area as one side sees it.
pub(super) struct View<'q> {
    queue: &'q Queue,
    bytes: &'q [Cell<u8>],
    access: Access,
}

impl Queue {
    /// One whose areas nobody has cleared.
    pub(super) fn new(settings: &Settings) -> Self {
        let bytes = || Bytes([const { Cell::new(0xa5) }; BYTES]);
        let size = settings.size;
        let lengths = match settings.features.has(Features::RING_PACKED) {
            true => [packed::descriptor_area(size), packed::EVENT, packed::EVENT],
            false => [
                split::descriptor_area(size),
                split::driver_area(size),
                split::device_area(size),
            ],
        };
        Self {
            descriptors: bytes(),
            driver: bytes(),
            device: bytes(),
            table: bytes(),
            lengths,
            broken: Cell::new(None),
        }
    }

    /// The areas as the driver sees them. While it sets the ring up, it also clears the device's.
    pub(super) fn for_driver(&self, is_packed: bool) -> Areas<View<'_>> {
        let descriptors = if is_packed {
            Access::Both
        } else {
            Access::Store
        };
        self.views([descriptors, Access::Store, Access::Both])
    }

    /// The areas as the device sees them.
    pub(super) fn for_device(&self, is_packed: bool) -> Areas<View<'_>> {
        let descriptors = if is_packed {
            Access::Both
        } else {
            Access::Load
        };
        self.views([descriptors, Access::Load, Access::Store])
    }

    /// The areas for nobody: no side looks.
    pub(super) fn for_nobody(&self) -> Areas<View<'_>> {
        self.views([Access::Both; 3])
    }

    fn views(&self, [descriptors, driver, device]: [Access; 3]) -> Areas<View<'_>> {
        Areas {
            descriptors: self.view(&self.descriptors, self.lengths[0], descriptors),
            driver: self.view(&self.driver, self.lengths[1], driver),
            device: self.view(&self.device, self.lengths[2], device),
        }
    }

    fn view<'q>(&'q self, bytes: &'q Bytes, length: usize, access: Access) -> View<'q> {
        View {
            queue: self,
            bytes: &bytes.0[..length],
            access,
        }
    }

    /// The memory of the indirect table.
    pub(super) fn table(&self) -> View<'_> {
        self.view(&self.table, BYTES, Access::Both)
    }

    /// Passes if both sides did what they may.
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
}

impl Tables for Queue {
    fn descriptor(&self, address: u64) -> Option<[u64; 2]> {
        let at = usize::try_from(address.checked_sub(TABLE)?).ok()?;
        (at <= BYTES - 16 && at % 8 == 0).then(|| self.table().load64_pair(at))
    }
}

impl View<'_> {
    /// The bytes of an access; the first ones, if there are none.
    fn bytes<const N: usize>(&self, at: usize) -> &[Cell<u8>] {
        let bytes = self.bytes.get(at..).and_then(|bytes| bytes.get(..N));
        match bytes {
            Some(bytes) if at % N == 0 => bytes,
            _ => {
                self.queue.forbid("an access is aligned, and in its area");
                &self.bytes[..N.min(4)]
            }
        }
    }

    /// Any byte of the area gets any value, from nobody.
    pub(super) fn scribble(&self, which: usize, value: u8) {
        self.bytes[which % self.bytes.len()].set(value);
    }
}

impl Unshared for View<'_> {
    fn length(&self) -> usize {
        self.bytes.len()
    }

    fn load<const N: usize>(&self, at: usize) -> [u8; N] {
        if self.access == Access::Store {
            self.queue.forbid("what a side wrote it does not read back");
        }
        let mut value = [0; N];
        let bytes = self.bytes::<N>(at).iter();
        value
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = from.get());
        value
    }

    fn store<const N: usize>(&self, at: usize, value: [u8; N]) {
        if self.access == Access::Load {
            self.queue.forbid("a side writes its own areas only");
        }
        let bytes = self.bytes::<N>(at).iter();
        bytes.zip(value).for_each(|(to, from)| to.set(from));
    }
}
