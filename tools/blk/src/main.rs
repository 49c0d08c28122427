// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A virtio-blk device in its own process, served from an image file.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Parser};
use shunt::offer::Offer;
use shunt::serve::serve;
use shunt::session::Session;
use shunt::state::StatePage;
use shunt::virtio_bus::Slot;
use shunt::virtio_pci::VirtioPci;
use shunt_blk::Blk;
use vfio_user::server::Server;

/// Serves an image file as a virtio-blk disk to a VMM.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    place: Place,
    /// The image.
    #[arg(long)]
    image: PathBuf,
    /// Refuse writes.
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    offer: Offer,
    /// Demand a reset (DEVICE_NEEDS_RESET) instead of carrying out every Nth request, to test a
    /// driver.
    #[arg(long, value_name = "N")]
    reset_every: Option<NonZeroU32>,
}

impl Options {
    fn disk(&self) -> anyhow::Result<Blk> {
        let disk = Blk::open(&self.image, self.read_only)
            .with_context(|| format!("cannot open the image {}", self.image.display()))?
            .offering(self.offer.features());
        Ok(match self.reset_every {
            Some(every) => disk.demanding_resets(every),
            None => disk,
        })
    }
}

/// Where the VMM is.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// Socket where shunt-vmm listens. The disk is behind virtio-mmio, or behind virtio-pci if the VMM
    /// has it there; the process ends when the VMM hangs up.
    #[arg(long, value_name = "SOCKET")]
    connect: Option<PathBuf>,
    /// Socket to listen at for vfio-user clients, one at a time. The disk is behind virtio-pci; the
    /// process goes on when a client hangs up.
    #[arg(long, value_name = "SOCKET")]
    vfio_user: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let options = Options::parse();
    rustix::thread::set_no_new_privs(true).context("PR_SET_NO_NEW_PRIVS")?;
    let disk = options.disk()?;
    match (options.place.connect, options.place.vfio_user) {
        (Some(socket), _) => serve_vmm(&socket, disk),
        (_, Some(socket)) => serve_clients(&socket, disk),
        (None, None) => anyhow::bail!("no socket is named"),
    }
}

/// Behind virtio-mmio or virtio-pci, for shunt-vmm.
fn serve_vmm(socket: &Path, disk: Blk) -> anyhow::Result<()> {
    let session = Session::connect(socket).with_context(|| format!("at {}", socket.display()))?;
    let slot = Slot::of_session(&session).context("the descriptors")?;
    serve(session, &mut *slot.put(disk)).context("session ended")
}

/// Behind virtio-pci, for one vfio-user client after the other.
fn serve_clients(socket: &Path, disk: Blk) -> anyhow::Result<()> {
    let server =
        Server::bind(socket).with_context(|| format!("cannot listen at {}", socket.display()))?;
    println!("listening for vfio-user clients at {}", socket.display());
    let state = StatePage::create().context("the counters")?;
    let mut device = VirtioPci::new(disk, state);
    loop {
        if let Err(e) = server.serve_next(&mut device) {
            log::warn!("session ended: {e}");
        }
    }
}
