// SPDX-License-Identifier: GPL-2.0-only

//! What a block device says of itself: section 5.2.

use super::request::MAX_SEGMENTS;
use crate::{
    module_parameters,
    virtqueue, //
};
use blk_mq::Limits;
use core::mem::offset_of;
use kernel::{
    cpu,
    page::PAGE_SIZE,
    prelude::*, //
};
use virtio_spec::{
    blk::{
        feature,
        Config as Layout,
        Topology,
        SECTOR, //
    },
    features::Features, //
};
use virtio_transport::{
    read_config,
    Transport,
    Window, //
};

/// Offset of a field of the configuration.
macro_rules! field {
    ($field:ident) => {
        offset_of!(Layout, $field)
    };
    (topology.$field:ident) => {
        offset_of!(Layout, topology) + offset_of!(Topology, $field)
    };
}

/// Bytes of a request, so that it stays below 4 GiB with all that goes with it.
const MAX_BYTES: u32 = 1 << 31;

/// The features that this driver wants.
pub(super) fn wanted() -> Features {
    virtqueue::wanted()
        .with(feature::SIZE_MAX)
        .with(feature::SEG_MAX)
        .with(feature::RO)
        .with(feature::BLK_SIZE)
        .with(feature::FLUSH)
        .with(feature::TOPOLOGY)
        .with(feature::MQ)
        .with(feature::DISCARD)
        .with(feature::WRITE_ZEROES)
}

/// What the configuration said when the device was set up.
#[derive(Clone, Copy)]
pub(super) struct Config {
    /// Sectors.
    pub(super) capacity: u64,
    /// Request queues to use.
    pub(super) queues: u16,
    /// What the block layer has to know.
    pub(super) limits: Limits,
}

impl Config {
    /// Reads what these features say is there.
    ///
    /// # Errors
    ///
    /// - `EIO`: it changes all the time.
    /// - `EINVAL`: it cannot be right.
    pub(super) fn read(transport: &impl Transport, features: Features) -> Result<Self> {
        let config = read_config(transport, |window| Self {
            capacity: capacity(window),
            queues: queues(window, features),
            limits: limits(window, features),
        })?;
        let block = config.limits.logical_block_size;
        let is_valid = config.queues > 0
            && config.limits.max_segments > 0
            && config.limits.max_segment_size >= PAGE_SIZE as u32
            && block.is_power_of_two()
            && (SECTOR as u32..=PAGE_SIZE as u32).contains(&block);
        if is_valid {
            Ok(config)
        } else {
            Err(EINVAL)
        }
    }
}

/// Sectors.
pub(super) fn capacity(window: &Window) -> u64 {
    let low = window.read32(field!(capacity));
    let high = window.read32(field!(capacity) + 4);
    u64::from(low) | u64::from(high) << 32
}

/// As many as there are CPUs, or as the user wants.
fn queues(window: &Window, features: Features) -> u16 {
    let offered = match features.has(feature::MQ) {
        true => window.read16(field!(num_queues)),
        false => 1,
    };
    let cpus = u16::try_from(cpu::nr_cpu_ids()).unwrap_or(u16::MAX);
    let wanted = match module_parameters::queues.value() {
        0 => cpus,
        wanted => wanted.min(cpus),
    };
    offered.min(wanted)
}

fn limits(window: &Window, features: Features) -> Limits {
    let optional = |feature, read: &dyn Fn() -> u32, otherwise| match features.has(feature) {
        true => read(),
        false => otherwise,
    };
    let block = optional(
        feature::BLK_SIZE,
        &|| window.read32(field!(blk_size)),
        SECTOR as u32,
    );
    let segments = optional(feature::SEG_MAX, &|| window.read32(field!(seg_max)), 1);
    // QEMU's storage daemon (`vu_blk_initialize_config`) says 0 and means that there is no limit.
    let size = match optional(feature::SIZE_MAX, &|| window.read32(field!(size_max)), 0) {
        0 => MAX_BYTES,
        size => size.min(MAX_BYTES),
    };
    let zeroes = || window.read32(field!(max_write_zeroes_sectors));
    let limits = Limits {
        logical_block_size: block,
        physical_block_size: block,
        max_segments: segments.min(MAX_SEGMENTS.into()) as u16,
        max_segment_size: size,
        max_hw_sectors: MAX_BYTES / SECTOR as u32,
        write_cache: features.has(feature::FLUSH),
        max_write_zeroes_sectors: optional(feature::WRITE_ZEROES, &zeroes, 0),
        ..Limits::default()
    };
    with_topology(with_discard(limits, window, features), window, features)
}

fn with_discard(limits: Limits, window: &Window, features: Features) -> Limits {
    if !features.has(feature::DISCARD) {
        return limits;
    }
    let alignment = window.read32(field!(discard_sector_alignment));
    Limits {
        max_discard_sectors: window.read32(field!(max_discard_sectors)),
        discard_granularity: match alignment {
            0 => limits.logical_block_size,
            _ => alignment.saturating_mul(SECTOR as u32),
        },
        ..limits
    }
}

fn with_topology(limits: Limits, window: &Window, features: Features) -> Limits {
    if !features.has(feature::TOPOLOGY) {
        return limits;
    }
    let block = limits.logical_block_size;
    let exponent = window.read8(field!(topology.physical_block_exp));
    let physical = block.checked_shl(exponent.into()).unwrap_or(block);
    let blocks = |number: u32| number.saturating_mul(block);
    Limits {
        physical_block_size: physical,
        alignment_offset: blocks(window.read8(field!(topology.alignment_offset)).into()),
        io_min: blocks(window.read16(field!(topology.min_io_size)).into()),
        io_opt: blocks(window.read32(field!(topology.opt_io_size))),
        ..limits
    }
}
