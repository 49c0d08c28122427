// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The guests that are booted, as data, and what is [reported](Report) of each.

mod bytes;
mod net;
mod nic;
mod pci;
mod report;
mod virtio_fe;

pub use report::{ByteReport, GuestReport, ImageReport, PacketReport, Report};

/// Where the disk's register accesses are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dispatch {
    /// In the VMM.
    Exit,
    /// In the device process, by way of the VMM.
    ExitIpc,
    /// In the device process, straight from KVM.
    Ioregion,
}

/// Which driver a guest has for its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// The kernel's own.
    Kernel,
    /// Ours, which the guest's initial RAM disk loads.
    VirtioFe,
    /// The kernel's own of virtio-rng.
    Rng,
    /// The kernel's own of virtio-console.
    Console,
    /// The kernel's own of an e1000.
    E1000,
    /// The kernel's own of an RTL8139.
    Rtl8139,
}

impl Driver {
    /// The module of a driver that is not built in.
    #[must_use]
    pub fn module(self) -> &'static str {
        match self {
            Self::Kernel => "virtio_net",
            Self::VirtioFe => "virtio_fe",
            Self::Rng => "virtio_rng",
            Self::Console => "virtio_console",
            Self::E1000 => "e1000",
            Self::Rtl8139 => "8139too",
        }
    }

    /// Whether its device is one of virtio's.
    #[must_use]
    pub fn is_virtio(self) -> bool {
        !matches!(self, Self::E1000 | Self::Rtl8139)
    }

    /// What the guest calls its disk.
    #[must_use]
    pub fn disk(self) -> &'static str {
        match self {
            Self::VirtioFe => "vfe0",
            _ => "vda",
        }
    }
}

/// What a guest does with its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Reads files, writes files, and reads those.
    Files,
    /// Reads blocks, so many and then some more, with marks between on its console.
    Load,
    /// Has no disk, but a network interface: pings L1, and has it send back what it was sent.
    Packets,
    /// Has no disk, but a network interface that sends frames back.
    Reflection,
    /// Has no disk, but random bytes to read, or a console that sends back what it was sent.
    Bytes,
}

impl Task {
    /// What it is called on the guest's command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Files => "work",
            Self::Load => "load",
            Self::Packets => "packets",
            Self::Reflection => "reflect",
            Self::Bytes => "bytes",
        }
    }
}

/// What a line of the guest's console has in it when the VMM is to note its counters.
pub const COUNTERS_MARK: &str = "@counters";

/// One guest: how its disk is dispatched, and what happens to the device process.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Unique; one word.
    pub name: &'static str,
    /// What the guest does.
    pub task: Task,
    /// What drives its device.
    pub driver: Driver,
    /// Where the registers are served.
    pub dispatch: Dispatch,
    /// More words of the VMM's `--disk` option.
    pub options: &'static [&'static str],
    /// More words for the device, in whatever process it is.
    pub device: &'static [&'static str],
    /// When device processes are killed, in this order.
    pub kills: &'static [Kill],
    /// CPUs of the guest, and of the L1 that it runs in. One is the fast way: under
    /// TCG, a second CPU makes a guest take two to four times as long.
    pub cpus: u32,
    /// Part of `lab run`.
    pub in_run: bool,
    /// Part of `lab test` without `--matrix`.
    pub in_test: bool,
}

/// When a device process is killed with SIGKILL, and a fresh one started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// The guest's progress message that arms it.
    pub stage: &'static str,
    /// From then on, the process dies at this crossing between itself and the kernel: each
    /// system call has two, its entry and its return. Twelve crossings or so serve one
    /// request: wait, receive the command, answer, read or write the image, interrupt.
    pub crossing: u32,
}

const fn kill(stage: &'static str, crossing: u32) -> Kill {
    Kill { stage, crossing }
}

/// Every state of an access while the guest writes, and some while it reads.
const KILLS: &[Kill] = &[
    kill("verifying", 7),
    kill("writing 1", 3),
    kill("writing 2", 4),
    kill("writing 3", 5),
    kill("writing 4", 6),
    kill("writing 5", 7),
    kill("writing 6", 8),
    kill("writing 7", 9),
    kill("writing 8", 10),
    kill("writing 9", 11),
    kill("writing 10", 12),
    kill("writing 11", 13),
    kill("writing 12", 14),
    kill("writing 16", 6),
    kill("rereading", 10),
];

