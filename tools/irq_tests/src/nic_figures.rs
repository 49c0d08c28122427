// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Figures: what an interface's traffic costs Linux, on L1 itself and in a guest. QEMU's own network is
//! at the other end, and answers before the instruction that has sent a packet ends.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Result;
use fe_tests::network::Device;

use crate::asker::Answer;
use crate::figures::row;
use crate::interface::{set_up, Interface};
use crate::linux::{Guest, Vmm};
use crate::linux_figures::{unless_it_dies, DELIVERY_ONLY, EXITLESS};
use crate::nic::Nic;
use crate::traffic::Work;
use crate::{modules, pci};

/// QEMU's network: our address in it, who answers to pings, and who swallows streams.
const ADDRESS: &str = "10.0.2.15/24";
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const SINK: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);

/// Some work with a peer, and how much of it the shorter and the longer measurement are: what the longer
/// one takes more are these units and nothing else.
struct Load {
    work: Work,
    peer: Ipv4Addr,
    units: [u32; 2],
    /// The same for interrupts that KVM injects.
    injected: [u32; 2],
}

const LOADS: [Load; 3] = [
    Load {
        work: Work::RoundTrips,
        peer: PEER,
        units: [100, 8100],
        injected: [20, 420],
    },
    Load {
        work: Work::Bursts,
        peer: PEER,
        units: [320, 9920],
        injected: [64, 384],
    },
    Load {
        work: Work::Stream,
        peer: SINK,
        units: [16, 1296],
        injected: [8, 40],
    },
];

impl Load {
    fn case(&self, how: &str) -> String {
        format!("nic-{}-{how}", self.work)
    }

    fn line(&self, units: u32) -> String {
        format!("{} {} {units:08}", self.work, self.peer)
    }
}

/// Measures all cases and prints a JSON object for each figure. Loads exitless.ko.
pub(crate) fn print(module: &Path) -> Result<()> {
    let bare = on_l1(module)?;
    modules::load(module)?;
    let words = format!("shunt.address={ADDRESS}");
    let mut guest = Guest::with_nic(Vmm::Qemu, &Interface::Virtio.path()?, &words)?;
    for (how, options) in [("exitless", EXITLESS), ("delivery-only", DELIVERY_ONLY)] {
        let arming = guest.arm(options)?;
        for (load, bare) in LOADS.iter().zip(&bare) {
            in_guest(&mut guest, load, load.units, how, *bare)?;
        }
        arming.end()?;
    }
    unless_it_dies(&mut guest, |guest| {
        let mut loads = LOADS.iter().zip(&bare);
        loads.try_for_each(|(load, bare)| in_guest(guest, load, load.injected, "stock", *bare))
    })
}

/// On L1 itself, which gives the interface back: instructions of a unit of each load.
fn on_l1(module: &Path) -> Result<Vec<f64>> {
    modules::load_virtio_net(module)?;
    let name = Device::of_driver("virtio_net")?.name;
    set_up(&name, ADDRESS)?;
    let nic = Nic::new(&name)?;
    let instructions = LOADS.iter().map(|load| {
        let work = |units| nic.work(load.work, load.peer, units);
        work(load.units[0])?;
        let answers = [work(load.units[0])?, work(load.units[1])?];
        Ok(of_unit(load, load.units, "baremetal", answers))
    });
    let instructions = instructions.collect::<Result<_>>()?;
    pci::take_back(&Interface::Virtio.path()?)?;
    Ok(instructions)
}

fn in_guest(guest: &mut Guest, load: &Load, units: [u32; 2], how: &str, bare: f64) -> Result<()> {
    guest.tell(&load.line(units[0]))?;
    let mut cost = |units| guest.cost_of(&load.line(0), &load.line(units));
    let costs = [cost(units[0])?, cost(units[1])?];
    let instructions = of_unit(load, units, how, costs.map(|cost| cost.answer));
    let case = load.case(how);
    row(
        &case,
        "percent-of-bare-metal",
        rounded(100.0 * bare / instructions),
    );
    let [fewer, more] = costs.map(|cost| (cost.exits() as f64, cost.answer.seen as f64));
    let per_1000 = 1000.0 * (more.0 - fewer.0) / (more.1 - fewer.1);
    row(&case, "exits-per-1000", rounded(per_1000));
    Ok(())
}

/// Prints what a unit takes; yields its instructions.
fn of_unit(load: &Load, units: [u32; 2], how: &str, [fewer, more]: [Answer; 2]) -> f64 {
    let case = load.case(how);
    let per_unit = |of: fn(&Answer) -> u64| {
        (of(&more) as f64 - of(&fewer) as f64) / f64::from(units[1] - units[0])
    };
    let instructions = rounded(per_unit(|answer| answer.timestamps));
    row(&case, "instructions", instructions);
    row(&case, "interrupts", rounded(per_unit(|answer| answer.seen)));
    instructions
}

/// To thousandths.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
