// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `ioregion_ring`: both ends when both are honest, and each when the other lies.

pub mod lying_device;
pub mod lying_kernel;
pub mod order;

mod areas;

use crate::{
    input::Input,
    outcome::{
        Broken,
        Digest, //
    },
};
use areas::{
    MAX_SLOTS,
    MAX_VCPUS, //
};
use ioregion_ring::{
    layout::Layout,
    producer::Refused,
    slot::Access, //
};

/// A small ring, so that it runs full.
fn layout(input: &mut Input<'_>) -> Result<Layout, Broken> {
    let byte = input.below(MAX_VCPUS << 4);
    let (exponent, vcpus) = (byte & 3, 1 + (byte >> 4));
    Layout::new(1 << exponent, vcpus as u64).map_err(|_| Broken("small dimensions are a layout"))
}

fn see_post(posted: Result<(), Refused>, seen: &mut Digest) {
    match posted {
        Ok(()) => seen.see(0),
        Err(Refused::Full) => seen.see(1),
        Err(Refused::Broken {
            claimed,
            before,
            filled,
        }) => {
            seen.see(claimed);
            seen.see(before);
            seen.see(filled);
        }
    }
}

fn see_access(access: &Access, seen: &mut Digest) {
    seen.see_command(&access.command);
    seen.see(access.vcpu.into());
    seen.see(access.request);
}

const _: () = assert!(1 << 3 == MAX_SLOTS);
