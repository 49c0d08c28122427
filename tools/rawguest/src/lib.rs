// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Guests of a few instructions, without an operating system, for tests and measurements.
