// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Ethernet frames of a [`Wire`], for devices that have no use for virtio-net's header.

use std::io;
use std::sync::atomic::Ordering;

use rustix::io::{retry_on_intr, Errno};
use shunt::counters::Counters;
use virtio_spec::features::Features;

use crate::{Wire, HEADER, PACKET_MAX};

/// Shortest frame of Ethernet, without its checksum.
const SHORTEST: usize = 60;

/// Both directions of a wire.
#[derive(Debug)]
pub(crate) struct Frames<W> {
    pub(crate) wire: W,
    /// The header, and the frame that waits: so many bytes.
    received: Box<[u8]>,
    length: usize,
    /// The header and the frame that is put together.
    pub(crate) sent: Vec<u8>,
}

impl<W: Wire> Frames<W> {
    /// A wire that cuts and sums by itself what comes in.
    pub(crate) fn new(wire: W) -> io::Result<Self> {
        wire.set_offloads(Features::default())?;
        Ok(Self {
            wire,
            received: vec![0; PACKET_MAX].into(),
            length: 0,
            sent: vec![0; HEADER],
        })
    }

    /// The next frame, which stays until it is [taken](Self::take).
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        if self.length == 0 {
            let buffer = &mut self.received[..];
            let read = retry_on_intr(|| rustix::io::read(self.wire.fd(), &mut *buffer));
            let length = match read {
                Ok(length) => length.saturating_sub(HEADER),
                Err(Errno::AGAIN) => 0,
                Err(e) => {
                    log::warn!("cannot receive: {e}");
                    0
                }
            };
            if length == 0 {
                return None;
            }
            self.length = length.max(SHORTEST);
            self.received[HEADER + length..HEADER + self.length].fill(0);
        }
        Some(&self.received[HEADER..HEADER + self.length])
    }

    /// The driver has the frame.
    pub(crate) fn take(&mut self, counters: &Counters) {
        let length = std::mem::take(&mut self.length) as u64;
        counters.requests.fetch_add(1, Ordering::Relaxed);
        counters.bytes_read.fetch_add(length, Ordering::Relaxed);
    }

    /// Adds to the frame that is put together, as long as it is one. Whether it did.
    pub(crate) fn room(&mut self, length: usize) -> Option<&mut [u8]> {
        let start = self.sent.len();
        if start + length > PACKET_MAX {
            return None;
        }
        self.sent.resize(start + length, 0);
        Some(&mut self.sent[start..])
    }

    /// Sends it, with what is left of its header to the wire. One that the wire does not take is
    /// lost, as on any other.
    pub(crate) fn send(&mut self, counters: &Counters) {
        let length = (self.sent.len() - HEADER) as u64;
        counters.requests.fetch_add(1, Ordering::Relaxed);
        match retry_on_intr(|| rustix::io::write(self.wire.fd(), &self.sent)) {
            Ok(_) => counters.bytes_written.fetch_add(length, Ordering::Relaxed),
            Err(e) => {
                log::debug!("cannot send {length} bytes: {e}");
                counters.failed_requests.fetch_add(1, Ordering::Relaxed)
            }
        };
        self.forget();
    }

    /// Begins another one.
    pub(crate) fn forget(&mut self) {
        self.sent.clear();
        self.sent.resize(HEADER, 0);
    }
}
