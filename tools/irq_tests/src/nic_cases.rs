// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The tests with a network interface that is assigned to a Linux guest, each of which boots one.

use std::ops::Sub;
use std::path::Path;

use anyhow::{ensure, Result};

use crate::host::vectors;
use crate::interface::Interface;
use crate::linux::{Cost, Guest, Vmm};
use crate::linux_cases::options;
use crate::nic::{ANEW, VECTORS};
use crate::pci;
use crate::traffic::Work;

/// How interrupts are to come to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By the host, and each EOI may exit.
    Stock,
    /// Directly, and each EOI exits.
    DeliveryOnly,
    /// Directly, and no EOI exits.
    Exitless,
}

/// A test.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    interface: Interface,
    vmm: Vmm,
    way: Way,
}

const fn test(name: &'static str, interface: Interface, vmm: Vmm, way: Way) -> Test {
    Test {
        name,
        interface,
        vmm,
        way,
    }
}

const STOCK: Vmm = Vmm::Shunt("stock");
const DELIVERY_ONLY: Vmm = Vmm::Shunt("exitless-delivery-only");
const EXITLESS: Vmm = Vmm::Shunt("exitless");

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    test("virtio_stock", Interface::Virtio, STOCK, Way::Stock),
    test(
        "virtio_delivery_only",
        Interface::Virtio,
        DELIVERY_ONLY,
        Way::DeliveryOnly,
    ),
    test(
        "virtio_exitless",
        Interface::Virtio,
        EXITLESS,
        Way::Exitless,
    ),
    test("e1000e_stock", Interface::E1000e, STOCK, Way::Stock),
    test(
        "e1000e_delivery_only",
        Interface::E1000e,
        DELIVERY_ONLY,
        Way::DeliveryOnly,
    ),
    test(
        "e1000e_exitless",
        Interface::E1000e,
        EXITLESS,
        Way::Exitless,
    ),
    test(
        "e1000e_qemu_followed",
        Interface::E1000e,
        Vmm::Qemu,
        Way::Exitless,
    ),
];

/// A guest that does not halt is always there for its interrupts. Small objects are in one page each, as
/// pieces of packets have to be for QEMU's e1000e ([`crate::nic`]).
const WORDS: &str = "idle=poll slab_max_order=0";

/// Each makes two interrupts or more: for what is sent, and for what comes.
const ROUND_TRIPS: u32 = 1000;

/// An interrupt that is injected, its end, and the next one set.
const EXITS_OF_A_TICK: i64 = 8;

/// What the guest does, and how much of it.
const WORKS: [(Work, u32); 3] = [
    (Work::RoundTrips, ROUND_TRIPS),
    (Work::Bursts, 1280),
    (Work::Echo, 64),
];

impl Test {
    /// Traffic of each kind, before and after the interface was down: it masks its vectors then.
    pub(crate) fn run(&self) -> Result<()> {
        let path = self.interface.path()?;
        let words = format!("{WORDS} shunt.address={}", self.interface.address());
        let mut guest = Guest::with_nic(self.vmm, &path, &words)?;
        let arming = match self.vmm {
            Vmm::Qemu => Some(guest.arm(&options(&["--follow"]))?),
            Vmm::Shunt(_) => None,
        };
        self.traffic(&mut guest, &path)?;
        let used = guest.tell(VECTORS)?.seen;
        ensure!(used >= 2, "{used} vectors have interrupted");
        guest.tell(ANEW)?;
        self.traffic(&mut guest, &path)?;
        arming.map_or(Ok(()), |arming| arming.end().map(drop))
    }

    fn traffic(&self, guest: &mut Guest, path: &Path) -> Result<()> {
        let device = pci::name(path)?;
        for (work, count) in WORKS {
            let line = |count: u32| format!("{work} {} {count:08}", self.interface.peer());
            let before = Host::now(guest, &device)?;
            let cost = guest.cost_of(&line(0), &line(count))?;
            let host = Host::now(guest, &device)? - before;
            println!("# {}: {work} {count}: {host:?}, {cost:?}", self.name);
            if work == Work::RoundTrips {
                self.judge(&cost, host)?;
            }
        }
        Ok(())
    }

    /// Whether the host handled the interrupts, and whether their ends were exits. A tick of the guest's
    /// timer takes some exits, and what comes during an exit goes to the host.
    fn judge(&self, cost: &Cost, host: Host) -> Result<()> {
        let all = cost.answer.seen;
        ensure!(all >= u64::from(ROUND_TRIPS), "{all} interrupts");
        let (most, few) = (all / 10 * 9, all / 4);
        let own = cost.own - EXITS_OF_A_TICK * cost.answer.ticks as i64;
        let is_right = match self.way {
            Way::Stock => host.handled >= most && host.in_service == 0,
            Way::DeliveryOnly => host.in_service >= few && cost.own >= most as i64,
            Way::Exitless => host.handled <= all / 2 && own <= few as i64,
        };
        ensure!(is_right, "{host:?}, {cost:?}");
        Ok(())
    }
}

/// What the host knows of a guest's interrupts.
#[derive(Clone, Copy, Debug)]
struct Host {
    /// Those that it has handled.
    handled: u64,
    /// Those that were delivered directly, and that the guest had not ended when it exited.
    in_service: u64,
}

impl Host {
    fn now(guest: &Guest, device: &str) -> Result<Self> {
        Ok(Self {
            handled: vectors(device)?.iter().sum(),
            in_service: guest.in_service()?,
        })
    }
}

impl Sub for Host {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            handled: self.handled - before.handled,
            in_service: self.in_service - before.in_service,
        }
    }
}
