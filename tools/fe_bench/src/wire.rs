// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a network device does while it is counted: it exchanges packets with that of the other
//! driver, over a wire of QEMU's.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use fe_bench::plan::{Driver, Work};
use fe_tests::network::End;
use fe_tests::wire::mac;

const DEVICES: &str = "/sys/bus/pci/devices";

/// A virtio network device, in `modalias`: section 4.1.2.
const ID: &str = "v00001AF4d00001041";

/// After it, a packet does not come any more.
const LIMIT: Duration = Duration::from_secs(10);

/// Packets that are sent before any of them is received.
const BURST: u64 = 32;

/// The number of the end that a driver has.
fn end(driver: Driver) -> usize {
    match driver {
        Driver::C => 0,
        Driver::Rust => 1,
    }
}

/// Says which driver is to have which device, before there are any.
pub(crate) fn assign() -> Result<()> {
    let drivers = ["virtio-pci", "virtio_fe"];
    let devices = devices()?;
    ensure!(devices.len() == drivers.len(), "{devices:?}");
    for (device, driver) in devices.iter().zip(drivers) {
        fs::write(device.join("driver_override"), driver).context("driver_override")?;
    }
    Ok(())
}

/// The devices, in the order of QEMU's command line.
fn devices() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(DEVICES)? {
        let path = entry?.path();
        if fs::read_to_string(path.join("modalias"))?.contains(ID) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A wire, with a socket at either end.
pub(crate) struct Wire {
    sockets: [UdpSocket; 2],
    /// The network devices are there until these are dropped.
    _ends: [End; 2],
}

impl Wire {
    /// Sets both ends up.
    pub(crate) fn new() -> Result<Self> {
        let new = |number: usize| {
            let address = Ipv4Addr::new(10, 0, 0, number as u8 + 1);
            End::new(&mac(0, number), address).with_context(|| format!("end {number}"))
        };
        let ends = [new(0)?, new(1)?];
        ends[0].knows(&ends[1], &mac(0, 1))?;
        ends[1].knows(&ends[0], &mac(0, 0))?;
        let sockets = [socket(&ends[0])?, socket(&ends[1])?];
        sockets[0].connect(sockets[1].local_addr()?)?;
        sockets[1].connect(sockets[0].local_addr()?)?;
        let this = Self {
            sockets,
            _ends: ends,
        };
        Ok(this)
    }

    /// Has the device of a driver do something so often, or as often as whole bursts are.
    pub(crate) fn work(&self, driver: Driver, work: Work, operations: u64) -> Result<()> {
        let own = &self.sockets[end(driver)];
        let other = &self.sockets[1 - end(driver)];
        match work {
            Work::Send => bursts(own, other, 18, operations),
            Work::Receive => bursts(other, own, 1400, operations),
            _ => (0..operations).try_for_each(|_| {
                bursts(own, other, 64, 1)?;
                bursts(other, own, 64, 1)
            }),
        }
    }
}

fn socket(end: &End) -> Result<UdpSocket> {
    let address = end.address;
    let socket = end
        .namespace
        .run(move || UdpSocket::bind((address, 0)).context("binding"))?;
    socket.set_read_timeout(Some(LIMIT))?;
    Ok(socket)
}

/// Sends so many packets of `bytes` bytes, and receives each.
fn bursts(from: &UdpSocket, to: &UdpSocket, bytes: usize, packets: u64) -> Result<()> {
    let (sent, mut received) = (vec![0x5a; bytes], vec![0; bytes]);
    for first in (0..packets).step_by(BURST as usize) {
        let burst = first..packets.min(first + BURST);
        for _ in burst.clone() {
            ensure!(from.send(&sent)? == bytes, "a packet was cut");
        }
        for number in burst {
            let count = to.recv(&mut received);
            let count = count.with_context(|| format!("packet {number} is lost"))?;
            ensure!(count == bytes, "packet {number} has {count} bytes");
        }
    }
    Ok(())
}