/// Nothing but notifications comes to the device: reads are in memory, rules do the rest.
const RULES: &[&str] = &["tier=rules"];

const IOEVENTFD: &[&str] = &["notify=ioeventfd"];

/// What most scenarios are, but for the name.
const PLAIN: Scenario = Scenario {
    name: "",
    task: Task::Files,
    driver: Driver::Kernel,
    dispatch: Dispatch::Ioregion,
    options: &[],
    device: &[],
    kills: &[],
    cpus: 1,
    in_run: false,
    in_test: true,
};

/// Guests with the kernel's own driver, in the order in which they run.
const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "exit",
        dispatch: Dispatch::Exit,
        in_run: true,
        ..PLAIN
    },
    Scenario {
        name: "exit-ipc",
        dispatch: Dispatch::ExitIpc,
        in_run: true,
        ..PLAIN
    },
    Scenario {
        name: "ioregion",
        in_run: true,
        ..PLAIN
    },
    Scenario {
        name: "ioregion-ioeventfd",
        options: IOEVENTFD,
        in_run: true,
        ..PLAIN
    },
    Scenario {
        name: "ioregion-kill",
        kills: KILLS,
        in_run: true,
        ..PLAIN
    },
    Scenario {
        name: "ioregion-ring",
        options: &["channel=ring"],
        in_run: true,
        ..PLAIN
    },
    Scenario {
        name: "ioregion-shadow",
        options: RULES,
        in_run: true,
        ..PLAIN
    },
    Scenario {
        name: "ioregion-stream",
        options: &["channel=stream"],
        ..PLAIN
    },
    Scenario {
        name: "ioregion-pipe-kill",
        options: &["channel=pipe"],
        kills: KILLS,
        ..PLAIN
    },
    Scenario {
        name: "ioregion-posted-kill",
        options: &["posted=on"],
        kills: KILLS,
        ..PLAIN
    },
    Scenario {
        name: "ioregion-ring-kill",
        options: &["channel=ring"],
        kills: KILLS,
        ..PLAIN
    },
    Scenario {
        name: "ioregion-shadow-kill",
        options: RULES,
        kills: KILLS,
        ..PLAIN
    },
    Scenario {
        name: "ioregion-packed-kill",
        device: &["--packed", "--notification-data"],
        kills: KILLS,
        ..PLAIN
    },
    Scenario {
        name: "ioregion-shadow-packed-kill",
        options: RULES,
        device: &["--packed", "--in-order"],
        kills: KILLS,
        ..PLAIN
    },
    Scenario {
        name: "exit-ipc-shadow-kill",
        dispatch: Dispatch::ExitIpc,
        options: &["reads=shadow"],
        kills: KILLS,
        ..PLAIN
    },
    Scenario {
        name: "ioregion-ioeventfd-kill",
        options: IOEVENTFD,
        kills: KILLS,
        ..PLAIN
    },
    Scenario {
        name: "exit-ipc-ioeventfd-kill",
        dispatch: Dispatch::ExitIpc,
        options: IOEVENTFD,
        kills: KILLS,
        ..PLAIN
    },
    Scenario {
        name: "exit-smp",
        dispatch: Dispatch::Exit,
        cpus: 2,
        ..PLAIN
    },
    Scenario {
        name: "ioregion-smp-kill",
        kills: KILLS,
        cpus: 2,
        ..PLAIN
    },
    Scenario {
        name: "ioregion-shadow-smp-kill",
        options: &["tier=rules", "notify=ioeventfd"],
        kills: KILLS,
        cpus: 2,
        ..PLAIN
    },
];

/// What a load is, but for the name.
const LOAD: Scenario = Scenario {
    task: Task::Load,
    ..PLAIN
};

/// A load for every way to dispatch, from the one that asks most to the one that asks nobody, with
/// the kernel's own driver.
const LOADS: &[Scenario] = &[
    Scenario {
        name: "load-exit",
        dispatch: Dispatch::Exit,
        ..LOAD
    },
    Scenario {
        name: "load-exit-ipc",
        dispatch: Dispatch::ExitIpc,
        ..LOAD
    },
    Scenario {
        name: "load-ioregion",
        ..LOAD
    },
    Scenario {
        name: "load-channel",
        options: &["tier=ring"],
        ..LOAD
    },
    Scenario {
        name: "load-channel-shadow",
        options: &["tier=shadow"],
        ..LOAD
    },
    Scenario {
        name: "load-channel-shadow-rules",
        options: RULES,
        ..LOAD
    },
];

