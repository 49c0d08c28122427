// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a scenario promises beyond a guest that ended well: that all files were there, and
//! that the disk's registers were dispatched the way it says and no other.

use l1::scenario::{Dispatch, Report, Scenario, Task};
use virtio_spec::features::Features;
use virtio_spec::net::feature::MRG_RXBUF;

use super::{Counters, VmmReport};

/// How often a guest pings: four sizes.
const PINGS: u64 = 4 * 25;

/// Bytes of a packet that needs not be cut: an MTU of 1500, and an Ethernet header.
const UNCUT: u64 = 1514;

/// Collects what does not hold.
#[derive(Default)]
struct Broken(Vec<String>);

impl Broken {
    fn unless(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }

    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: T, expected: T) {
        self.unless(found == expected, || {
            format!("{what}: {found:?}, should be {expected:?}")
        });
    }
}

/// Everything that the report of a guest shows to be otherwise than promised.
pub(super) fn broken(scenario: &Scenario, report: &Report, files: u64) -> Vec<String> {
    let mut broken = Broken::default();
    match scenario.task {
        Task::Packets => check_packets(scenario, report, &mut broken),
        Task::Bytes => check_bytes_of_guest(scenario, report, &mut broken),
        Task::Files | Task::Load | Task::Reflection => check_files(report, files, &mut broken),
    }
    check_processes(scenario, report, &mut broken);
    check_features(scenario, report, &mut broken);
    match VmmReport::of(report) {
        Ok(vmm) => check_dispatch(scenario, report, &vmm, &mut broken),
        Err(error) => broken.0.push(format!("{error:#}")),
    }
    broken.0
}

/// The files are those that the lab made the image with, seen from inside and outside.
fn check_files(report: &Report, files: u64, broken: &mut Broken) {
    let (Some(guest), Some(image)) = (&report.guest, &report.image) else {
        broken.0.push("guest or image was not examined".to_owned());
        return;
    };
    broken.equal("files verified by the guest", guest.files_verified, files);
    broken.equal("original files in the image", image.files_original, files);
    broken.equal(
        "written files in the image",
        image.files_written,
        guest.files_written,
    );
    broken.unless(guest.files_written > 0, || {
        "the guest wrote no file".to_owned()
    });
}

/// Everything that was sent came, and came back; and most of it was sent in packets that are left to the
/// device's side to be cut, where it can be gathered.
fn check_packets(scenario: &Scenario, report: &Report, broken: &mut Broken) {
    let Some(guest) = &report.packets else {
        broken.0.push("no report of packets".to_owned());
        return;
    };
    broken.equal("driver", guest.driver.as_str(), scenario.driver.module());
    broken.equal("queues", guest.queues, scenario.queue_pairs());
    broken.equal("pings answered", guest.pings, PINGS);
    broken.equal("packets lost", guest.lost, 0);
    broken.unless(guest.echoed > 0, || "nothing was echoed".to_owned());
    for (what, [packets, bytes]) in [("received", guest.received), ("sent", guest.sent)] {
        broken.unless(packets > PINGS && bytes > guest.echoed, || {
            format!("{what}: {packets} packets of {bytes} bytes")
        });
    }
    let [packets, bytes] = guest.sent;
    if !scenario.driver.is_virtio() {
        return;
    }
    // A device in the VMM has sent what is written to a socket before there is more, and L1 has
    // acknowledged it.
    let is_gathered = scenario.dispatch != Dispatch::Exit;
    broken.unless(!is_gathered || bytes > packets * UNCUT, || {
        format!("sent: {bytes} bytes in as many as {packets} packets")
    });
    let mergeable = Features::from_bits(guest.features).has(MRG_RXBUF);
    let is_offered = !scenario.device.contains(&"--unmerged");
    broken.equal("mergeable buffers", mergeable, is_offered);
}

