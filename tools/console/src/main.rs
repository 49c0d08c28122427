// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A virtio console in its own process.

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use shunt::offer::Offer;
use shunt::serve::serve;
use shunt::session::Session;
use shunt::virtio_bus::Slot;
use shunt_console::Console;

/// Serves a terminal, a FIFO or the like as a virtio console to a VMM.
#[derive(Parser)]
struct Options {
    /// Socket where shunt-vmm listens. The process ends when the VMM hangs up.
    #[arg(long, value_name = "SOCKET")]
    connect: PathBuf,
    /// What has the console's other end. A FIFO sends everything back.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    offer: Offer,
}

fn main() -> anyhow::Result<()> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let options = Options::parse();
    rustix::thread::set_no_new_privs(true).context("PR_SET_NO_NEW_PRIVS")?;
    let console = Console::open(&options.file)
        .with_context(|| format!("cannot open {}", options.file.display()))?
        .offering(options.offer.features());
    let socket = &options.connect;
    let session = Session::connect(socket).with_context(|| format!("at {}", socket.display()))?;
    let slot = Slot::of_session(&session).context("the descriptors")?;
    serve(session, &mut *slot.put(console)).context("session ended")
}
