// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

use super::*;

fn served(notify: Notify, forwarder: Forwarder) -> DiskSpec {
    with_reads(Reads::Device, notify, forwarder)
}

fn with_reads(reads: Reads, notify: Notify, forwarder: Forwarder) -> DiskSpec {
    DiskSpec::Served(ServedSpec {
        socket: "/s".into(),
        notify,
        reads,
        timeout: None,
        model: None,
        forwarder,
    })
}

fn frames(transport: Transport, posted: bool) -> Forwarder {
    by_kvm(Carrier::Frames(transport), posted)
}

fn by_kvm(channel: Carrier, posted: bool) -> Forwarder {
    Forwarder::Kvm {
        channel,
        posted,
        rules: false,
    }
}

fn by_rules(channel: Carrier) -> Forwarder {
    Forwarder::Kvm {
        channel,
        posted: false,
        rules: true,
    }
}

#[test]
fn every_form_is_understood() {
    let hosted = |read_only, offer| {
        DiskSpec::Hosted(HostedSpec {
            backend: Backend::Image {
                path: "/i".into(),
                read_only,
            },
            offer,
            reads: Reads::Device,
            model: None,
        })
    };
    let plain = frames(Transport::Seqpacket, false);
    for (text, want) in [
        ("image=/i,dispatch=exit", hosted(false, Features::default())),
        (
            "readonly,dispatch=exit,image=/i,packed",
            hosted(true, Features::RING_PACKED),
        ),
        (
            "image=/i,dispatch=exit,in-order,notification-data",
            hosted(false, Features::IN_ORDER.with(Features::NOTIFICATION_DATA)),
        ),
        (
            "socket=/s,dispatch=exit-ipc",
            served(Notify::Register, Forwarder::Vmm),
        ),
        (
            "socket=/s,dispatch=exit-ipc,notify=ioeventfd",
            served(Notify::Ioeventfd, Forwarder::Vmm),
        ),
        (
            "socket=/s,dispatch=ioregion",
            served(Notify::Register, plain),
        ),
        (
            "socket=/s,dispatch=ioregion,channel=pipe,posted=on,notify=register",
            served(Notify::Register, frames(Transport::Pipe, true)),
        ),
        (
            "socket=/s,dispatch=ioregion,channel=stream,posted=off",
            served(Notify::Register, frames(Transport::Stream, false)),
        ),
        (
            "socket=/s,dispatch=ioregion,channel=ring,posted=on",
            served(Notify::Register, by_kvm(Carrier::Ring, true)),
        ),
    ] {
        assert_eq!(text.parse(), Ok(want), "{text}");
    }
}

#[test]
fn a_tier_is_a_set_of_defaults() {
    let (by_register, shadow) = (Notify::Register, Reads::Shadow);
    let stream = Carrier::Frames(Transport::Stream);
    for (text, want) in [
        (
            "tier=messages",
            served(by_register, frames(Transport::Seqpacket, false)),
        ),
        (
            "tier=ring",
            served(by_register, by_kvm(Carrier::Ring, false)),
        ),
        (
            "tier=shadow,posted=on",
            with_reads(shadow, by_register, by_kvm(Carrier::Ring, true)),
        ),
        (
            "tier=rules",
            with_reads(shadow, by_register, by_rules(Carrier::Ring)),
        ),
        (
            "channel=stream,reads=device,tier=rules,notify=ioeventfd",
            served(Notify::Ioeventfd, by_rules(stream)),
        ),
        (
            "tier=rules,rules=off,posted=on",
            with_reads(shadow, by_register, by_kvm(Carrier::Ring, true)),
        ),
    ] {
        let text = format!("socket=/s,dispatch=ioregion,{text}");
        assert_eq!(text.parse(), Ok(want), "{text}");
    }
}

#[test]
fn a_pci_device_has_no_shadow_registers() {
    for tier in ["messages", "ring", "rules"] {
        let text = format!("socket=/s,dispatch=ioregion,pci=net,tier={tier}");
        let spec = text.parse::<DiskSpec>().unwrap();
        assert_eq!(
            (spec.model(), spec.reads()),
            (Some(Model::Net), Reads::Device)
        );
    }
    for text in [
        "socket=/s,dispatch=ioregion,tier=shadow",
        "image=/i,dispatch=exit,reads=shadow",
    ] {
        let refused = format!("{text},pci=blk").parse::<DiskSpec>();
        assert_eq!(refused, Err(BadSpec::ShadowOnPci), "{text}");
    }
}

#[test]
fn a_time_out_is_in_milliseconds() {
    for dispatch in ["exit-ipc", "ioregion"] {
        let text = format!("socket=/s,dispatch={dispatch},timeout=1500");
        let Ok(DiskSpec::Served(spec)) = text.parse() else {
            panic!("{text}");
        };
        assert_eq!(spec.timeout, Some(Duration::from_millis(1500)));
    }
}

#[test]
fn errors_name_the_key_or_the_value() {
    for (text, want) in [
        ("", "unknown key ''"),
        ("image=/i", "'dispatch=' is missing"),
        (
            "image=/i,dispatch=magic",
            "dispatch=magic: 'dispatch' is one of exit, exit-ipc",
        ),
        ("dispatch=exit", "dispatch=exit needs 'image='"),
        ("dispatch=ioregion", "dispatch=ioregion needs 'socket='"),
        (
            "image=/i,dispatch=exit,socket=/s",
            "'socket' does not go with dispatch=exit",
        ),
        (
            "socket=/s,dispatch=exit-ipc,channel=pipe",
            "'channel' does not go with",
        ),
        (
            "socket=/s,dispatch=exit-ipc,readonly",
            "'readonly' does not go with",
        ),
        (
            "socket=/s,dispatch=ioregion,packed",
            "'packed' does not go with",
        ),
        (
            "socket=/s,dispatch=ioregion,channel=tcp",
            "channel=tcp: 'channel' is one of",
        ),
        (
            "socket=/s,dispatch=ioregion,posted=yes",
            "posted=yes: 'posted' is one of off, on",
        ),
        (
            "socket=/s,dispatch=exit-ipc,tier=ring",
            "'tier' does not go with",
        ),
        (
            "image=/i,dispatch=exit,timeout=1",
            "'timeout' does not go with",
        ),
        (
            "image=/i,dispatch=exit,reads=kvm",
            "reads=kvm: 'reads' is one of device, shadow",
        ),
        (
            "socket=/s,dispatch=ioregion,timeout=0",
            "timeout=0: 'timeout' is one of 1 to",
        ),
        (
            "socket=/s,dispatch=ioregion,tier=rules,posted=on",
            "posted=on does not go with rules=on",
        ),
        (
            "socket=/s,dispatch=ioregion,colour=red",
            "unknown key 'colour'",
        ),
        (
            "tap=tap0,image=/i,dispatch=exit",
            "'image' does not go with dispatch=exit",
        ),
        ("image=/a,image=/b,dispatch=exit", "'image' is there twice"),
        ("image=,dispatch=exit", "'image' needs a value"),
        ("image,dispatch=exit", "'image' needs a value"),
        (
            "image=/i,dispatch=exit,readonly=1",
            "'readonly' takes no value",
        ),
        (
            "image=/i,dispatch=exit,readonly=",
            "'readonly' takes no value",
        ),
    ] {
        let error = text.parse::<DiskSpec>().unwrap_err().to_string();
        assert!(error.contains(want), "{text}: {error}");
    }
}
