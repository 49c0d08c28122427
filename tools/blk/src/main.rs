// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A virtio-blk device in its own process, served from an image file.

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use shunt::serve::serve;
use shunt::session::Session;
use shunt::virtio_mmio::VirtioMmio;
use shunt_blk::Blk;

/// Serves an image file as a virtio-blk disk to a VMM; ends when the VMM hangs up.
#[derive(Parser)]
struct Options {
    /// Socket where the VMM listens.
    #[arg(long)]
    connect: PathBuf,
    /// The image.
    #[arg(long)]
    image: PathBuf,
    /// Refuse writes.
    #[arg(long)]
    read_only: bool,
}

fn main() -> anyhow::Result<()> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let options = Options::parse();
    rustix::thread::set_no_new_privs(true).context("PR_SET_NO_NEW_PRIVS")?;
    let disk = Blk::open(&options.image, options.read_only)
        .with_context(|| format!("cannot open the image {}", options.image.display()))?;
    let session = Session::connect(&options.connect)
        .with_context(|| format!("at {}", options.connect.display()))?;
    let interrupt = session
        .interrupt
        .try_clone()
        .context("cannot duplicate the interrupt")?;
    let mut device = VirtioMmio::new(
        disk,
        session.memory.clone(),
        session.state.clone(),
        interrupt,
    );
    serve(session, &mut device).context("session ended")
}
