// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

use proptest::prelude::*;

use super::*;
use crate::wire::*;

const MAP: DmaMap = DmaMap {
    argsz: 32,
    flags: DMA_READABLE | DMA_WRITEABLE,
    offset: 0x1000,
    address: 0x2000,
    size: 0x3000,
};

const UNMAP: DmaUnmap = DmaUnmap {
    argsz: 24,
    flags: 0,
    address: 0x2000,
    size: 0x3000,
};

const IO_FDS: RegionIoFds = RegionIoFds {
    argsz: 16,
    flags: 0,
    index: 0,
    count: 0,
};

fn parse(command: Command, payload: &[u8], fds: usize) -> Result<Request<'_>, Errno> {
    Request::parse(command as u16, payload, fds)
}

fn bad(command: Command, payload: &[u8], fds: usize, errno: Errno) {
    assert_eq!(parse(command, payload, fds), Err(errno), "{payload:?}");
}

#[test]
fn memory_is_lent_with_a_descriptor_or_without() {
    let without = DmaMap { offset: 0, ..MAP };
    for (map, fds) in [(MAP, 1), (without, 0)] {
        let found = parse(Command::DmaMap, map.as_bytes(), fds);
        assert_eq!(found, Ok(Request::DmaMap(map)));
    }
}

#[test]
fn memory_that_cannot_be_is_refused() {
    for (map, fds) in [
        (DmaMap { size: 0, ..MAP }, 1),
        (DmaMap { flags: 0, ..MAP }, 1),
        (DmaMap { flags: 7, ..MAP }, 1),
        (DmaMap { argsz: 31, ..MAP }, 1),
        (
            DmaMap {
                address: u64::MAX - 0xfff,
                ..MAP
            },
            1,
        ),
        (
            DmaMap {
                offset: u64::MAX - 0xfff,
                ..MAP
            },
            1,
        ),
        (MAP, 0),
        (MAP, 2),
    ] {
        bad(Command::DmaMap, map.as_bytes(), fds, Errno::INVAL);
    }
    bad(Command::DmaMap, &MAP.as_bytes()[..31], 1, Errno::INVAL);
}

#[test]
fn unmapping_has_two_forms() {
    let all = DmaUnmap {
        argsz: 24,
        flags: UNMAP_ALL,
        address: 0,
        size: 0,
    };
    for unmap in [UNMAP, all] {
        let found = parse(Command::DmaUnmap, unmap.as_bytes(), 0);
        assert_eq!(found, Ok(Request::DmaUnmap(unmap)));
    }
    for unmap in [
        DmaUnmap {
            flags: UNMAP_ALL,
            ..UNMAP
        },
        DmaUnmap { flags: 4, ..UNMAP },
        DmaUnmap { argsz: 23, ..UNMAP },
    ] {
        bad(Command::DmaUnmap, unmap.as_bytes(), 0, Errno::INVAL);
    }
}

#[test]
fn dirty_pages_and_migration_are_not_supported() {
    let dirty = DmaUnmap {
        flags: UNMAP_DIRTY_BITMAP,
        ..UNMAP
    };
    let mut payload = dirty.as_bytes().to_vec();
    payload.extend([0; 16]);
    bad(Command::DmaUnmap, &payload, 0, Errno::NOTSUP);
    for command in [
        Command::DeviceFeature,
        Command::MigDataRead,
        Command::MigDataWrite,
        Command::DmaRead,
        Command::DmaWrite,
    ] {
        bad(command, &[0; 16], 0, Errno::NOTSUP);
    }
}

#[test]
fn a_version_may_come_without_json() {
    for (payload, json) in [(&[0, 0, 1, 0][..], &b""[..]), (b"\0\0\x01\0{}\0", b"{}")] {
        let expected = Request::Version {
            major: 0,
            minor: 1,
            json,
        };
        assert_eq!(parse(Command::Version, payload, 0), Ok(expected));
    }
    bad(Command::Version, &[0, 0, 1], 0, Errno::INVAL);
    bad(Command::Version, b"\0\0\x01\0{}", 0, Errno::INVAL);
}

