// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A server and its clients, over a real socket.

mod honest;
mod hostile;
mod rig;
