// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A virtio-net device in its own process, between a guest and a tap interface.

use std::path::PathBuf;

use anyhow::{ensure, Context};
use clap::Parser;
use shunt::offer::Offer;
use shunt::serve::serve;
use shunt::session::Session;
use shunt::virtio_mmio::VirtioMmio;
use shunt_net::fault::{Fault, Faulty};
use shunt_net::tap::Tap;
use shunt_net::{Net, MAC};

/// Serves a tap interface as a virtio-net device to a VMM.
#[derive(Parser)]
struct Options {
    /// Socket where shunt-vmm listens. The process ends when the VMM hangs up.
    #[arg(long, value_name = "SOCKET", required_unless_present = "make_for")]
    connect: Option<PathBuf>,
    /// Make the interface, for the user of this number to attach to, and end.
    #[arg(long, value_name = "UID", conflicts_with = "connect")]
    make_for: Option<u32>,
    /// The interface. It must be this user's, or there must be none and the user be allowed to
    /// make one.
    #[arg(long, value_name = "NAME")]
    tap: String,
    /// The guest's address [default: 52:54:00:73:68:01]
    #[arg(long, value_parser = mac)]
    mac: Option<[u8; 6]>,
    /// Give the driver each packet in one buffer (no VIRTIO_NET_F_MRG_RXBUF).
    #[arg(long)]
    unmerged: bool,
    /// Do one thing wrong each so many times, late-ack=N or lost-notification=N: for tests.
    #[arg(long, value_name = "FAULT")]
    fault: Option<Fault>,
    #[command(flatten)]
    offer: Offer,
}

fn mac(text: &str) -> anyhow::Result<[u8; 6]> {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()?;
    let mac: [u8; 6] = bytes.try_into().ok().context("six bytes, please")?;
    ensure!(mac[0] & 1 == 0, "the address of a group");
    Ok(mac)
}

fn main() -> anyhow::Result<()> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let options = Options::parse();
    rustix::thread::set_no_new_privs(true).context("PR_SET_NO_NEW_PRIVS")?;
    let what = || format!("the tap {}", options.tap);
    if let Some(user) = options.make_for {
        return Tap::make(&options.tap, user).with_context(what);
    }
    let socket = options.connect.context("no socket is named")?;
    let tap = Tap::open(&options.tap).with_context(what)?;
    let mut net = Net::new(tap, options.mac.unwrap_or(MAC)).offering(options.offer.features());
    if options.unmerged {
        net = net.unmerged();
    }
    let session = Session::connect(&socket).with_context(|| format!("at {}", socket.display()))?;
    let mut device = VirtioMmio::of_session(net, &session).context("the interrupt")?;
    let ended = match options.fault {
        Some(fault) => {
            let state = session.state.clone();
            serve(session, &mut Faulty::new(device, state, fault))
        }
        None => serve(session, &mut device),
    };
    ended.context("session ended")
}
