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
        let moved = match transfer_some(direction, file, offset, pieces, skip) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
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
    match (moved, direction) {
        (0, Direction::FromFile) => Err(io::ErrorKind::UnexpectedEof.into()),
        (0, Direction::ToFile) => Err(io::ErrorKind::WriteZero.into()),
        (1.., _) => Ok(moved as usize),
        _ => Err(io::Error::last_os_error()),
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

    use super::*;

    fn memory() -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap()
    }

    /// One byte here and there, more of them than one call takes.
    fn scattered(memory: &GuestMemoryMmap) -> Vec<VolatileSlice<'_>> {
        let piece = |i| memory.get_slice(GuestAddress(5 * i), 1).unwrap();
        (0..2 * MAX_PIECES as u64 + 7).map(piece).collect()
    }

    #[test]
    fn any_number_of_pieces_is_moved() {
        let memory = memory();
        let pieces = scattered(&memory);
        let bytes: Vec<u8> = (0..pieces.len()).map(|i| (i % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[99; 10]).unwrap();
        file.write_all(&bytes).unwrap();
        transfer(Direction::FromFile, &file, 10, &pieces).unwrap();
        transfer(Direction::ToFile, &file, 5000, &pieces).unwrap();
        let mut copy = Vec::new();
        file.seek(io::SeekFrom::Start(5000)).unwrap();
        file.read_to_end(&mut copy).unwrap();
        assert_eq!(copy, bytes);
    }

    #[test]
    fn a_transfer_goes_on_inside_a_piece() {
        let memory = memory();
        let pieces = [
            memory.get_slice(GuestAddress(0), 8).unwrap(),
            scattered(&memory)[9],
        ];
        for (skip, begin) in [(0, 0), (7, 7)] {
            let iovecs = iovecs(&pieces, skip);
            let base = pieces[0].ptr_guard().as_ptr().wrapping_add(begin);
            assert_eq!(iovecs[0].iov_base.cast_const().cast(), base);
            assert_eq!((iovecs[0].iov_len, iovecs[1].iov_len), (8 - begin, 1));
        }
    }

    #[test]
    fn a_file_that_ends_is_an_error() {
        let memory = memory();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 100]).unwrap();
        let pieces = scattered(&memory);
        let error = transfer(Direction::FromFile, &file, 0, &pieces).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(transfer(Direction::FromFile, &file, u64::MAX, &pieces).is_err());
    }
}
