// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `include/uapi/linux/exitless.h` against its Rust mirror: the C compiler checks every number, size
//! and offset.

use std::fmt::Write as _;
use std::fs;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

use exitless_vectors::refusal::Refusal;
use exitless_vectors::uapi::{
    ExitlessArm, EXITLESS_ARM, EXITLESS_ATTACH, EXITLESS_DELIVERY_ONLY, EXITLESS_DISARM,
    EXITLESS_UNWATCHED,
};

/// What the mirror says: a C expression and its value.
fn mirror() -> Vec<(&'static str, usize)> {
    let numbers = [
        ("EXITLESS_ATTACH", EXITLESS_ATTACH),
        ("EXITLESS_ARM", EXITLESS_ARM),
        ("EXITLESS_DISARM", EXITLESS_DISARM),
        ("EXITLESS_DELIVERY_ONLY", EXITLESS_DELIVERY_ONLY),
        ("EXITLESS_NO_HOST_X2APIC", Refusal::NoHostX2apic as u32),
        ("EXITLESS_NO_GUEST_X2APIC", Refusal::NoGuestX2apic as u32),
        ("EXITLESS_APICV", Refusal::Apicv as u32),
        ("EXITLESS_PROTECTED", Refusal::Protected as u32),
        ("EXITLESS_FRED", Refusal::Fred as u32),
        ("EXITLESS_NOT_PINNED", Refusal::NotPinned as u32),
        ("EXITLESS_NOT_ASSIGNED", Refusal::NotAssigned as u32),
        ("EXITLESS_NO_ROUTE", Refusal::NoRoute as u32),
        ("EXITLESS_VECTOR", Refusal::Vector as u32),
        ("EXITLESS_VECTOR_TAKEN", Refusal::VectorTaken as u32),
        ("EXITLESS_CPU_TAKEN", Refusal::CpuTaken as u32),
        ("EXITLESS_NOT_MOVABLE", Refusal::NotMovable as u32),
        ("EXITLESS_NO_MEMORY", Refusal::NoMemory as u32),
        ("EXITLESS_NO_WATCHDOG", Refusal::NoWatchdog as u32),
        ("EXITLESS_INTERRUPTS_OFF", Refusal::InterruptsOff as u32),
        ("EXITLESS_MOVING", Refusal::Moving as u32),
        ("EXITLESS_NO_IRQFD", Refusal::NoIrqfd as u32),
        ("EXITLESS_UNWATCHED", EXITLESS_UNWATCHED),
    ];
    let layout = [
        ("sizeof(struct exitless_arm)", size_of::<ExitlessArm>()),
        (
            "offsetof(struct exitless_arm, eventfd)",
            offset_of!(ExitlessArm, eventfd),
        ),
        (
            "offsetof(struct exitless_arm, gsi)",
            offset_of!(ExitlessArm, gsi),
        ),
        (
            "offsetof(struct exitless_arm, flags)",
            offset_of!(ExitlessArm, flags),
        ),
        (
            "offsetof(struct exitless_arm, refusal)",
            offset_of!(ExitlessArm, refusal),
        ),
    ];
    let numbers = numbers.map(|(name, value)| (name, value as usize));
    numbers.into_iter().chain(layout).collect()
}

#[test]
fn every_number_size_and_offset() {
    let mut text = "#include <stddef.h>\n#include <linux/exitless.h>\n".to_owned();
    for (expression, value) in mirror() {
        writeln!(text, "_Static_assert({expression} == {value}, \"\");").unwrap();
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = folder.join("exitless.c");
    fs::write(&source, text).unwrap();
    let compiled = Command::new(std::env::var_os("CC").unwrap_or("cc".into()))
        .args(["-Wall", "-Werror", "-fsyntax-only", "-idirafter"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include/uapi"))
        .arg(&source)
        .output()
        .expect("a C compiler, cc or $CC, is installed");
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{said}");
}
