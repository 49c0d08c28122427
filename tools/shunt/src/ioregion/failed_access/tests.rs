// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Completion of failed accesses in a made-up `kvm_run`.

use std::mem::offset_of;

use kvm_bindings::{kvm_run__bindgen_ty_1__bindgen_ty_4, kvm_run__bindgen_ty_1__bindgen_ty_6};
use zerocopy::IntoBytes;

use super::*;
use ioregion_wire::uapi::KVM_IOREGION_PIO;

type Seen = Vec<(Bus, u64, usize, Option<u64>)>;

/// Where `kvm_run.mmio.data` is.
const MMIO_DATA: usize = KVM_RUN_UNION_OFFSET + 8;

/// A run page that says an access failed after `done` bytes.
fn run(access: [u8; 32], flags: u32, done: u32) -> Vec<u8> {
    let failure = KvmIoregionfdFailure {
        access,
        flags,
        done,
        ..Default::default()
    };
    let mut run = vec![0; RUN_SIZE];
    run[8..12].copy_from_slice(&KVM_EXIT_IOREGIONFD_FAILURE.to_ne_bytes());
    let bytes = failure.as_bytes();
    run[KVM_RUN_UNION_OFFSET..KVM_RUN_UNION_OFFSET + bytes.len()].copy_from_slice(bytes);
    run
}

fn mmio(address: u64, data: u64, len: u32, is_write: bool) -> [u8; 32] {
    let mut access = [0; 32];
    access[0..8].copy_from_slice(&address.to_ne_bytes());
    access[8..16].copy_from_slice(&data.to_ne_bytes());
    access[16..20].copy_from_slice(&len.to_ne_bytes());
    access[20] = is_write.into();
    access
}

fn pio(out: bool, size: u8, port: u16, count: u32, data_offset: u64) -> [u8; 32] {
    let mut access = [0; 32];
    access[0..2].copy_from_slice(&[out.into(), size]);
    access[2..4].copy_from_slice(&port.to_ne_bytes());
    access[4..8].copy_from_slice(&count.to_ne_bytes());
    access[8..16].copy_from_slice(&data_offset.to_ne_bytes());
    access
}

/// Completes; reads yield 0x..0201 with each byte one more than the last.
fn complete_with_a_count(run: &mut [u8]) -> io::Result<Seen> {
    let mut seen = Seen::new();
    let mut next = 1u64;
    complete_in(run, |bus, address, width, operation| {
        let value = match operation {
            Operation::Write(value) => Some(value),
            Operation::Read => None,
        };
        seen.push((bus, address, width.bytes(), value));
        let bytes: Vec<u8> = (next..next + 8).map(|n| n as u8).collect();
        next += width.bytes() as u64;
        Ok(u64::from_le_bytes(bytes.try_into().unwrap()))
    })?;
    Ok(seen)
}

#[test]
fn the_layouts_are_kvms() {
    assert_eq!(offset_of!(kvm_run, exit_reason), 8);
    assert_eq!(offset_of!(kvm_run, __bindgen_anon_1), KVM_RUN_UNION_OFFSET);
    type KvmPio = kvm_run__bindgen_ty_1__bindgen_ty_4;
    let mut fields = [0; 32];
    fields[offset_of!(KvmPio, direction)] = 1;
    fields[offset_of!(KvmPio, size)] = 2;
    fields[offset_of!(KvmPio, port)] = 3;
    fields[offset_of!(KvmPio, count)] = 4;
    fields[offset_of!(KvmPio, data_offset)] = 5;
    let access = RunAccess::pio(&fields);
    let numbers = (
        access.size,
        access.address,
        access.count,
        access.data_offset,
    );
    assert_eq!((access.is_write, numbers), (true, (2, 3, 4, 5)));
    type KvmMmio = kvm_run__bindgen_ty_1__bindgen_ty_6;
    let mut fields = [0; 32];
    fields[offset_of!(KvmMmio, phys_addr)] = 6;
    fields[offset_of!(KvmMmio, len)] = 7;
    fields[offset_of!(KvmMmio, is_write)] = 1;
    let access = RunAccess::mmio(&fields);
    let data_offset = KVM_RUN_UNION_OFFSET + offset_of!(KvmMmio, data);
    let numbers = (access.address, access.size, access.data_offset);
    assert_eq!(
        (access.is_write, numbers),
        (true, (6, 7, data_offset as u64))
    );
}

