// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The `--disk` option.

use std::{path::PathBuf, str::FromStr, time::Duration};

use shunt::channel::Transport;
use shunt_net::MOST_PAIRS;
use virtio_spec::features::Features;

use crate::{
    pairs::{BadSpec, Keys, Pairs},
    pci::model::{Model, MODELS, NAMES},
};

const RNG: &str = "rng";
const CONSOLE: &str = "console";
const READONLY: &str = "readonly";
const PACKED: &str = "packed";
const IN_ORDER: &str = "in-order";
const NOTIFICATION_DATA: &str = "notification-data";

const KEYS: Keys = Keys {
    all: &[
        "image",
        "tap",
        "queues",
        CONSOLE,
        RNG,
        "socket",
        "dispatch",
        "pci",
        READONLY,
        PACKED,
        IN_ORDER,
        NOTIFICATION_DATA,
        "tier",
        "notify",
        "channel",
        "posted",
        "reads",
        "rules",
        "timeout",
    ],
    flags: &[RNG, READONLY, PACKED, IN_ORDER, NOTIFICATION_DATA],
};

/// What `--disk` describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DiskSpec {
    /// `dispatch=exit`.
    Hosted(HostedSpec),
    /// `dispatch=exit-ipc` and `dispatch=ioregion`.
    Served(ServedSpec),
}

/// A disk in the VMM's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostedSpec {
    /// What it serves.
    pub(crate) backend: Backend,
    /// What its driver may choose besides.
    pub(crate) offer: Features,
    /// Where the guest reads registers.
    pub(crate) reads: Reads,
    /// On PCI, as what; else it is behind virtio-mmio.
    pub(crate) model: Option<Model>,
}

/// What a device in the VMM's process serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// A disk.
    Image {
        /// Its file.
        path: PathBuf,
        /// The guest cannot write.
        read_only: bool,
    },
    /// A network interface: the tap of this name.
    Tap {
        /// Its name.
        name: String,
        /// Pairs of queues.
        queues: usize,
    },
    /// A console whose other end has this file.
    Console(PathBuf),
    /// Random numbers.
    Rng,
}

/// A disk in a device process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServedSpec {
    /// Where device processes connect.
    pub(crate) socket: PathBuf,
    /// How the guest's queue notifications come.
    pub(crate) notify: Notify,
    /// Where the guest reads registers.
    pub(crate) reads: Reads,
    /// A process that takes longer for an access is given up.
    pub(crate) timeout: Option<Duration>,
    /// On PCI, as what; else it is behind virtio-mmio.
    pub(crate) model: Option<Model>,
    /// Who forwards register accesses.
    pub(crate) forwarder: Forwarder,
}

/// Where the guest reads registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// The device answers each read.
    Device,
    /// In the device's shadow registers, without an exit.
    Shadow,
}

/// How queue notifications come to the device process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notify {
    /// As every register write.
    Register,
    /// By an eventfd that KVM signals.
    Ioeventfd,
}

/// Who forwards register accesses to the device process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forwarder {
    /// `exit-ipc`.
    Vmm,
    /// `ioregion`.
    Kvm {
        /// What KVM's channel is made of.
        channel: Carrier,
        /// Writes of `QueueNotify` do not wait for the device process.
        posted: bool,
        /// KVM completes `InterruptACK` and `QueueNotify` by itself.
        rules: bool,
    },
}

/// What carries accesses from KVM to the device process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Messages, of this kind.
    Frames(Transport),
    /// A ring in shared memory.
    Ring,
}

impl DiskSpec {
    /// The value of `dispatch`.
    pub(crate) fn dispatch(&self) -> &'static str {
        match self {
            Self::Hosted(_) => "exit",
            Self::Served(served) => match served.forwarder {
                Forwarder::Vmm => "exit-ipc",
                Forwarder::Kvm { .. } => "ioregion",
            },
        }
    }
}

impl DiskSpec {
    /// As which PCI device the guest has it, if it is one.
    pub(crate) fn model(&self) -> Option<Model> {
        match self {
            Self::Hosted(hosted) => hosted.model,
            Self::Served(served) => served.model,
        }
    }

    fn reads(&self) -> Reads {
        match self {
            Self::Hosted(hosted) => hosted.reads,
            Self::Served(served) => served.reads,
        }
    }
}

/// What `tier` chooses, unless another key does.
#[derive(Clone, Copy)]
struct Tier {
    channel: Carrier,
    reads: Reads,
    rules: bool,
}

const MESSAGES: Tier = Tier {
    channel: Carrier::Frames(Transport::Seqpacket),
    reads: Reads::Device,
    rules: false,
};
const RING: Tier = Tier {
    channel: Carrier::Ring,
    ..MESSAGES
};
const SHADOW: Tier = Tier {
    reads: Reads::Shadow,
    ..RING
};
const RULES: Tier = Tier {
    rules: true,
    ..SHADOW
};

impl FromStr for DiskSpec {
    type Err = BadSpec;

