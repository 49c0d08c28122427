// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A network device in its own process, between a guest and a tap interface.

use std::path::PathBuf;

use anyhow::{ensure, Context};
use clap::Parser;
use shunt::device::Device;
use shunt::offer::Offer;
use shunt::serve::serve;
use shunt::session::Session;
use shunt::virtio_bus::Slot;
use shunt_net::e1000::E1000;
use shunt_net::fault::{Fault, Faulty};
use shunt_net::rtl8139::Rtl8139;
use shunt_net::tap::Tap;
use shunt_net::{Net, MAC, MOST_PAIRS};

/// Serves a tap interface as a network device to a VMM.
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
    /// What the device is. The VMM must have it as the same; virtio is behind virtio-mmio or
    /// virtio-pci, as the VMM has it.
    #[arg(long, value_enum, default_value_t = Model::Virtio)]
    model: Model,
    /// Pairs of queues. An interface that was made must have been made for as many, or for one.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = pairs)]
    queues: usize,
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

#[derive(Clone, Copy, clap::ValueEnum)]
enum Model {
    Virtio,
    E1000,
    Rtl8139,
}

fn pairs(text: &str) -> anyhow::Result<usize> {
    let pairs = text.parse()?;
    ensure!((1..=MOST_PAIRS).contains(&pairs), "1 to {MOST_PAIRS}");
    Ok(pairs)
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
        return Tap::make(&options.tap, user, options.queues).with_context(what);
    }
    let socket = options.connect.context("no socket is named")?;
    let taps = Tap::open(&options.tap, options.queues).with_context(what)?;
    let mac = options.mac.unwrap_or(MAC);
    let session = Session::connect(&socket).with_context(|| format!("at {}", socket.display()))?;
    let slot = Slot::of_session(&session).context("the descriptors")?;
    let one = |mut taps: Vec<Tap>| taps.pop().context("no queue");
    let mut device: Box<dyn Device> = match options.model {
        Model::Virtio => {
            let net = Net::new(taps, mac).context("the queues")?;
            let net = net.offering(options.offer.features());
            slot.put(if options.unmerged {
                net.unmerged()
            } else {
                net
            })
        }
        Model::E1000 => Box::new(E1000::new(one(taps)?, mac, slot).with_context(what)?),
        Model::Rtl8139 => Box::new(Rtl8139::new(one(taps)?, mac, slot).with_context(what)?),
    };
    if let Some(fault) = options.fault {
        device = Box::new(Faulty::new(device, session.state.clone(), fault));
    }
    serve(session, &mut *device).context("session ended")
}
