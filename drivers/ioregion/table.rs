// SPDX-License-Identifier: GPL-2.0-only

//! The regions of a bus.

use crate::{
    region::Region,
    rules::Rules, //
};
use core::{
    ops::Deref,
    slice::from_ref, //
};
use ioregion_dispatch::{
    regions::{
        self,
        Ranged, //
    },
    spec::Range, //
};
use ioregion_wire::uapi::KVM_IOREGION_MAX;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A region, and the rules that hold for it now.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) region: Arc<Region>,
    pub(crate) rules: Option<Arc<Rules>>,
}

impl Ranged for Entry {
    #[inline]
    fn range(&self) -> &Range {
        self.region.range()
    }
}

/// The regions of one bus, sorted by address. Never changed: each change makes a new one.
#[derive(Default)]
pub(crate) struct Table(KVec<Entry>);

impl Deref for Table {
    type Target = [Entry];

    #[inline]
    fn deref(&self) -> &[Entry] {
        &self.0
    }
}

impl Table {
    /// Where the region of exactly this range is.
    pub(crate) fn position(&self, range: &Range) -> Result<usize> {
        regions::position(self, range).ok_or(ENOENT)
    }

    /// Where there is room for a region of this range.
    pub(crate) fn vacancy(&self, range: &Range) -> Result<usize> {
        if self.len() >= KVM_IOREGION_MAX {
            return Err(ENOSPC);
        }
        regions::insert_position(self, range).ok_or(EEXIST)
    }

    pub(crate) fn with_inserted(&self, at: usize, entry: Entry) -> Result<Arc<Self>> {
        Self::join([&self[..at], from_ref(&entry), &self[at..]])
    }

    pub(crate) fn with_replaced(&self, at: usize, entry: Entry) -> Result<Arc<Self>> {
        Self::join([&self[..at], from_ref(&entry), &self[at + 1..]])
    }

    pub(crate) fn with_removed(&self, at: usize) -> Result<Arc<Self>> {
        Self::join([&self[..at], &[], &self[at + 1..]])
    }

    fn join(parts: [&[Entry]; 3]) -> Result<Arc<Self>> {
        let mut table = KVec::new();
        for entry in parts.into_iter().flatten() {
            table.push(entry.clone(), GFP_KERNEL_ACCOUNT)?;
        }
        Ok(Arc::new(Self(table), GFP_KERNEL_ACCOUNT)?)
    }
}
