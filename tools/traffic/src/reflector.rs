// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Sends frames of [`ETHERTYPE`](crate::frame::ETHERTYPE) back to where they came from, in the kernel: XDP
//! (`Documentation/networking/af_xdp.rst`, bpf(2) of Linux), in the generic way that any driver has.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::frame::ETHERTYPE;

/// `enum bpf_cmd`, `bpf_prog_type`, `bpf_attach_type` of `linux/bpf.h`.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;

/// `XDP_FLAGS_SKB_MODE` of `linux/if_link.h`.
const GENERIC: u32 = 1 << 1;

/// What the program answers: `enum xdp_action`.
const XDP_PASS: i32 = 2;
const XDP_TX: i32 = 3;

/// Parts of an instruction's code: `Documentation/bpf/standardization/instruction-set.rst`.
const LOAD: u8 = 0x61;
const STORE: u8 = 0x63;
const HALF: u8 = 0x08;
const MOVE_REGISTER: u8 = 0xbf;
const MOVE_VALUE: u8 = 0xb7;
const ADD_VALUE: u8 = 0x07;
const JUMP_GREATER: u8 = 0x2d;
const JUMP_NOT_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

/// Offsets in `struct xdp_md`.
const DATA: i16 = 0;
const DATA_END: i16 = 4;

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high one.
    registers: u8,
    offset: i16,
    value: i32,
}

const fn op(code: u8, destination: u8, source: u8, offset: i16, value: i32) -> Instruction {
    Instruction {
        code,
        registers: destination | source << 4,
        offset,
        value,
    }
}

/// From the first instruction to the one that passes a frame on, less the jump itself.
const TO_PASS: i16 = 16;

/// r1: the frame, r2: its end, r3 to r6: the two addresses, in pieces of four bytes and two.
const PROGRAM: [Instruction; 19] = [
    op(LOAD, 2, 1, DATA_END, 0),
    op(LOAD, 1, 1, DATA, 0),
    op(MOVE_REGISTER, 3, 1, 0, 0),
    op(ADD_VALUE, 3, 0, 0, 14),
    op(JUMP_GREATER, 3, 2, TO_PASS - 4, 0),
    op(LOAD | HALF, 3, 1, 12, 0),
    op(JUMP_NOT_EQUAL, 3, 0, TO_PASS - 6, ETHERTYPE.to_be() as i32),
    op(LOAD, 3, 1, 0, 0),
    op(LOAD | HALF, 4, 1, 4, 0),
    op(LOAD, 5, 1, 6, 0),
    op(LOAD | HALF, 6, 1, 10, 0),
    op(STORE, 1, 5, 0, 0),
    op(STORE | HALF, 1, 6, 4, 0),
    op(STORE, 1, 3, 6, 0),
    op(STORE | HALF, 1, 4, 10, 0),
    op(MOVE_VALUE, 0, 0, 0, XDP_TX),
    op(EXIT, 0, 0, 0, 0),
    op(MOVE_VALUE, 0, 0, 0, XDP_PASS),
    op(EXIT, 0, 0, 0, 0),
];

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`, up to `expected_attach_type`.
#[repr(C)]
#[derive(Default)]
struct ProgramAttributes {
    kind: u32,
    instructions: u32,
    program: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

/// The head of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkAttributes {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// Reflects while this lives.
#[derive(Debug)]
pub struct Reflector {
    _link: OwnedFd,
}

impl Reflector {
    /// On the interface of this number.
    ///
    /// # Errors
    ///
    /// Those of bpf(2).
    pub fn attach(interface: u32) -> io::Result<Self> {
        let license = c"GPL";
        let program = bpf(
            BPF_PROG_LOAD,
            &ProgramAttributes {
                kind: BPF_PROG_TYPE_XDP,
                instructions: PROGRAM.len() as u32,
                program: PROGRAM.as_ptr() as u64,
                license: license.as_ptr() as u64,
                attach_type: BPF_XDP,
                ..ProgramAttributes::default()
            },
        )?;
        let link = bpf(
            BPF_LINK_CREATE,
            &LinkAttributes {
                program: program.as_raw_fd() as u32,
                interface,
                attach_type: BPF_XDP,
                flags: GENERIC,
            },
        )?;
        Ok(Self { _link: link })
    }
}

/// A command that answers with a descriptor.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: It reads no more of the attributes than it is told that there are, and pointers in them are
    // to constants.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    match fd {
        // SAFETY: It has just been made, and nobody else knows it.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
        _ => Err(io::Error::last_os_error()),
    }
}
