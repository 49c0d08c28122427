// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What `ioregion.ko` decides, as pure code.

#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]