/// Bytes came, and were what they should be.
fn check_bytes_of_guest(scenario: &Scenario, report: &Report, broken: &mut Broken) {
    let Some(guest) = &report.bytes else {
        broken.0.push("no report of bytes".to_owned());
        return;
    };
    broken.equal("driver", guest.driver.as_str(), scenario.driver.module());
    broken.unless(guest.bytes > 0, || "no bytes".to_owned());
}

fn check_processes(scenario: &Scenario, report: &Report, broken: &mut Broken) {
    let processes = match scenario.is_remote() {
        true => 1 + scenario.kills.len() as u32,
        false => 0,
    };
    broken.equal("device processes", report.device_processes, processes);
    let is_unprivileged = report.device_uid.is_some_and(|uid| uid != 0);
    broken.unless(is_unprivileged == scenario.is_remote(), || {
        format!("the device process ran as user {:?}", report.device_uid)
    });
}

/// Of what a device process offers besides, the driver chooses all, and nothing else.
fn check_features(scenario: &Scenario, report: &Report, broken: &mut Broken) {
    let of_disk = report.guest.as_ref().map(|guest| {
        broken.equal("disk", guest.disk.as_str(), scenario.driver.disk());
        guest.features
    });
    let of_interface = report.packets.as_ref().map(|packets| packets.features);
    let of_bytes = report.bytes.as_ref().map(|bytes| bytes.features);
    let Some(features) = of_disk.or(of_interface).or(of_bytes) else {
        return;
    };
    for (option, feature) in [
        ("--packed", Features::RING_PACKED),
        ("--in-order", Features::IN_ORDER),
        ("--notification-data", Features::NOTIFICATION_DATA),
    ] {
        let is_chosen = Features::from_bits(features).has(feature);
        broken.equal(option, is_chosen, scenario.device.contains(&option));
    }
}

fn check_dispatch(scenario: &Scenario, report: &Report, vmm: &VmmReport, broken: &mut Broken) {
    let disk = &vmm.disks[0];
    let (counters, by) = (&disk.counters, disk.counters.accesses());
    broken.equal(
        "processes attached",
        disk.processes,
        report.device_processes.into(),
    );
    broken.equal("failed requests", counters.failed_requests, 0);
    broken.equal("bad register accesses", counters.bad_accesses, 0);
    check_resets(scenario, report, counters, broken);
    let dies = !scenario.kills.is_empty();
    // KVM hands over to the VMM only when an access failed because its process died.
    let paths = (by.kvm > 0, by.vmm > 0, by.in_process > 0);
    let as_promised = match scenario.dispatch {
        Dispatch::Exit => paths == (false, false, true),
        Dispatch::ExitIpc => paths == (false, true, false),
        Dispatch::Ioregion if dies => paths.0 && !paths.2,
        Dispatch::Ioregion => paths == (true, false, false),
    };
    broken.unless(as_promised, || format!("register accesses: {by:?}"));
    check_rules(scenario, counters, broken);
    let by_event = scenario.options.contains(&"notify=ioeventfd");
    broken.equal("notified by eventfd", counters.notify_eventfd > 0, by_event);
    // A rule's eventfd goes with the region, when its process dies.
    let by_either = by_event && dies && scenario.options.contains(&"tier=rules");
    let by_register = counters.notify_register > 0;
    broken.equal(
        "notified by register",
        by_register,
        !by_event || by_either && by_register,
    );
    check_bytes(report, counters, broken);
}

/// The driver resets the device when that demands it, and gives each request again that the device
/// had and did not carry out, and no other.
fn check_resets(scenario: &Scenario, report: &Report, counters: &Counters, broken: &mut Broken) {
    let demanded = counters.resets_demanded;
    let Some(guest) = &report.guest else {
        return;
    };
    if !scenario.needs_resets() {
        broken.equal("resets demanded, made", (demanded, guest.resets), (0, 0));
        return;
    }
    broken.unless(demanded > 0, || "no reset was demanded".to_owned());
    // The guest has a request left when it reports: the flush before it resets the machine.
    let is_made = [demanded, demanded.saturating_sub(1)].contains(&guest.resets);
    broken.unless(is_made, || {
        format!("resets made: {}, demanded: {demanded}", guest.resets)
    });
    let written = guest.sectors_written * 512;
    broken.equal("bytes written once", counters.bytes_written, written);
}