#[test]
fn an_answer_needs_room() {
    let no_room = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[..4].copy_from_slice(&15u32.to_ne_bytes());
        bytes
    };
    for (command, payload) in [
        (Command::DeviceGetInfo, vec![0; 16]),
        (Command::DeviceGetRegionInfo, vec![0; 32]),
        (Command::DeviceGetIrqInfo, vec![0; 16]),
        (Command::DeviceGetRegionIoFds, IO_FDS.as_bytes().to_vec()),
    ] {
        bad(command, &no_room(&payload), 0, Errno::INVAL);
        bad(command, &payload[1..], 0, Errno::INVAL);
    }
}

#[test]
fn io_fds_have_fields_that_must_be_zero() {
    let expected = Request::RegionIoFds {
        index: 0,
        argsz: 16,
    };
    let found = parse(Command::DeviceGetRegionIoFds, IO_FDS.as_bytes(), 0);
    assert_eq!(found, Ok(expected));
    for wanted in [
        RegionIoFds { flags: 1, ..IO_FDS },
        RegionIoFds { count: 1, ..IO_FDS },
    ] {
        let command = Command::DeviceGetRegionIoFds;
        bad(command, wanted.as_bytes(), 0, Errno::INVAL);
    }
}

fn irqs(flags: u32, count: u32, data: &[u8]) -> Vec<u8> {
    let set = IrqSet {
        argsz: 20 + data.len() as u32,
        flags,
        index: IRQ_MSIX,
        start: 1,
        count,
    };
    let mut payload = set.as_bytes().to_vec();
    payload.extend_from_slice(data);
    payload
}

#[test]
fn interrupts_take_one_kind_of_data_and_one_action() {
    for (flags, count, data, fds, which, action) in [
        (
            SET_NONE | SET_TRIGGER,
            3,
            &b""[..],
            0,
            Which::All,
            Action::Trigger,
        ),
        (SET_NONE | SET_MASK, 3, b"", 0, Which::All, Action::Mask),
        (
            SET_BOOL | SET_UNMASK,
            2,
            b"\x01\0",
            0,
            Which::Some(&[1, 0]),
            Action::Unmask,
        ),
        (
            SET_EVENTFD | SET_TRIGGER,
            2,
            b"",
            2,
            Which::Events,
            Action::Trigger,
        ),
        (
            SET_EVENTFD | SET_TRIGGER,
            2,
            b"",
            0,
            Which::Events,
            Action::Trigger,
        ),
    ] {
        let payload = irqs(flags, count, data);
        let set = SetIrqs {
            index: IRQ_MSIX,
            start: 1,
            count,
            which,
            action,
        };
        let found = parse(Command::DeviceSetIrqs, &payload, fds);
        assert_eq!(found, Ok(Request::SetIrqs(set)));
    }
}

#[test]
fn interrupts_that_contradict_themselves_are_refused() {
    for (flags, count, data, fds) in [
        (SET_NONE, 1, &b""[..], 0),
        (SET_TRIGGER, 1, b"", 0),
        (SET_NONE | SET_BOOL | SET_TRIGGER, 1, b"\x01", 0),
        (SET_NONE | SET_MASK | SET_UNMASK, 1, b"", 0),
        (SET_NONE | SET_TRIGGER | 1 << 6, 1, b"", 0),
        (SET_NONE | SET_TRIGGER, 1, b"\x01", 0),
        (SET_NONE | SET_TRIGGER, 1, b"", 1),
        (SET_BOOL | SET_TRIGGER, 2, b"\x01", 0),
        (SET_EVENTFD | SET_TRIGGER, 2, b"", 1),
        (SET_EVENTFD | SET_TRIGGER, 17, b"", 17),
        (SET_NONE | SET_TRIGGER, u32::MAX, b"", 0),
    ] {
        let payload = irqs(flags, count, data);
        bad(Command::DeviceSetIrqs, &payload, fds, Errno::INVAL);
    }
    let unmask_by_event = irqs(SET_EVENTFD | SET_UNMASK, 1, b"");
    bad(Command::DeviceSetIrqs, &unmask_by_event, 1, Errno::NOTSUP);
    let mut short = irqs(SET_NONE | SET_TRIGGER, 1, b"");
    short[0] = 19;
    bad(Command::DeviceSetIrqs, &short, 0, Errno::INVAL);
}

