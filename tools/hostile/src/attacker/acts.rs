// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What any attacker may do with a descriptor.

use std::os::fd::RawFd;

use anyhow::Result;
use fastrand::Rng;

use crate::sys;

/// Numbers that lie at a border of something.
pub(super) fn number(rng: &mut Rng) -> u64 {
    match rng.u32(0..6) {
        0 => rng.u64(..),
        1 => u64::MAX - rng.u64(0..4),
        2 => 1 << rng.u32(0..64),
        3 => 4096 * rng.u64(0..64),
        _ => rng.u64(0..72),
    }
}

/// Random bytes, at most `most`.
pub(super) fn bytes(rng: &mut Rng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.usize(0..=most)];
    rng.fill(&mut bytes);
    bytes
}

/// Duplicates a descriptor, or closes a duplicate.
pub(super) fn duplicate(rng: &mut Rng, fd: RawFd, others: &mut Vec<RawFd>) {
    if rng.bool() && others.len() < 8 {
        others.extend(sys::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3));
    } else if let Some(other) = others.pop() {
        sys::close(other);
    }
}

/// Forks a process that keeps everything open and mapped, for a while or until it is killed.
pub(super) fn fork(rng: &mut Rng) -> Result<()> {
    let stays = rng.u32(0..4) == 0;
    let child = sys::fork(|| {
        // The parent's end shall be seen.
        sys::close(libc::STDERR_FILENO);
        match stays {
            true => sys::wait_for_death(),
            false => 0,
        }
    })?;
    match stays {
        true => Ok(()),
        false => Ok(sys::wait(child).map(drop)?),
    }
}