/// What a scenario's options keep away from the device process, as long as it lives.
fn check_rules(scenario: &Scenario, counters: &Counters, broken: &mut Broken) {
    let has_rules = scenario.options.contains(&"tier=rules");
    let is_read_in_memory = has_rules || scenario.options.contains(&"reads=shadow");
    if is_read_in_memory {
        // No interrupt comes before the first device process has published the registers.
        let reads = counters.interrupt_status_reads;
        broken.equal("reads of InterruptStatus by the device", reads, 0);
    }
    if has_rules && scenario.kills.is_empty() {
        let acks = counters.interrupt_acks;
        broken.equal("interrupts acknowledged by the device", acks, 0);
    }
}

fn check_bytes(report: &Report, counters: &Counters, broken: &mut Broken) {
    if let Some(guest) = &report.guest {
        // A redone request counts twice, so the device may have done more than the guest saw.
        for (what, device, sectors) in [
            ("read", counters.bytes_read, guest.sectors_read),
            ("written", counters.bytes_written, guest.sectors_written),
        ] {
            broken.unless(device >= sectors * 512, || {
                format!("the device has {what} {device} bytes, the guest {sectors} sectors")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use l1::scenario::{GuestReport, ImageReport, PacketReport};
    use serde_json::{json, Value};

    const FILES: u64 = 488;

    /// What a good run of the scenario `ioregion` reports.
    fn good() -> Report {
        Report {
            scenario: "ioregion".into(),
            guest: Some(GuestReport {
                files_verified: FILES,
                files_written: 16,
                bytes_written: 4096,
                disk: "vda".to_owned(),
                features: Features::VERSION_1.bits(),
                resets: 0,
                sectors_read: 100,
                sectors_written: 10,
                manifest: String::new(),
            }),
            image: Some(ImageReport {
                files_original: FILES,
                files_written: 16,
            }),
            vmm: Some(json!({
                "vcpus": [{"mmio": 1, "io": 200}],
                "disks": [{"processes": 1, "counters": {
                    "register_reads": {"kvm": 800, "vmm": 0, "in_process": 0},
                    "register_writes": {"kvm": 1700, "vmm": 0, "in_process": 0},
                    "bad_accesses": 0, "failed_requests": 0, "resets_demanded": 0,
                    "bytes_read": 51200, "bytes_written": 5120,
                    "notify_register": 800, "notify_eventfd": 0,
                    "interrupt_status_reads": 0, "interrupt_acks": 0,
                }}],
            })),
            device_processes: 1,
            device_uid: Some(65534),
            ..Report::default()
        }
    }

    fn broken_in(name: &str, report: &Report) -> usize {
        broken(Scenario::find(name).unwrap(), report, FILES).len()
    }

    #[test]
    fn a_good_report_breaks_no_promise() {
        assert_eq!(broken_in("ioregion", &good()), 0);
    }

    #[test]
    fn another_way_than_promised_is_found() {
        for name in ["exit", "exit-ipc", "ioregion-ioeventfd", "ioregion-kill"] {
            assert!(broken_in(name, &good()) > 0, "{name}");
        }
    }

    #[test]
    fn each_number_counts() {
        let disk = "/disks/0/counters";
        for (place, value) in [
            (format!("{disk}/register_reads/vmm"), 1),
            (format!("{disk}/register_writes/in_process"), 1),
            (format!("{disk}/bad_accesses"), 1),
            (format!("{disk}/failed_requests"), 1),
            (format!("{disk}/resets_demanded"), 1),
            (format!("{disk}/bytes_read"), 51199),
            (format!("{disk}/bytes_written"), 5119),
            (format!("{disk}/notify_register"), 0),
            (format!("{disk}/notify_eventfd"), 1),
            ("/disks/0/processes".to_owned(), 2),
        ] {
            let mut report = good();
            let vmm = report.vmm.as_mut().unwrap();
            *vmm.pointer_mut(&place).unwrap() = Value::from(value);
            assert_eq!(broken_in("ioregion", &report), 1, "{place}");
        }
    }

    #[test]
    fn demanded_resets_are_made_and_nothing_is_written_twice() {
        let mut good = good();
        let guest = good.guest.as_mut().unwrap();
        guest.disk = "vfe0".to_owned();
        guest.features |= Features::RING_PACKED.bits();
        guest.resets = 3;
        let counters = "/disks/0/counters";
        let with = |resets: u64, bytes: u64| {
            let mut report = good.clone();
            let vmm = report.vmm.as_mut().unwrap();
            for (counter, value) in [("resets_demanded", resets), ("bytes_written", bytes)] {
                let place = format!("{counters}/{counter}");
                *vmm.pointer_mut(&place).unwrap() = Value::from(value);
            }
            broken_in("fe-ioregion-needs-reset", &report)
        };
        assert_eq!(with(3, 5120), 0);
        assert_eq!(with(4, 5120), 0);
        assert_eq!(with(2, 5120), 1);
        assert_eq!(with(5, 5120), 1);
        assert_eq!(with(3, 5632), 1);
    }

    #[test]
    fn packets_are_counted() {
        let good = || {
            let mut report = good();
            (report.guest, report.image) = (None, None);
            report.packets = Some(PacketReport {
                driver: "virtio_net".to_owned(),
                features: Features::RING_PACKED.with(MRG_RXBUF).bits(),
                queues: 1,
                pings: PINGS,
                echoed: 1000,
                received: [PINGS + 10, 2000],
                sent: [PINGS + 10, 200_000],
                lost: 0,
            });
            report
        };
        assert_eq!(broken_in("net-ioregion-packed", &good()), 0);
        type Break = fn(&mut PacketReport);
        let breaks: [Break; 8] = [
            |packets| packets.driver = "virtio_fe".to_owned(),
            |packets| packets.features = MRG_RXBUF.bits(),
            |packets| packets.features = Features::RING_PACKED.bits(),
            |packets| packets.pings -= 1,
            |packets| packets.received[1] = 1000,
            |packets| packets.sent[0] = PINGS,
            |packets| packets.sent[1] = UNCUT * packets.sent[0],
            |packets| packets.lost = 1,
        ];
        for (number, broken) in breaks.iter().enumerate() {
            let mut report = good();
            broken(report.packets.as_mut().unwrap());
            assert_eq!(broken_in("net-ioregion-packed", &report), 1, "{number}");
        }
    }

    #[test]
    fn rules_keep_acknowledgements_from_the_device() {
        for (name, counter, broken) in [
            ("ioregion", "interrupt_status_reads", 0),
            ("ioregion", "interrupt_acks", 0),
            ("ioregion-shadow", "interrupt_status_reads", 1),
            ("ioregion-shadow", "interrupt_acks", 1),
        ] {
            let mut report = good();
            let vmm = report.vmm.as_mut().unwrap();
            let place = format!("/disks/0/counters/{counter}");
            *vmm.pointer_mut(&place).unwrap() = Value::from(1);
            assert_eq!(broken_in(name, &report), broken, "{name}, {counter}");
        }
    }

    #[test]
    fn missing_parts_are_found() {
        type Break = fn(&mut Report);
        let breaks: [Break; 9] = [
            |report| report.guest = None,
            |report| report.image = None,
            |report| report.vmm = None,
            |report| {
                report.guest.as_mut().unwrap().features |= Features::RING_PACKED.bits();
            },
            |report| report.guest.as_mut().unwrap().disk = "vfe0".to_owned(),
            |report| report.guest.as_mut().unwrap().files_verified -= 1,
            |report| report.image.as_mut().unwrap().files_written -= 1,
            |report| report.device_uid = Some(0),
            |report| report.device_processes = 0,
        ];
        for (number, broken) in breaks.iter().enumerate() {
            let mut report = good();
            broken(&mut report);
            assert!(broken_in("ioregion", &report) > 0, "break {number}");
        }
    }
}
