// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The tests with a Linux guest, all on the same one.

use anyhow::{ensure, Context, Result};

use crate::linux::{Cost, Guest, Vmm};
use crate::scene::cpus;

/// Interrupts of a measurement.
const COUNT: u32 = 4000;

/// A test, on the guest that an earlier one has left.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Option<Guest>) -> Result<()>,
}

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    test("linux_boots", |guest| {
        *guest = Some(Guest::with_edu(Vmm::Qemu)?);
        Ok(())
    }),
    test("linux_stock", |guest| stock(of(guest)?)),
    test("linux_delivery_only", |guest| delivery_only(of(guest)?)),
    test("linux_exitless", |guest| exitless(of(guest)?)),
    test("linux_disarmed", |guest| stock(of(guest)?)),
    test("linux_followed", |guest| followed(of(guest)?)),
    test("linux_killed", killed),
    test("shunt_vmm_stock", |_| {
        in_shunt_vmm("stock", |cost| is_many(cost.for_interrupts))
    }),
    test("shunt_vmm_delivery_only", |_| {
        in_shunt_vmm("exitless-delivery-only", |cost| {
            is_few(cost.for_interrupts) && is_many(cost.own)
        })
    }),
    test("shunt_vmm_exitless", |_| {
        in_shunt_vmm("exitless", |cost| {
            is_few(cost.for_interrupts) && is_few(cost.own)
        })
    }),
];

/// A guest of our own VMM's, with its option for interrupts. A stock one's EOIs are no exits, by KVM's
/// paravirtual EOI.
fn in_shunt_vmm(irq: &'static str, is_right: impl Fn(&Cost) -> bool) -> Result<()> {
    let mut guest = Guest::with_edu(Vmm::Shunt(irq))?;
    let cost = cost(&mut guest, irq)?;
    ensure!(is_right(&cost), "{cost:?}");
    Ok(())
}

const fn test(name: &'static str, run: fn(&mut Option<Guest>) -> Result<()>) -> Test {
    Test { name, run }
}

fn of(guest: &mut Option<Guest>) -> Result<&mut Guest> {
    guest.as_mut().context("there is no guest")
}

/// An exit for each interrupt, and one for its end.
fn stock(guest: &mut Guest) -> Result<()> {
    let cost = cost(guest, "stock")?;
    ensure!(
        is_many(cost.for_interrupts) && is_many(cost.own),
        "{cost:?}"
    );
    Ok(())
}

/// An exit for the end of each interrupt.
fn delivery_only(guest: &mut Guest) -> Result<()> {
    let cost = armed(guest, &["--delivery-only"])?;
    ensure!(is_few(cost.for_interrupts) && is_many(cost.own), "{cost:?}");
    Ok(())
}

fn exitless(guest: &mut Guest) -> Result<()> {
    let cost = armed(guest, &[])?;
    ensure!(is_few(cost.for_interrupts) && is_few(cost.own), "{cost:?}");
    Ok(())
}

/// An interrupt that is set up after `shunt-irq` has begun is armed, too.
fn followed(guest: &mut Guest) -> Result<()> {
    let mut arming = guest.arm(&options(&["--follow"]))?;
    guest.set_up_anew()?;
    arming.await_one_more()?;
    let cost = cost(guest, "followed")?;
    arming.end()?;
    ensure!(is_few(cost.for_interrupts) && is_few(cost.own), "{cost:?}");
    Ok(())
}

/// The VMM goes while its interrupts are armed: `shunt-irq` ends, too, and so does the VM.
fn killed(guest: &mut Option<Guest>) -> Result<()> {
    let arming = of(guest)?.arm(&options(&[]))?;
    *guest = None;
    arming.await_end()?;
    Ok(())
}

fn cost(guest: &mut Guest, name: &str) -> Result<Cost> {
    let cost = guest.cost(COUNT)?;
    println!("# {name}: for {COUNT} interrupts {cost:?}");
    ensure!(cost.answer.seen == u64::from(COUNT), "{cost:?}");
    Ok(cost)
}

/// The cost while they are armed.
fn armed(guest: &mut Guest, more: &[&'static str]) -> Result<Cost> {
    let arming = guest.arm(&options(more))?;
    let cost = cost(guest, "armed");
    for line in arming.end()? {
        println!("# armed: {line}");
    }
    cost
}

/// The vCPU has the second CPU, which is not the first of the machine, unless there is one only.
pub(crate) fn options(more: &[&'static str]) -> Vec<&'static str> {
    let place: &[&str] = match cpus() {
        [_, _, ..] => &["--pin", "1"],
        _ => &["--pin", "0", "--unwatched"],
    };
    [place, more].concat()
}

fn is_many(exits: i64) -> bool {
    exits >= i64::from(COUNT) * 9 / 10
}

/// Timers interrupt guest and host the more often the longer it takes.
fn is_few(exits: i64) -> bool {
    exits <= i64::from(COUNT) / 4
}
