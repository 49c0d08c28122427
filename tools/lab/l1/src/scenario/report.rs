// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What is reported of a guest.

use serde::{Deserialize, Serialize};

/// What the guest says of itself at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestReport {
    /// Files of the root image whose checksum was right.
    pub files_verified: u64,
    /// Files written, synced, and right when read again from the disk.
    pub files_written: u64,
    /// Their size together.
    pub bytes_written: u64,
    /// Its disk.
    pub disk: String,
    /// The features that its disk's driver chose.
    pub features: u64,
    /// How often the driver had to reset the device.
    pub resets: u64,
    /// What the guest's block layer read from the disk.
    pub sectors_read: u64,
    /// What it wrote, journal and metadata included.
    pub sectors_written: u64,
    /// SHA-256 of the list of the written files' checksums.
    pub manifest: String,
}

/// What the guest says of its network interface at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketReport {
    /// The module that drives it.
    pub driver: String,
    /// The features that it chose.
    pub features: u64,
    /// Transmit queues that its driver uses.
    pub queues: u64,
    /// Pings that were answered.
    pub pings: u64,
    /// Bytes that were sent and came back as they were.
    pub echoed: u64,
    /// Packets and bytes that the guest's kernel received.
    pub received: [u64; 2],
    /// Those that it sent.
    pub sent: [u64; 2],
    /// Errors and drops of either.
    pub lost: u64,
}

/// What the guest says of its random bytes, or of its console, at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteReport {
    /// The module that drives it.
    pub driver: String,
    /// The features that it chose.
    pub features: u64,
    /// Bytes that were random, or came back as they were.
    pub bytes: u64,
}

/// What L1 found in the image after the guest had gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageReport {
    /// Original files with the right checksum.
    pub files_original: u64,
    /// Files that the guest wrote, with the right checksum.
    pub files_written: u64,
}

/// What became of one scenario. Without failures it passed, as far as L1 can tell.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Its name.
    pub scenario: String,
    /// Everything that was wrong.
    pub failures: Vec<String>,
    /// From the VMM's start to its end.
    pub seconds: f64,
    /// What the guest reported of its disk.
    pub guest: Option<GuestReport>,
    /// What it reported of its network interface.
    pub packets: Option<PacketReport>,
    /// What it reported of random bytes, or of its console.
    pub bytes: Option<ByteReport>,
    /// What the VMM reported (its `--report`).
    pub vmm: Option<serde_json::Value>,
    /// What the image holds.
    pub image: Option<ImageReport>,
    /// Device processes that L1 started.
    pub device_processes: u32,
    /// What each of the killed ones was doing.
    pub kills: Vec<String>,
    /// The user that they ran as.
    pub device_uid: Option<u32>,
}
