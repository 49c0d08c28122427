// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `include/uapi/linux/ioregion.h` against its Rust mirror: the C compiler says what the header
//! means, and `ioregion_wire` must agree in every number, size and offset.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

use ioregion_wire::frame::{self, Width, FRAME_SIZE};
use ioregion_wire::uapi::{self, KvmIoregion, KvmIoregionfdFailure};

/// What the mirror says: a C expression and its value.
fn mirror() -> Vec<(String, u64)> {
    let mut facts = constants();
    facts.push((
        "sizeof(struct kvm_ioregion)".into(),
        size_of::<KvmIoregion>() as u64,
    ));
    facts.push((
        "sizeof(struct kvm_ioregionfd_failure)".into(),
        size_of::<KvmIoregionfdFailure>() as u64,
    ));
    facts.push(("sizeof(struct ioregionfd_cmd)".into(), FRAME_SIZE as u64));
    facts.push(("sizeof(struct ioregionfd_resp)".into(), FRAME_SIZE as u64));
    facts.push((
        "offsetof(struct kvm_run, mmio)".into(),
        uapi::KVM_RUN_UNION_OFFSET as u64,
    ));
    facts.push((
        "offsetof(struct kvm_run, io)".into(),
        uapi::KVM_RUN_UNION_OFFSET as u64,
    ));
    macro_rules! fields {
        ($c:literal, $rust:ident, [$($field:ident),+]) => {$(
            facts.push((
                format!("offsetof(struct {}, {})", $c, stringify!($field)),
                offset_of!($rust, $field) as u64,
            ));
            facts.push((
                format!("sizeof(((struct {} *)0)->{})", $c, stringify!($field)),
                size_of_field(|it: $rust| it.$field),
            ));
        )+};
    }
    fields!(
        "kvm_ioregion",
        KvmIoregion,
        [
            guest_paddr,
            memory_size,
            user_data,
            read_fd,
            write_fd,
            flags,
            pad
        ]
    );
    fields!(
        "kvm_ioregionfd_failure",
        KvmIoregionfdFailure,
        [
            access,
            guest_paddr,
            memory_size,
            user_data,
            offset,
            data,
            size,
            is_write,
            done,
            error,
            flags,
            reserved
        ]
    );
    facts
}

fn size_of_field<S, F>(_: impl Fn(S) -> F) -> u64 {
    size_of::<F>() as u64
}

fn constants() -> Vec<(String, u64)> {
    [
        ("KVM_CAP_IOREGIONFD", u64::from(uapi::KVM_CAP_IOREGIONFD)),
        ("IOREGIONFD_API_VERSION", uapi::API_VERSION.into()),
        ("KVM_SET_IOREGION", uapi::KVM_SET_IOREGION.into()),
        ("KVMIO", uapi::KVMIO.into()),
        ("KVM_IOREGION_PIO", uapi::KVM_IOREGION_PIO.into()),
        (
            "KVM_IOREGION_POSTED_WRITES",
            uapi::KVM_IOREGION_POSTED_WRITES.into(),
        ),
        ("KVM_IOREGION_DEASSIGN", uapi::KVM_IOREGION_DEASSIGN.into()),
        ("KVM_IOREGION_MAX", uapi::KVM_IOREGION_MAX as u64),
        (
            "KVM_EXIT_IOREGIONFD_FAILURE",
            uapi::KVM_EXIT_IOREGIONFD_FAILURE.into(),
        ),
        (
            "IOREGIONFD_FAILURE_SENT",
            uapi::IOREGIONFD_FAILURE_SENT.into(),
        ),
        ("IOREGIONFD_SIZE_8BIT", Width::Byte as u64),
        ("IOREGIONFD_SIZE_16BIT", Width::Word as u64),
        ("IOREGIONFD_SIZE_32BIT", Width::Long as u64),
        ("IOREGIONFD_SIZE_64BIT", Width::Quad as u64),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Compiles and runs a C program that includes the header; returns what it prints.
fn run_c(body: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include/uapi");
    let name = format!("uapi-{:?}", std::thread::current().id());
    let source = folder.join(format!("{name}.c"));
    let program = folder.join(name);
    let text = format!(
        "#include <stddef.h>\n#include <stdio.h>\n#include <string.h>\n#include <linux/kvm.h>\n\
         #include <linux/ioregion.h>\nint main(void)\n{{\n{body}\treturn 0;\n}}\n"
    );
    fs::write(&source, text).expect("the test's folder can be written");
    let compiled = Command::new(std::env::var_os("CC").unwrap_or("cc".into()))
        .args(["-Wall", "-Werror", "-idirafter"])
        .arg(include)
        .arg("-o")
        .args([&program, &source])
        .output()
        .expect("a C compiler, cc or $CC, is installed");
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    let output = Command::new(&program)
        .output()
        .expect("the program was just compiled");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("the program prints ASCII")
}

#[test]
fn every_number_size_and_offset() {
    let facts = mirror();
    let mut body = String::new();
    for (expression, _) in &facts {
        writeln!(
            body,
            "\tprintf(\"%llu\\n\", (unsigned long long)({expression}));"
        )
        .expect("a String takes everything");
    }
    let header: BTreeMap<_, _> = facts
        .iter()
        .map(|(expression, _)| expression.clone())
        .zip(
            run_c(&body)
                .lines()
                .map(|line| line.parse().expect("a number")),
        )
        .collect();
    assert_eq!(header, facts.into_iter().collect::<BTreeMap<String, u64>>());
}

/// Bit fields have no offset: C fills in a command, and the mirror must encode the same bytes.
#[test]
fn command_and_reply_bytes() {
    let body = "\tstruct ioregionfd_cmd cmd;\n\
        \tstruct ioregionfd_resp resp;\n\
        \tmemset(&cmd, 0, sizeof(cmd));\n\
        \tmemset(&resp, 0, sizeof(resp));\n\
        \tcmd.cmd = IOREGIONFD_CMD_WRITE;\n\
        \tcmd.size_exponent = IOREGIONFD_SIZE_32BIT;\n\
        \tcmd.resp = 1;\n\
        \tcmd.user_data = 0x0102030405060708;\n\
        \tcmd.offset = 0x1112131415161718;\n\
        \tcmd.data = 0x21222324;\n\
        \tresp.data = 0x3132333435363738;\n\
        \tfwrite(&cmd, sizeof(cmd), 1, stdout);\n\
        \tfwrite(&resp, sizeof(resp), 1, stdout);\n";
    let command = frame::Command {
        operation: frame::Operation::Write(0x2122_2324),
        width: Width::Long,
        expects_reply: true,
        user_data: 0x0102_0304_0506_0708,
        offset: 0x1112_1314_1516_1718,
    };
    let reply = frame::Reply {
        data: 0x3132_3334_3536_3738,
    };
    let want = [command.encode(), reply.encode()].concat();
    assert_eq!(run_c(body).into_bytes(), want);
}

/// The two that the mirror keeps to itself.
#[test]
fn operations() {
    let printed = run_c("\tprintf(\"%d %d\", IOREGIONFD_CMD_READ, IOREGIONFD_CMD_WRITE);\n");
    let read = frame::Command {
        operation: frame::Operation::Read,
        width: Width::Byte,
        expects_reply: true,
        user_data: 0,
        offset: 0,
    };
    let write = frame::Command {
        operation: frame::Operation::Write(0),
        ..read
    };
    assert_eq!(
        printed,
        format!("{} {}", read.encode()[0], write.encode()[0])
    );
}
