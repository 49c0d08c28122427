// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Device handlers outside the VMM: the Device trait, the serve loop, and the VMM's end.
