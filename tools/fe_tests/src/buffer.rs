// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Memory that the kernel hands to a device as it is.

use crate::content::SECTOR;
use zerocopy::{FromZeros, IntoBytes};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout};

const PAGE: usize = 4096;

#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
struct Page([u8; PAGE]);

/// Whole pages, from the start of one on.
pub struct Buffer {
    pages: Vec<Page>,
    bytes: usize,
}

impl Buffer {
    /// Zeroes, so many sectors.
    pub fn new(sectors: usize) -> Self {
        let bytes = sectors * SECTOR;
        Self {
            pages: vec![Page::new_zeroed(); bytes.div_ceil(PAGE)],
            bytes,
        }
    }

    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        &self.pages.as_bytes()[..self.bytes]
    }

    /// The same, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.pages.as_mut_bytes()[..self.bytes]
    }
}
