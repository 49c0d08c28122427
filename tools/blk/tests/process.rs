// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The program as a whole.

mod driver;
mod vmm;

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use shunt::channel::Transport;
use virtio_spec::features::Features;

use driver::{Driver, Request};
use vmm::{Vmm, Wiring};

fn program(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shunt-blk"));
    command.arg("--connect").arg(directory.join("socket"));
    command.arg("--image").arg(directory.join("image"));
    command
}

fn start(directory: &Path) -> Child {
    File::create(directory.join("image"))
        .unwrap()
        .set_len(1 << 16)
        .unwrap();
    program(directory).spawn().unwrap()
}

fn requests() -> [Request; 4] {
    [
        Request::Write {
            sector: 1,
            fill: 0x5a,
            sectors: 3,
        },
        Request::Read {
            sector: 1,
            want: 0x5a,
            sectors: 3,
        },
        Request::Flush,
        Request::Read {
            sector: 4,
            want: 0,
            sectors: 1,
        },
    ]
}

#[test]
fn every_wiring_carries_requests_and_a_hang_up_ends_it_well() {
    for kvm in [
        None,
        Some(Transport::Seqpacket),
        Some(Transport::Stream),
        Some(Transport::Pipe),
    ] {
        for event in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let vmm = Vmm::new(&directory.path().join("socket"), Wiring { kvm, event });
            let state = vmm.state.clone();
            let mut process = start(directory.path());
            let mut driver = Driver::start(vmm, Features::default());
            for _ in 0..20 {
                driver.submit(&requests());
                driver.notify();
                driver.finish();
                assert!(driver.is_idle());
            }
            drop(driver);
            assert!(process.wait().unwrap().success());
            let counted = state.counters().values();
            let (by_kvm, by_vmm) = (counted.register_writes.kvm, counted.register_writes.vmm);
            assert_eq!((by_kvm > 0, by_vmm > 0), (kvm.is_some(), kvm.is_none()));
            let (by_register, by_event) = (counted.notify_register, counted.notify_eventfd);
            assert_eq!(
                (by_register, by_event),
                if event { (0, 20) } else { (20, 0) }
            );
            assert_eq!(
                (counted.requests, counted.flushes, counted.attaches),
                (80, 20, 1)
            );
            assert_eq!((counted.bytes_read, counted.bytes_written), (40960, 30720));
            assert!(counted.interrupts >= 20);
        }
    }
}

#[test]
fn it_cannot_gain_privileges() {
    let directory = tempfile::tempdir().unwrap();
    let vmm = Vmm::new(&directory.path().join("socket"), Wiring::default());
    let mut process = start(directory.path());
    let driver = Driver::start(vmm, Features::default());
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"));
    drop(driver);
    assert!(process.wait().unwrap().success());
}

#[test]
fn what_it_cannot_do_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let complain = || {
        let output = program(directory.path())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let error = complain();
    assert!(error.contains("cannot open the image"), "{error}");
    assert!(error.contains("No such file"), "{error}");
    File::create(directory.path().join("image")).unwrap();
    let error = complain();
    assert!(error.contains("cannot connect to the VMM"), "{error}");
    assert!(error.contains("socket"), "{error}");
}