#[test]
fn another_exit_is_left_alone() {
    let mut run = run(mmio(0x1000, 0, 4, false), 0, 0);
    run[8] = 6;
    assert_eq!(complete_with_a_count(&mut run).unwrap(), []);
}

#[test]
fn a_read_is_completed_in_place() {
    for (len, done, pieces) in [
        (4, 0, vec![(0x1000, 4)]),
        (8, 0, vec![(0x1000, 8)]),
        (7, 0, vec![(0x1000, 4), (0x1004, 2), (0x1006, 1)]),
        (7, 4, vec![(0x1004, 2), (0x1006, 1)]),
        (4, 4, vec![]),
        (4, 5, vec![]),
    ] {
        let mut run = run(mmio(0x1000, u64::MAX, len, false), 0, done);
        let seen = complete_with_a_count(&mut run).unwrap();
        let want: Seen = pieces
            .into_iter()
            .map(|(a, n)| (Bus::Mmio, a, n, None))
            .collect();
        assert_eq!(seen, want, "{len} bytes, {done} done");
        let mut data = [0xff; 8];
        for (value, byte) in
            (1..).zip(&mut data[usize::min(done as usize, len as usize)..len as usize])
        {
            *byte = value;
        }
        assert_eq!(run[MMIO_DATA..MMIO_DATA + 8], data, "{len}, {done}");
    }
}

#[test]
fn a_write_goes_out_in_pieces() {
    let mut run = run(mmio(0xffd, 0x0033_2211, 3, true), 0, 0);
    let seen = complete_with_a_count(&mut run).unwrap();
    let want = [
        (Bus::Mmio, 0xffd, 1, Some(0x11)),
        (Bus::Mmio, 0xffe, 2, Some(0x3322)),
    ];
    assert_eq!(seen, want);
}

#[test]
fn a_string_access_goes_on_where_it_failed() {
    let flags = KVM_IOREGION_PIO;
    let mut run_in = run(pio(false, 2, 0x510, 4, 0x1000), flags, 2);
    let seen = complete_with_a_count(&mut run_in).unwrap();
    assert_eq!(seen, [(Bus::Pio, 0x510, 2, None); 3]);
    assert_eq!(run_in[0x1000..0x100a], [0, 0, 1, 2, 3, 4, 5, 6, 0, 0]);

    let mut run_out = run(pio(true, 1, 0x510, 3, 0x1000), flags, 1);
    run_out[0x1000..0x1003].copy_from_slice(b"abc");
    let seen = complete_with_a_count(&mut run_out).unwrap();
    let want = [b'b', b'c'].map(|byte| (Bus::Pio, 0x510, 1, Some(byte.into())));
    assert_eq!(seen, want);
}

#[test]
fn data_beyond_the_mapping_is_an_error() {
    for (count, data_offset) in [(0x1001, 0x1000), (1, 0x2000), (1, u64::MAX), (u32::MAX, 0)] {
        let mut run = run(
            pio(false, 1, 0x510, count, data_offset),
            KVM_IOREGION_PIO,
            0,
        );
        let error = complete_with_a_count(&mut run).unwrap_err();
        assert_eq!(
            error.kind(),
            io::ErrorKind::InvalidData,
            "{count} at {data_offset:#x}"
        );
    }
}

#[test]
fn the_first_error_ends_it() {
    let mut run = run(mmio(0x1000, 0, 3, false), 0, 0);
    let mut calls = 0;
    let result = complete_in(&mut run, |_, _, _, _| {
        calls += 1;
        Err(io::ErrorKind::BrokenPipe.into())
    });
    assert_eq!(
        (result.unwrap_err().kind(), calls),
        (io::ErrorKind::BrokenPipe, 1)
    );
}
