// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Gives BARs their first addresses, as firmware would.

use anyhow::{ensure, Result};

use crate::layout::{PCI_WINDOW, PCI_WINDOW_SIZE};

/// Whether a BAR is where BARs belong. Elsewhere nothing answers, so that no BAR hides RAM.
pub(crate) fn holds(address: u64, size: u64) -> bool {
    let end = address.checked_add(size);
    address >= PCI_WINDOW && end.is_some_and(|end| end <= PCI_WINDOW + PCI_WINDOW_SIZE)
}

/// What is left of the window.
pub(crate) struct Window {
    next: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { next: PCI_WINDOW }
    }
}

impl Window {
    /// An address for a BAR of this size, a power of two. BARs that share no page can each be a
    /// memory slot of their own.
    ///
    /// # Errors
    ///
    /// The window is full.
    pub(crate) fn place(&mut self, size: u64) -> Result<u64> {
        let room = size.max(0x1000);
        let address = self.next.next_multiple_of(room);
        ensure!(
            holds(address, room),
            "no room for a BAR of {size:#x} bytes in the window of {PCI_WINDOW_SIZE:#x}"
        );
        self.next = address + room;
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_aligned_and_share_no_page() {
        let mut window = Window::default();
        let places = [0x10, 0x10_0000, 0x1000, 0x4000].map(|size| window.place(size).unwrap());
        let want = [0, 0x10_0000, 0x20_0000, 0x20_4000].map(|offset| PCI_WINDOW + offset);
        assert_eq!(places, want);
    }

    #[test]
    fn a_full_window_is_an_error() {
        let mut window = Window::default();
        window.place(PCI_WINDOW_SIZE / 2).unwrap();
        window.place(0x1000).unwrap();
        assert!(window.place(PCI_WINDOW_SIZE / 2).is_err());
        assert!(!holds(PCI_WINDOW - 0x1000, 0x1000) && !holds(u64::MAX, 0x1000));
    }
}
