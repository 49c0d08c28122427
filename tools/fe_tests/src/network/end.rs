// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! An end of a wire: a network device in a namespace of its own.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::ops::Sub;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use anyhow::{ensure, Context, Result};

use super::namespace::{ip, run, Namespace};
use crate::program;

const DEVICES: &str = "/sys/class/net";

/// A network device, found by its MAC address, and not yet in a namespace.
pub struct Device {
    /// Its name.
    pub name: String,
}

impl Device {
    /// # Errors
    ///
    /// There is none.
    pub fn find(mac: &str) -> Result<Self> {
        for entry in fs::read_dir(DEVICES)? {
            let entry = entry?;
            let address = fs::read_to_string(entry.path().join("address"))?;
            if address.trim() == mac {
                let name = entry.file_name().to_string_lossy().into_owned();
                return Ok(Self { name });
            }
        }
        anyhow::bail!("no device has the address {mac}")
    }

    /// One that has this driver.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn of_driver(driver: &str) -> Result<Self> {
        for entry in fs::read_dir(DEVICES)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let device = Self { name };
            if device.driver().is_ok_and(|found| found == driver) {
                return Ok(device);
            }
        }
        anyhow::bail!("no device has the driver {driver}")
    }

    /// Its bus device, whose name `/proc/interrupts` has.
    pub fn parent(&self) -> Result<String> {
        let path = Path::new(DEVICES).join(&self.name).join("device");
        let path = path.canonicalize().context("its device")?;
        let name = path.file_name().context("a device without a name")?;
        Ok(name.to_string_lossy().into_owned())
    }

    /// Its driver.
    pub fn driver(&self) -> Result<String> {
        let path = Path::new(DEVICES).join(&self.name).join("device/driver");
        let link = fs::read_link(path).context("its driver")?;
        let name = link.file_name().context("a driver without a name")?;
        Ok(name.to_string_lossy().into_owned())
    }

    /// A file of its directory in sysfs, as a number.
    pub fn number(&self, name: &str) -> Result<u64> {
        let path = Path::new(DEVICES).join(&self.name).join(name);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        u64::from_str(text.trim()).with_context(|| format!("{name} is {text:?}"))
    }
}

/// An end of a wire.
pub struct End {
    /// Where it is.
    pub namespace: Namespace,
    /// Its address there, of a network of 256.
    pub address: Ipv4Addr,
    name: String,
}

impl End {
    /// Puts the device into a namespace, and sets it up. When this is dropped, it is back.
    pub fn new(mac: &str, address: Ipv4Addr) -> Result<Self> {
        let name = Device::find(mac)?.name;
        let namespace = Namespace::new()?;
        ip(&format!("link set {name} netns {}", namespace.id()))?;
        let this = Self {
            namespace,
            address,
            name,
        };
        this.namespace.ip("link set lo up")?;
        this.ip(&format!("addr add {address}/24 dev"))?;
        this.ip_with("link set", "mtu 1500")?;
        this.ip_with("link set", "up")?;
        Ok(this)
    }

    fn ip(&self, words: &str) -> Result<()> {
        self.namespace.ip(&format!("{words} {}", self.name))
    }

    /// `words`, the name of the device, and `rest`.
    pub fn ip_with(&self, words: &str, rest: &str) -> Result<()> {
        self.namespace.ip(&format!("{words} {} {rest}", self.name))
    }

    /// Its name, for programs that are told it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a program in the namespace; what it wrote.
    pub fn program(&self, name: &str, words: &str) -> Result<String> {
        let mut command = Command::new(name);
        command.args(words.split_whitespace());
        self.namespace.run(move || program::run(&mut command))
    }

    /// Tells it the MAC address of another end for good, so that it does not ask for it.
    pub fn knows(&self, other: &End, mac: &str) -> Result<()> {
        self.run(
            "arp",
            format!("-i {} -s {} {mac}", self.name, other.address),
        )?;
        Ok(())
    }

    /// Runs one of busybox's programs in the namespace.
    pub fn run(&self, program: &'static str, words: String) -> Result<String> {
        self.namespace.run(move || run(program, &words))
    }

    /// What the device counted: received packets and bytes, and sent ones; and errors of any kind.
    pub fn counters(&self) -> Result<Counters> {
        let name = self.name.clone();
        let table = self
            .namespace
            .run(|| fs::read_to_string("/proc/thread-self/net/dev").context("its counters"))?;
        let line = table
            .lines()
            .find_map(|line| line.trim().strip_prefix(&format!("{name}:")))
            .context("it is not counted")?;
        let numbers: Vec<u64> = line
            .split_whitespace()
            .map(u64::from_str)
            .collect::<Result<_, _>>()?;
        ensure!(numbers.len() >= 12, "{line}");
        Ok(Counters {
            received: [numbers[1], numbers[0]],
            sent: [numbers[9], numbers[8]],
            wrong: [&numbers[2..6], &numbers[10..12]].concat().iter().sum(),
        })
    }

    /// What the protocols of the namespace have counted, by names as `UdpInErrors`.
    pub fn protocols(&self) -> Result<BTreeMap<String, u64>> {
        let read = || fs::read_to_string("/proc/thread-self/net/snmp").context("snmp");
        let table = self.namespace.run(read)?;
        let lines: Vec<&str> = table.lines().collect();
        let mut counted = BTreeMap::new();
        // A line of names, and one of numbers.
        for pair in lines.chunks_exact(2) {
            let (protocol, names) = pair[0].split_once(": ").context("no protocol")?;
            let numbers = pair[1].split_whitespace().skip(1);
            for (name, number) in names.split_whitespace().zip(numbers) {
                // One of TCP's, which is no counter, is -1.
                counted.insert(format!("{protocol}{name}"), number.parse().unwrap_or(0));
            }
        }
        Ok(counted)
    }
}

impl Drop for End {
    /// By itself the kernel would take the device back some time later.
    fn drop(&mut self) {
        let _ = self.ip_with("link set", "netns 1");
    }
}

/// What a device counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Packets, and their bytes.
    pub received: [u64; 2],
    /// Packets, and their bytes.
    pub sent: [u64; 2],
    /// Errors and drops.
    pub wrong: u64,
}

impl Sub for Counters {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        let difference = |now: [u64; 2], then: [u64; 2]| [now[0] - then[0], now[1] - then[1]];
        Self {
            received: difference(self.received, before.received),
            sent: difference(self.sent, before.sent),
            wrong: self.wrong - before.wrong,
        }
    }
}
