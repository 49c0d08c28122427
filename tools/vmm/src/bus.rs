// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Dispatch of port and MMIO accesses that leave KVM for the VMM.
//!
//! A bus is a table of ranges. A read that no range claims gives all ones, a write to nowhere
//! is ignored, as on a PC. The table is built before the first vCPU runs and never changes, so
//! looking up takes no lock.

use std::sync::Arc;

use anyhow::{ensure, Result};

/// Something that answers accesses. Called from all vCPU threads at once.
pub(crate) trait BusDevice: Send + Sync {
    /// Fills `data` with what is at `offset` from the start of the device's range.
    ///
    /// # Errors
    ///
    /// [`AccessError`]; the vCPU then stops.
    fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), AccessError>;

    /// Stores `data` at `offset` from the start of the device's range.
    ///
    /// # Errors
    ///
    /// [`AccessError`]; the vCPU then stops.
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), AccessError>;
}

/// Why an access was not completed.
#[derive(Debug)]
pub(crate) enum AccessError {
    /// The VMM is shutting down; the access would have waited.
    Stopping,
    /// The device is broken beyond repair.
    Failed(anyhow::Error),
}

struct Range {
    start: u64,
    size: u64,
    device: Arc<dyn BusDevice>,
}

/// The devices of one address space.
#[derive(Default)]
pub(crate) struct Bus {
    /// Sorted by start; no two overlap.
    ranges: Vec<Range>,
}

impl Bus {
    /// Gives `size` addresses from `start` on to `device`.
    ///
    /// # Errors
    ///
    /// When the range is empty, wraps around or overlaps one that is already there.
    pub(crate) fn insert(
        &mut self,
        start: u64,
        size: u64,
        device: Arc<dyn BusDevice>,
    ) -> Result<()> {
        let end = start.checked_add(size).filter(|end| *end > start);
        ensure!(
            end.is_some(),
            "bad bus range: {size:#x} addresses at {start:#x}"
        );
        let at = self.ranges.partition_point(|range| range.start < start);
        let after_previous = at == 0 || {
            let previous = &self.ranges[at - 1];
            previous.start + previous.size <= start
        };
        let before_next = self
            .ranges
            .get(at)
            .is_none_or(|next| start + size <= next.start);
        ensure!(
            after_previous && before_next,
            "bus range {start:#x}+{size:#x} overlaps another device"
        );
        self.ranges.insert(
            at,
            Range {
                start,
                size,
                device,
            },
        );
        Ok(())
    }

    fn find(&self, address: u64) -> Option<(&Range, u64)> {
        let at = self.ranges.partition_point(|range| range.start <= address);
        let range = self.ranges.get(at.checked_sub(1)?)?;
        let offset = address - range.start;
        (offset < range.size).then_some((range, offset))
    }

    /// Reads from whatever is at `address`.
    ///
    /// # Errors
    ///
    /// Those of the device.
    pub(crate) fn read(&self, address: u64, data: &mut [u8]) -> Result<(), AccessError> {
        match self.find(address) {
            Some((range, offset)) => range.device.read(offset, data),
            None => {
                data.fill(0xff);
                Ok(())
            }
        }
    }

    /// Writes to whatever is at `address`.
    ///
    /// # Errors
    ///
    /// Those of the device.
    pub(crate) fn write(&self, address: u64, data: &[u8]) -> Result<(), AccessError> {
        match self.find(address) {
            Some((range, offset)) => range.device.write(offset, data),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers a read with its name in every byte, XORed with the offset.
    struct Named(u8);

    impl BusDevice for Named {
        fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
            data.fill(self.0 ^ offset as u8);
            Ok(())
        }

        fn write(&self, _offset: u64, _data: &[u8]) -> Result<(), AccessError> {
            Err(AccessError::Stopping)
        }
    }

    fn bus() -> Bus {
        let mut bus = Bus::default();
        bus.insert(0x2000, 0x1000, Arc::new(Named(0x20))).unwrap();
        bus.insert(0x1000, 0x1000, Arc::new(Named(0x10))).unwrap();
        bus
    }

    #[test]
    fn an_access_reaches_the_device_that_claims_its_address() {
        for (address, want) in [
            (0xfff, 0xff),
            (0x1000, 0x10),
            (0x1fff, 0x10 ^ 0xff),
            (0x2001, 0x21),
            (0x3000, 0xff),
        ] {
            let mut data = [0; 2];
            bus().read(address, &mut data).unwrap();
            assert_eq!(data, [want; 2], "{address:#x}");
        }
    }

    #[test]
    fn writes_to_nowhere_are_ignored_and_others_are_not() {
        assert!(bus().write(0x3000, &[1]).is_ok());
        assert!(bus().write(0x2fff, &[1]).is_err());
    }

    #[test]
    fn overlapping_and_empty_ranges_are_refused() {
        for (start, size) in [
            (0xfff, 2),
            (0x1fff, 1),
            (0x1800, 0x10),
            (0x2fff, 2),
            (0x5000, 0),
            (u64::MAX, 1),
        ] {
            let refused = bus().insert(start, size, Arc::new(Named(0))).is_err();
            assert!(refused, "{start:#x}+{size:#x}");
        }
        assert!(bus().insert(0x3000, 1, Arc::new(Named(0))).is_ok());
    }
}