    fn from_str(text: &str) -> Result<Self, BadSpec> {
        let mut pairs = Pairs::parse(text, &KEYS)?;
        let dispatch = pairs.take("dispatch");
        let spec = match dispatch.ok_or(BadSpec::Missing("dispatch"))?.as_str() {
            "exit" => Self::Hosted(HostedSpec {
                backend: backend(&mut pairs)?,
                offer: offer(&mut pairs),
                reads: reads(&mut pairs, Reads::Device)?,
                model: model(&mut pairs)?,
            }),
            "exit-ipc" => Self::Served(ServedSpec {
                socket: pairs.need("socket", "exit-ipc")?.into(),
                notify: notify(&mut pairs)?,
                reads: reads(&mut pairs, Reads::Device)?,
                timeout: timeout(&mut pairs)?,
                model: model(&mut pairs)?,
                forwarder: Forwarder::Vmm,
            }),
            "ioregion" => Self::Served(by_kvm(&mut pairs)?),
            other => {
                let choices = "exit, exit-ipc, ioregion";
                return Err(BadSpec::BadValue("dispatch", other.to_owned(), choices));
            }
        };
        pairs.none_left(spec.dispatch())?;
        match (spec.model(), &spec) {
            (Some(_), _) if spec.reads() == Reads::Shadow => Err(BadSpec::ShadowOnPci),
            (Some(model), Self::Served(served))
                if model.has_pin() && served.notify == Notify::Ioeventfd =>
            {
                let value = "ioeventfd".to_owned();
                Err(BadSpec::BadValue(
                    "notify",
                    value,
                    "register with this device",
                ))
            }
            _ => Ok(spec),
        }
    }
}

fn backend(pairs: &mut Pairs) -> Result<Backend, BadSpec> {
    if let Some(tap) = pairs.take("tap") {
        let queues = queues(pairs)?;
        return Ok(Backend::Tap { name: tap, queues });
    }
    if let Some(file) = pairs.take(CONSOLE) {
        return Ok(Backend::Console(file.into()));
    }
    if pairs.take(RNG).is_some() {
        return Ok(Backend::Rng);
    }
    Ok(Backend::Image {
        path: pairs.need("image", "exit")?.into(),
        read_only: pairs.take(READONLY).is_some(),
    })
}

fn queues(pairs: &mut Pairs) -> Result<usize, BadSpec> {
    let Some(value) = pairs.take("queues") else {
        return Ok(1);
    };
    match value.parse() {
        Ok(queues @ 1..=MOST_PAIRS) => Ok(queues),
        _ => Err(BadSpec::BadValue("queues", value, "1 to 7")),
    }
}

fn offer(pairs: &mut Pairs) -> Features {
    [
        (PACKED, Features::RING_PACKED),
        (IN_ORDER, Features::IN_ORDER),
        (NOTIFICATION_DATA, Features::NOTIFICATION_DATA),
    ]
    .into_iter()
    .filter(|(flag, _)| pairs.take(flag).is_some())
    .fold(Features::default(), |all, (_, feature)| all.with(feature))
}

fn by_kvm(pairs: &mut Pairs) -> Result<ServedSpec, BadSpec> {
    let socket = pairs.need("socket", "ioregion")?.into();
    let model = model(pairs)?;
    let mut tier = tier(pairs)?;
    if model.is_some() && tier.rules {
        // The rules of PCI devices are notifications; their drivers need not read anything.
        tier.reads = Reads::Device;
    }
    let forwarder = Forwarder::Kvm {
        channel: channel(pairs, tier.channel)?,
        posted: switch(pairs, "posted", false)?,
        rules: switch(pairs, "rules", tier.rules)?,
    };
    if matches!(
        forwarder,
        Forwarder::Kvm {
            posted: true,
            rules: true,
            ..
        }
    ) {
        return Err(BadSpec::PostedWithRules);
    }
    Ok(ServedSpec {
        socket,
        notify: notify(pairs)?,
        reads: reads(pairs, tier.reads)?,
        timeout: timeout(pairs)?,
        model,
        forwarder,
    })
}

fn model(pairs: &mut Pairs) -> Result<Option<Model>, BadSpec> {
    let some: Vec<_> = MODELS
        .iter()
        .map(|&(name, model)| (name, Some(model)))
        .collect();
    pairs.choose("pci", None, NAMES, &some)
}

fn tier(pairs: &mut Pairs) -> Result<Tier, BadSpec> {
    pairs.choose(
        "tier",
        MESSAGES,
        "messages, ring, shadow, rules",
        &[
            ("messages", MESSAGES),
            ("ring", RING),
            ("shadow", SHADOW),
            ("rules", RULES),
        ],
    )
}

fn notify(pairs: &mut Pairs) -> Result<Notify, BadSpec> {
    pairs.choose(
        "notify",
        Notify::Register,
        "register, ioeventfd",
        &[
            ("register", Notify::Register),
            ("ioeventfd", Notify::Ioeventfd),
        ],
    )
}

fn reads(pairs: &mut Pairs, default: Reads) -> Result<Reads, BadSpec> {
    pairs.choose(
        "reads",
        default,
        "device, shadow",
        &[("device", Reads::Device), ("shadow", Reads::Shadow)],
    )
}

fn channel(pairs: &mut Pairs, default: Carrier) -> Result<Carrier, BadSpec> {
    pairs.choose(
        "channel",
        default,
        "seqpacket, stream, pipe, ring",
        &[
            ("seqpacket", Carrier::Frames(Transport::Seqpacket)),
            ("stream", Carrier::Frames(Transport::Stream)),
            ("pipe", Carrier::Frames(Transport::Pipe)),
            ("ring", Carrier::Ring),
        ],
    )
}

fn switch(pairs: &mut Pairs, key: &'static str, default: bool) -> Result<bool, BadSpec> {
    pairs.choose(key, default, "off, on", &[("off", false), ("on", true)])
}

/// Milliseconds.
fn timeout(pairs: &mut Pairs) -> Result<Option<Duration>, BadSpec> {
    let Some(value) = pairs.take("timeout") else {
        return Ok(None);
    };
    match value.parse() {
        Ok(milliseconds @ 1..=0xffff_ffff) => Ok(Some(Duration::from_millis(milliseconds))),
        _ => Err(BadSpec::BadValue("timeout", value, "1 to 4294967295 ms")),
    }
}

#[cfg(test)]
mod tests;
