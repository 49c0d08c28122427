// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A disk whose device process is killed, at every step of its life, and restarted: the guest
//! notices nothing.

mod crash;
mod driver;
mod vmm;

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use virtio_spec::features::Features;

use crash::Program;
use driver::{Driver, Request, SECTOR};
use vmm::{Vmm, Wiring};

const SECTORS: usize = 64;

/// Requests where an order broken or a write done too late would show: two writes to the same
/// sectors with a read between and after.
fn batches() -> Vec<Vec<Request>> {
    let write = |sector, fill, sectors| Request::Write {
        sector,
        fill,
        sectors,
    };
    let read = |sector, want, sectors| Request::Read {
        sector,
        want,
        sectors,
    };
    vec![
        vec![
            write(8, 1, 4),
            read(8, 1, 4),
            write(9, 2, 2),
            read(9, 2, 2),
            read(8, 1, 1),
            write(0, 3, 8),
            Request::Flush,
            write(9, 4, 2),
            read(9, 4, 2),
        ],
        vec![
            read(0, 3, 8),
            write(0, 5, 1),
            write(63, 6, 1),
            read(63, 6, 1),
        ],
    ]
}

/// The disk afterwards.
fn image() -> Vec<u8> {
    let mut image = vec![0; SECTORS * SECTOR];
    for request in batches().into_iter().flatten() {
        if let Request::Write {
            sector,
            fill,
            sectors,
        } = request
        {
            let begin = sector as usize * SECTOR;
            image[begin..begin + sectors * SECTOR].fill(fill);
        }
    }
    image
}

/// The guest's whole life, with device processes that die at these steps. How many did.
fn live_through(directory: &Path, features: Features, deaths: &[usize]) -> usize {
    let program = Program {
        socket: directory.join("socket"),
        image: directory.join("image"),
        over: AtomicBool::new(false),
    };
    File::create(&program.image)
        .unwrap()
        .set_len((SECTORS * SECTOR) as u64)
        .unwrap();
    let vmm = Vmm::new(&program.socket, Wiring::default());
    let state = vmm.state.clone();
    let died = std::thread::scope(|scope| {
        let processes = scope.spawn(|| crash::run(&program, deaths));
        let mut driver = Driver::start(vmm, features);
        for batch in batches() {
            driver.submit(&batch);
            driver.notify();
            driver.finish();
        }
        assert!(driver.is_idle(), "something was completed twice");
        program.over.store(true, Ordering::SeqCst);
        drop(driver);
        processes.join().unwrap()
    });
    assert!(
        std::fs::read(&program.image).unwrap() == image(),
        "image after {deaths:?}"
    );
    let attaches = state.counters().values().attaches as usize;
    assert!(attaches <= died + 1, "{attaches} attaches, {died} deaths");
    died
}

/// Steps of the set-up, about: the same six for each of some thirty register accesses.
const SET_UP: usize = 170;

/// Kills a process at one step after the other until one survives them all; `set_up` and
/// `requests` apart. `later` are the steps at which the processes after it die. The event index
/// feature comes and goes, so that each kind of step meets it on and off.
fn kill_along_the_way(set_up: usize, requests: usize, later: impl Fn(usize) -> Vec<usize>) {
    let directory = tempfile::tempdir().unwrap();
    let mut step = 0;
    loop {
        let chosen = |bit, feature| match (step / 2) & bit {
            0 => Features::default(),
            _ => feature,
        };
        let features = chosen(1, Features::EVENT_IDX)
            .with(chosen(2, Features::RING_PACKED))
            .with(chosen(4, Features::IN_ORDER));
        let deaths = [vec![step], later(step)].concat();
        if live_through(directory.path(), features, &deaths) == 0 {
            break;
        }
        step += if step < SET_UP { set_up } else { requests };
    }
    assert!(
        step > SET_UP,
        "a life of only {step} steps: the kills were not where they should be"
    );
}

#[test]
fn one_death_at_any_step() {
    // Five is prime to six: each kind of step of the set-up has its turn.
    kill_along_the_way(5, 1, |_| vec![]);
}

#[test]
fn three_deaths_in_a_row() {
    kill_along_the_way(35, 11, |step| vec![40 + step % 37, 40 + step % 53]);
}
