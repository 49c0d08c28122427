// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Every kind of request, good and bad, to a disk in this process.

mod disk;

use std::fs::File;

use shunt::device::Device;
use shunt::Width;
use virtio_spec::mmio;
use vm_memory::{Bytes, GuestAddress};

use disk::*;

#[test]
fn the_configuration_describes_the_image() {
    for read_only in [false, true] {
        let mut disk = Disk::new(read_only);
        assert_eq!(disk.device.read(0x100, Width::Quad), SECTORS);
        assert_eq!(disk.device.read(0x10c, Width::Long), 254);
        assert_eq!(disk.device.read(0x114, Width::Long), 512);
        assert_eq!(disk.device.read(0x118, Width::Quad), 0);
        let features = disk.read(mmio::DEVICE_FEATURES);
        assert_eq!(features & 1 << 5 != 0, read_only);
        assert_eq!(
            features & (1 << 2 | 1 << 6 | 1 << 9),
            1 << 2 | 1 << 6 | 1 << 9
        );
    }
}

#[test]
fn reads_and_writes_reach_the_image() {
    let mut disk = Disk::new(false);
    let sectors = [vec![3; 512], vec![4; 512]].concat();
    assert_eq!(disk.ask(IN, 3, &[], 1024), ok(1025, sectors));
    assert_eq!(disk.ask(OUT, 15, &[7; 512], 0), ok(1, vec![]));
    assert_eq!(disk.ask(FLUSH, 0, &[], 0), ok(1, vec![]));
    assert_eq!(disk.ask(IN, 15, &[], 512), ok(513, vec![7; 512]));
    let image = disk.image();
    assert_eq!(image.len(), 16 * 512 + 100);
    assert!(image[15 * 512..16 * 512].iter().all(|&byte| byte == 7));
    assert!(image[14 * 512..15 * 512].iter().all(|&byte| byte == 14));
    assert!(image[16 * 512..].iter().all(|&byte| byte == 16));
    let counted = disk.state.counters().values();
    assert_eq!(
        (counted.requests, counted.failed_requests, counted.flushes),
        (4, 0, 1)
    );
    assert_eq!((counted.bytes_read, counted.bytes_written), (1536, 512));
}

#[test]
fn how_the_driver_cuts_its_buffers_means_nothing() {
    let mut disk = Disk::new(false);
    let header_bytes = header(OUT, 2);
    let (first, second) = header_bytes.split_at(5);
    let data = [9; 512];
    let cut = disk.ask_in(
        &[first, second, &data[..1], &data[1..511], &data[511..]],
        &[1],
    );
    assert_eq!(cut, ok(1, vec![]));
    let whole = [&header(OUT, 3)[..], &data].concat();
    assert_eq!(disk.ask_in(&[&whole], &[1]), ok(1, vec![]));
    let both = disk.ask_in(&[&header(IN, 2)], &[1, 700, 324]);
    assert_eq!(both, ok(1025, vec![9; 1024]));
}

#[test]
fn the_serial_number_is_the_images_name() {
    let mut disk = Disk::new(false);
    assert_eq!(
        disk.ask(GET_ID, 0, &[], 20),
        ok(21, b"a-very-long-image-na".to_vec())
    );
    assert_eq!(disk.ask(GET_ID, 0, &[], 4), ok(5, b"a-ve".to_vec()));
    let longer = disk.ask(GET_ID, 0, &[], 30);
    assert_eq!((longer.used, longer.status), (20, OK));
}

#[test]
fn requests_that_cannot_be_are_refused_one_by_one() {
    let mut disk = Disk::new(false);
    for (what, kind, sector, data, room, status) in [
        ("read at the end", IN, SECTORS, 0, 512, IOERR),
        ("read across the end", IN, SECTORS - 1, 0, 1024, IOERR),
        (
            "read at the last sector there is",
            IN,
            u64::MAX,
            0,
            512,
            IOERR,
        ),
        ("read of half a sector", IN, 0, 0, 256, IOERR),
        ("write at the end", OUT, SECTORS, 512, 0, IOERR),
        ("write that wraps", OUT, u64::MAX - 1, 1024, 0, IOERR),
        ("write whose bytes wrap", OUT, u64::MAX / 512, 512, 0, IOERR),
        ("write of a sector and a bit", OUT, 0, 513, 0, IOERR),
        ("unknown type", 77, 0, 0, 0, UNSUPP),
        ("discard, not offered", 11, 0, 16, 0, UNSUPP),
    ] {
        let answer = disk.ask(kind, sector, &vec![0xaa; data], room);
        assert_eq!(answer, failed(status, room), "{what}");
    }
    assert_eq!(
        disk.ask_in(&[&header(IN, 0)[..15]], &[512, 1]),
        failed(IOERR, 512)
    );
    let image = disk.image();
    assert!(!image.contains(&0xaa));
    let counted = disk.state.counters().values();
    assert_eq!((counted.requests, counted.failed_requests), (11, 11));
    assert_eq!(disk.ask(IN, 1, &[], 512), ok(513, vec![1; 512]));
}

#[test]
fn a_read_only_disk_is_only_read() {
    let mut disk = Disk::new(true);
    assert_eq!(disk.ask(OUT, 0, &[1; 512], 0), failed(IOERR, 0));
    assert_eq!(disk.ask(FLUSH, 0, &[], 0), ok(1, vec![]));
    assert_eq!(disk.ask(IN, 5, &[], 512), ok(513, vec![5; 512]));
    assert!(disk.image()[..512].iter().all(|&byte| byte == 0));
}

#[test]
fn an_image_that_fails_is_an_io_error() {
    let mut disk = Disk::new(false);
    let image = disk.directory.path().join("a-very-long-image-name.img");
    File::options()
        .write(true)
        .open(image)
        .unwrap()
        .set_len(512)
        .unwrap();
    assert_eq!(disk.ask(IN, 1, &[], 512), failed(IOERR, 512));
    assert_eq!(disk.ask(IN, 0, &[], 512), ok(513, vec![0; 512]));
}

#[test]
fn a_request_without_room_for_a_status_stops_the_device() {
    let mut disk = Disk::new(false);
    let head = header(FLUSH, 0);
    disk.memory
        .write_slice(&head, GuestAddress(BUFFERS))
        .unwrap();
    disk.memory
        .write_obj(BUFFERS, GuestAddress(DESCRIPTORS))
        .unwrap();
    disk.memory
        .write_obj(16u32, GuestAddress(DESCRIPTORS + 8))
        .unwrap();
    disk.memory
        .write_obj(1u16, GuestAddress(DRIVER_AREA + 2))
        .unwrap();
    disk.device.write(mmio::QUEUE_NOTIFY as u64, Width::Long, 0);
    while disk.device.work() {}
    assert_eq!(disk.read(mmio::STATUS), 15 | 64);
}
