// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! virtio-rng (virtio 1.3, section 5.4) on the kernel's random numbers, `getrandom(2)`.

use std::sync::atomic::Ordering;

use rustix::io::retry_on_intr;
use rustix::rand::{getrandom, GetRandomFlags};
use shunt::chain::{BadChain, Chain};
use shunt::counters::Counters;
use shunt::virtio_device::{VirtioDevice, OPTIONAL_FEATURES};
use virtio_spec::features::Features;

/// Its device type.
pub const DEVICE_ID: u16 = 4;

const QUEUE_SIZE: u16 = 64;

/// Most bytes of an answer. A device may give less than there is room for.
const MOST: u64 = 4096;

/// A source of random bytes.
#[derive(Clone, Debug, Default)]
pub struct Rng {
    offered: Features,
}

impl Rng {
    /// It, with these of [`OPTIONAL_FEATURES`] for the driver to choose.
    #[must_use]
    pub fn offering(self, features: Features) -> Self {
        let offered = features.and(OPTIONAL_FEATURES);
        Self { offered }
    }
}

impl VirtioDevice for Rng {
    fn device_id(&self) -> u32 {
        DEVICE_ID.into()
    }

    fn features(&self) -> u64 {
        self.offered.bits()
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, _offset: u64, _data: &mut [u8]) {}

    fn handle(
        &mut self,
        _queue: usize,
        chain: &Chain<'_>,
        counters: &Counters,
    ) -> Result<u32, BadChain> {
        let mut bytes = vec![0; chain.writable().len().min(MOST) as usize];
        let given = retry_on_intr(|| getrandom(&mut bytes[..], GetRandomFlags::empty()));
        let Ok(given) = given else {
            counters.failed_requests.fetch_add(1, Ordering::Relaxed);
            return Ok(0);
        };
        chain.writable().copy_from(0, &bytes[..given])?;
        counters
            .bytes_read
            .fetch_add(given as u64, Ordering::Relaxed);
        Ok(given as u32)
    }
}
