// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Moving bytes between a file and guest memory, by `preadv(2)` and `pwritev(2)`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use vm_memory::VolatileSlice;

/// Most pieces of one call: the kernel's `UIO_MAXIOV`.
const MAX_PIECES: usize = 1024;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Direction {
    /// File to memory.
    FromFile,
    /// Memory to file.
    ToFile,
}

/// Moves all bytes of `pieces`, from or to `offset` of `file`.
pub(crate) fn transfer(
    direction: Direction,
    file: &File,
    mut offset: u64,
    mut pieces: &[VolatileSlice<'_>],
) -> io::Result<()> {
    let mut skip = 0;
    while !pieces.is_empty() {
        let moved = transfer_some(direction, file, offset, pieces, skip)?;
        offset += moved as u64;
        skip += moved;
        while let Some(first) = pieces.first().filter(|first| first.len() <= skip) {
            skip -= first.len();
            pieces = &pieces[1..];
        }
    }
    Ok(())
}

/// Moves at least one byte of `pieces`, whose first `skip` bytes are done.
fn transfer_some(
    direction: Direction,
    file: &File,
    offset: u64,
    pieces: &[VolatileSlice<'_>],
    skip: usize,
) -> io::Result<usize> {
    let iovecs = iovecs(pieces, skip);
    let count = iovecs.len() as libc::c_int;
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    let fd = file.as_raw_fd();
    // SAFETY:
    // - `iovecs` describes parts of `pieces`, which are mapped guest memory for as long as they
    //   are borrowed. The guest may write there too; the kernel's copy does not mind, and no
    //   Rust reference to it exists.
    // - `fd` is open, as `file` is borrowed.
    let moved = unsafe {
        match direction {
            Direction::FromFile => libc::preadv(fd, iovecs.as_ptr(), count, offset),
            Direction::ToFile => libc::pwritev(fd, iovecs.as_ptr(), count, offset),
        }
    };
    match moved {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        1.. => Ok(moved as usize),
        _ => match io::Error::last_os_error() {
            e if e.kind() == io::ErrorKind::Interrupted => {
                transfer_some(direction, file, offset as u64, pieces, skip)
            }
            e => Err(e),
        },
    }
}

fn iovecs(pieces: &[VolatileSlice<'_>], mut skip: usize) -> Vec<libc::iovec> {
    let mut iovecs = Vec::with_capacity(pieces.len().min(MAX_PIECES));
    for piece in pieces.iter().take(MAX_PIECES) {
        // `skip` is less than the length of the first piece, and zero for the others.
        let base = piece.ptr_guard_mut().as_ptr();
        iovecs.push(libc::iovec {
            iov_base: base.wrapping_add(skip).cast(),
            iov_len: piece.len() - skip,
        });
        skip = 0;
    }
    iovecs
}
