// SPDX-License-Identifier: GPL-2.0-only

//! What a queue has done, and the line of debugfs that shows it.

use kernel::fmt;

/// Batches are counted by their size: 1, 2 to 3, 4 to 7, and so on; the last of these is for all
/// that are larger.
const SIZES: usize = 8;

/// What a queue has done.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    /// Requests that the device has answered.
    completed: u64,
    /// Notifications that were sent.
    notified: u64,
    /// Batches that the device did not want to be notified of.
    saved: u64,
    /// Interrupts with nothing to take.
    idle: u64,
    /// Batches that were taken, one for each other interrupt.
    batches: [u64; SIZES],
}

impl Counts {
    /// Requests that the device has answered.
    pub(super) fn completed(&self) -> u64 {
        self.completed
    }

    /// A batch was shown to the device.
    #[inline]
    pub(super) fn published(&mut self, is_notified: bool) {
        match is_notified {
            true => self.notified = self.notified.wrapping_add(1),
            false => self.saved = self.saved.wrapping_add(1),
        }
    }

    /// So many requests were taken at once.
    #[inline]
    pub(super) fn took(&mut self, number: u64) {
        let Some(log) = number.checked_ilog2() else {
            self.idle = self.idle.wrapping_add(1);
            return;
        };
        self.completed = self.completed.wrapping_add(number);
        if let Some(batches) = self.batches.get_mut((log as usize).min(SIZES - 1)) {
            *batches = batches.wrapping_add(1);
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interrupts = self.batches.iter().sum::<u64>();
        write!(
            f,
            "completed {} notified {} saved {} interrupts {} idle {} batches",
            self.completed,
            self.notified,
            self.saved,
            interrupts.wrapping_add(self.idle),
            self.idle
        )?;
        self.batches
            .iter()
            .try_for_each(|batches| write!(f, " {batches}"))
    }
}