impl Scenario {
    /// Every guest that does its work with files or packets.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        let matrix = virtio_fe::MATRIX.iter().flatten();
        let fe = matrix.chain(virtio_fe::KILLED).chain(virtio_fe::RESET);
        SCENARIOS
            .iter()
            .chain(fe)
            .chain(net::PACKETS)
            .chain(pci::PCI)
            .chain(nic::NICS)
            .chain(bytes::BYTES)
    }

    /// Every guest whose requests are counted.
    pub fn loads() -> impl Iterator<Item = &'static Self> {
        LOADS.iter().chain(virtio_fe::LOADS)
    }

    /// The scenario or load of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        let mut all = Self::all().chain(Self::loads());
        all.find(|scenario| scenario.name == name)
    }

    /// Why there can be no such guest, if so.
    #[must_use]
    pub fn cannot(&self) -> Option<&'static str> {
        let has_data = self.device.contains(&"--notification-data");
        let is_matched = self.options.contains(&IOEVENTFD[0]);
        (has_data && is_matched).then_some(
            "a notification with data is not the number of a queue, for which an ioeventfd waits",
        )
    }

    /// Whether the device demands resets.
    #[must_use]
    pub fn needs_resets(&self) -> bool {
        let mut words = self.device.iter();
        words.any(|word| word.starts_with("--reset-every"))
    }

    /// Pairs of queues of its network interface.
    #[must_use]
    pub fn queue_pairs(&self) -> u64 {
        let mut words = self
            .device
            .iter()
            .filter_map(|word| word.strip_prefix("--queues="));
        words
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(1)
    }

    /// Whether the device is a process of its own.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.dispatch != Dispatch::Exit
    }

    /// What the VMM calls what the device serves.
    fn backend(&self) -> &'static str {
        match (self.task, self.driver) {
            (Task::Files | Task::Load, _) => "image",
            (Task::Packets | Task::Reflection, _) => "tap",
            (Task::Bytes, Driver::Console) => "console",
            (Task::Bytes, _) => "rng",
        }
    }

    /// The VMM's `--disk` option. `place` is the image or the tap for a device in the VMM,
    /// else the socket at which the device process calls.
    #[must_use]
    pub fn disk_option(&self, place: &str) -> String {
        let (key, dispatch) = match self.dispatch {
            Dispatch::Exit => (self.backend(), "exit"),
            Dispatch::ExitIpc => ("socket", "exit-ipc"),
            Dispatch::Ioregion => ("socket", "ioregion"),
        };
        let mut option = match key {
            "rng" => format!("{key},dispatch={dispatch}"),
            _ => format!("{key}={place},dispatch={dispatch}"),
        };
        let device = match self.is_remote() {
            true => &[],
            false => self.device,
        };
        let of_device = device.iter().map(|word| word.trim_start_matches("--"));
        for word in self.options.iter().copied().chain(of_device) {
            option.push(',');
            option.push_str(word);
        }
        option
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_words() {
        let all = || Scenario::all().chain(Scenario::loads());
        let names: HashSet<_> = all().map(|s| s.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(names.iter().all(|n| !n.contains([',', ' ', ':'])));
    }

    #[test]
    fn disk_options_follow_the_vmm() {
        let option = |name| Scenario::find(name).unwrap().disk_option("/x");
        assert_eq!(option("exit"), "image=/x,dispatch=exit");
        assert_eq!(
            option("ioregion-stream"),
            "socket=/x,dispatch=ioregion,channel=stream"
        );
        assert_eq!(
            option("fe-exit-split-in-order"),
            "image=/x,dispatch=exit,in-order"
        );
        assert_eq!(option("net-exit"), "tap=/x,dispatch=exit");
        assert_eq!(option("fe-exit-ipc-packed"), "socket=/x,dispatch=exit-ipc");
    }

    #[test]
    fn only_a_process_can_be_killed() {
        assert!(Scenario::all().all(|s| s.kills.is_empty() || s.is_remote()));
    }
}