#[test]
fn a_write_has_the_data_that_it_says() {
    let access = RegionAccess {
        offset: 8,
        region: 0,
        count: 2,
    };
    let with = |data: &[u8]| [access.as_bytes(), data].concat();
    let expected = Request::RegionWrite {
        region: 0,
        offset: 8,
        data: b"ab",
    };
    assert_eq!(parse(Command::RegionWrite, &with(b"ab"), 0), Ok(expected));
    bad(Command::RegionWrite, &with(b"a"), 0, Errno::INVAL);
    bad(Command::RegionWrite, &with(b"abc"), 0, Errno::INVAL);
    bad(Command::RegionRead, &with(b"ab"), 0, Errno::INVAL);
    let huge = RegionAccess {
        count: MAX_DATA as u32 + 1,
        ..access
    };
    bad(Command::RegionRead, huge.as_bytes(), 0, Errno::INVAL);
}

#[test]
fn several_writes_are_as_many_as_they_say() {
    let write = MultiWrite {
        offset: 0,
        region: 0,
        count: 1,
        data: [0; 8],
    };
    for (count, found, fine) in [(1, 1, true), (2, 2, true), (0, 0, false), (2, 1, false)] {
        let mut payload = u64::to_ne_bytes(count).to_vec();
        for _ in 0..found {
            payload.extend_from_slice(write.as_bytes());
        }
        let outcome = parse(Command::RegionWriteMulti, &payload, 0);
        assert_eq!(outcome.is_ok(), fine, "{count} of {found}");
        payload.push(0);
        bad(Command::RegionWriteMulti, &payload, 0, Errno::INVAL);
    }
}

proptest! {
    /// Any bytes are a request or an errno, and whatever a request names is in them.
    #[test]
    fn any_bytes_can_be_parsed(
        number in 0u16..20,
        payload in proptest::collection::vec(any::<u8>(), 0..80),
        fds in 0usize..20,
    ) {
        match Request::parse(number, &payload, fds) {
            Ok(Request::RegionWrite { data, .. }) => prop_assert_eq!(data.len() + 16, payload.len()),
            Ok(Request::RegionWriteMulti(writes)) => prop_assert_eq!(writes.len() % 24, 0),
            Ok(Request::DmaMap(map)) => prop_assert!(map.address.checked_add(map.size).is_some()),
            Ok(Request::SetIrqs(set)) => prop_assert!(set.start.checked_add(set.count).is_some()),
            Ok(_) => prop_assert!(fds == 0),
            Err(errno) => prop_assert!(matches!(errno, Errno::INVAL | Errno::NOTSUP)),
        }
    }

    /// A set of interrupts in every combination of its flags is what its flags say.
    #[test]
    fn flags_of_interrupts_are_unambiguous(flags in 0u32..128, count in 0u32..4, fds in 0usize..4) {
        let payload = irqs(flags, count, &[]);
        if let Ok(Request::SetIrqs(set)) = parse(Command::DeviceSetIrqs, &payload, fds) {
            prop_assert_eq!(flags.count_ones(), 2);
            prop_assert_eq!(set.which == Which::Events, flags & SET_EVENTFD != 0);
            prop_assert!(fds == 0 || fds == count as usize);
        }
    }
}
