// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A virtio device in its own process that lies to its driver, to vfio-user clients.
//!
//! | module | |
//! |---|---|
//! | [`rogue`] | when the device lies, and what registers then say |
//! | [`queues`] | where the driver's queues are, and lies in them |
//! | [`noise`] | a network device whose packets are random |
//! | [`culprit`] | a network device that does one certain thing wrong, and does not lie besides |
//!
//! All choices come from a seed; when the driver looks does not.
#![forbid(unsafe_code)]

mod culprit;
mod noise;
mod queues;
mod rogue;

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use fastrand::Rng;
use shunt::pci::PciDevice;
use shunt::state::StatePage;
use shunt::virtio_device::VirtioDevice;
use shunt::virtio_pci::VirtioPci;
use shunt_blk::Blk;
use vfio_user::server::Server;
use virtio_spec::features::Features;

use culprit::{Culprit, Wrong};
use noise::Noise;
use rogue::Rogue;

/// Serves a virtio device that lies to its driver: an image file as a disk, or packets of noise.
#[derive(Parser)]
struct Options {
    /// Socket to listen at for vfio-user clients, one at a time.
    #[arg(long, value_name = "SOCKET")]
    vfio_user: PathBuf,
    /// The image of a disk; without one it is a network device.
    #[arg(long)]
    image: Option<PathBuf>,
    /// Be a network device that does only this wrong.
    #[arg(long, value_enum, conflicts_with = "image")]
    wrong: Option<Wrong>,
    /// Offer packed virtqueues (VIRTIO_F_RING_PACKED).
    #[arg(long)]
    packed: bool,
    /// What all choices come from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let options = Options::parse();
    rustix::thread::set_no_new_privs(true).context("PR_SET_NO_NEW_PRIVS")?;
    let offer = match options.packed {
        true => Features::RING_PACKED,
        false => Features::default(),
    };
    let state = StatePage::create().context("the counters")?;
    match (&options.image, options.wrong) {
        (Some(image), _) => {
            let disk = Blk::open(image, false)
                .with_context(|| format!("cannot open the image {}", image.display()))?;
            serve(&options, rogue(&options, disk.offering(offer), state))
        }
        (None, None) => {
            let noise = Noise::new(offer, Rng::with_seed(options.seed));
            serve(&options, rogue(&options, noise, state))
        }
        (None, Some(wrong)) => serve(&options, VirtioPci::new(Culprit::new(wrong, offer), state)),
    }
}

/// The device, lying now and then.
fn rogue<D: VirtioDevice>(options: &Options, device: D, state: StatePage) -> Rogue<VirtioPci<D>> {
    Rogue::new(VirtioPci::new(device, state), Rng::with_seed(options.seed))
}

/// For one client after the other.
fn serve(options: &Options, mut device: impl PciDevice) -> anyhow::Result<()> {
    let socket = &options.vfio_user;
    let server =
        Server::bind(socket).with_context(|| format!("cannot listen at {}", socket.display()))?;
    println!("listening for vfio-user clients at {}", socket.display());
    loop {
        if let Err(e) = server.serve_next(&mut device) {
            log::warn!("session ended: {e}");
        }
    }
}
