// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Fences that can be seen in the text of the files.

use super::tracked::{read, Tracked};
use super::{Findings, Subject};
use anyhow::Result;
use std::collections::BTreeSet;

/// The most lines a source file may have.
const LINES: usize = 500;

const FORBID: &str = "#![forbid(unsafe_code)]";

/// Words that do not say what a file provides.
const VAGUE: [&str; 6] = ["common", "util", "utils", "base", "misc", "helpers"];

/// C glue is called `helpers.c` throughout the kernel's `rust/`, and so is ours.
const KERNEL_GLUE: [&str; 2] = ["helpers.c", "helpers.h"];

/// Pieces of text that tie a file to one machine or one mirror. Written in halves, so
/// that this file does not contain them.
const MACHINE: [&str; 6] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!(".debian", ".org"),
    concat!(".crates", ".io"),
    concat!("static.rust", "-lang.org"),
];

const BOTH: &str = "GPL-2.0-only OR Apache-2.0";
const KERNEL: &str = "GPL-2.0-only";
const UAPI: &str = "GPL-2.0-only WITH Linux-syscall-note";

pub(super) fn forbid_unsafe(subject: &Subject) -> Result<Findings> {
    Ok(forbid_findings(&read(subject.checkout)?))
}

pub(super) fn no_bindings_in_drivers(subject: &Subject) -> Result<Findings> {
    Ok(each(&read(subject.checkout)?, bindings_finding))
}

pub(super) fn licences(subject: &Subject) -> Result<Findings> {
    let files = read(subject.checkout)?;
    let pure = pure_folders(&files);
    Ok(each(&files, |file| licence_finding(file, &pure)))
}

pub(super) fn no_machine_names(subject: &Subject) -> Result<Findings> {
    Ok(each(&read(subject.checkout)?, machine_finding))
}

pub(super) fn file_lengths(subject: &Subject) -> Result<Findings> {
    Ok(each(&read(subject.checkout)?, length_finding))
}

pub(super) fn telling_names(subject: &Subject) -> Result<Findings> {
    Ok(each(&read(subject.checkout)?, name_finding))
}

fn each(files: &[Tracked], find: impl Fn(&Tracked) -> Option<String>) -> Findings {
    files.iter().filter_map(find).collect()
}

/// The folders of the pure crates: those in `rust/` that Cargo builds, too.
fn pure_folders(files: &[Tracked]) -> BTreeSet<&str> {
    files
        .iter()
        .filter(|file| file.path.starts_with("rust/"))
        .filter_map(|file| file.path.strip_suffix("/Cargo.toml"))
        .collect()
}

/// The folders of the drivers.
fn driver_folders(files: &[Tracked]) -> BTreeSet<&str> {
    let folder = |path: &'_ str| path.match_indices('/').nth(1).map(|(end, _)| end);
    files
        .iter()
        .filter(|file| file.path.starts_with("drivers/") && file.kind() == "rs")
        .filter_map(|file| folder(&file.path).map(|end| &file.path[..end]))
        .collect()
}

fn forbid_findings(files: &[Tracked]) -> Findings {
    let pure = pure_folders(files)
        .into_iter()
        .map(|folder| format!("{folder}/src/lib.rs"));
    let drivers = driver_folders(files).into_iter().map(|folder| {
        let name = folder.rsplit('/').next().unwrap_or(folder);
        format!("{folder}/{name}.rs")
    });
    pure.chain(drivers)
        .filter_map(|root| match files.iter().find(|file| file.path == root) {
            None => Some(format!("{root} is missing, the root of its crate")),
            Some(file) if file.text.lines().any(|line| line.trim() == FORBID) => None,
            Some(_) => Some(format!("{root} lacks {FORBID}")),
        })
        .collect()
}

fn bindings_finding(file: &Tracked) -> Option<String> {
    if !file.path.starts_with("drivers/") || file.kind() != "rs" {
        return None;
    }
    let names_bindings = |line: &str| {
        code_of(line)
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .any(|word| word == "bindings")
    };
    let number = file.text.lines().position(names_bindings)? + 1;
    Some(format!("{}:{number} uses C bindings", file.path))
}

/// A line without the comment at its end.
fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

fn licence_finding(file: &Tracked, pure: &BTreeSet<&str>) -> Option<String> {
    let named = [
        "rs",
        "c",
        "h",
        "S",
        "sh",
        "toml",
        "config",
        "Makefile",
        "Kbuild",
        "run",
        "gitignore",
    ];
    if !named.contains(&file.kind()) {
        return None;
    }
    let line = file
        .text
        .lines()
        .take(3)
        .find_map(|line| line.split_once("SPDX-License-Identifier: "));
    let Some((_, licence)) = line else {
        return Some(format!(
            "{} has no SPDX line among its first three",
            file.path
        ));
    };
    let licence = licence.trim_end_matches("*/").trim();
    let wanted = licence_for(file, pure)?;
    (licence != wanted).then(|| format!("{} says {licence}, wanted is {wanted}", file.path))
}

/// The licence of the place a file is in, where one is laid down.
fn licence_for(file: &Tracked, pure: &BTreeSet<&str>) -> Option<&'static str> {
    let path = &file.path;
    if path.starts_with("include/uapi/") {
        return Some(UAPI);
    }
    if pure
        .iter()
        .any(|folder| path.starts_with(&format!("{folder}/")))
    {
        return Some(BOTH);
    }
    if path.starts_with("drivers/") || path.starts_with("rust/") {
        return Some(KERNEL);
    }
    (path.starts_with("tools/") && file.kind() == "rs").then_some(BOTH)
}

fn machine_finding(file: &Tracked) -> Option<String> {
    // The lock file is cargo's: it names the registry.
    if file.path.ends_with("Cargo.lock") {
        return None;
    }
    let hit = |line: &str| MACHINE.iter().find(|piece| line.contains(**piece)).copied();
    let (number, piece) = file
        .text
        .lines()
        .enumerate()
        .find_map(|(index, line)| Some((index + 1, hit(line)?)))?;
    Some(format!("{}:{number} contains {piece}", file.path))
}

fn length_finding(file: &Tracked) -> Option<String> {
    let count = file.text.lines().count();
    (file.is_code() && count > LINES).then(|| format!("{} has {count} lines", file.path))
}

fn name_finding(file: &Tracked) -> Option<String> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if file.path.starts_with("rust/") && KERNEL_GLUE.contains(&name) {
        return None;
    }
    let vague = file
        .path
        .split('/')
        .map(|part| part.split('.').next().unwrap_or(part))
        .find(|part| VAGUE.contains(part))?;
    Some(format!(
        "{}: `{vague}` does not say what it provides",
        file.path
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> Tracked {
        Tracked {
            path: path.into(),
            text: text.into(),
        }
    }

    #[test]
    fn roots_without_the_forbid_attribute_are_found() {
        let good = [
            file("rust/wire/Cargo.toml", ""),
            file("rust/wire/src/lib.rs", "//! x\n#![forbid(unsafe_code)]\n"),
            file("drivers/demo/demo.rs", "#![forbid(unsafe_code)]\n"),
            file("drivers/demo/part.rs", ""),
            file("rust/kvm_ext/src/lib.rs", "unsafe {}\n"),
        ];
        assert!(forbid_findings(&good).is_empty());
        let bad = [
            file("rust/wire/Cargo.toml", ""),
            file("rust/wire/src/lib.rs", "// #![forbid(unsafe_code)]\n"),
            file("drivers/demo/other.rs", "#![forbid(unsafe_code)]\n"),
        ];
        let findings = forbid_findings(&bad);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].contains("rust/wire/src/lib.rs lacks"));
        assert!(findings[1].contains("drivers/demo/demo.rs is missing"));
    }

    #[test]
    fn bindings_in_a_driver_are_found_but_not_in_comments_or_elsewhere() {
        let bad = file("drivers/demo/a.rs", "// bindings\nuse kernel::bindings;\n");
        assert_eq!(
            bindings_finding(&bad).unwrap(),
            "drivers/demo/a.rs:2 uses C bindings"
        );
        let comment = file(
            "drivers/demo/a.rs",
            "x(); // like bindings::x\nlet rebindings_ = 1;\n",
        );
        assert!(bindings_finding(&comment).is_none());
        assert!(bindings_finding(&file("rust/kvm_ext/src/a.rs", "bindings::x()\n")).is_none());
    }

    #[test]
    fn each_place_has_its_licence() {
        let pure = BTreeSet::from(["rust/wire"]);
        let finding = |path: &str, licence: &str| {
            let text = format!("// SPDX-License-Identifier: {licence}\n");
            licence_finding(&file(path, &text), &pure)
        };
        assert!(finding("tools/lab/src/main.rs", BOTH).is_none());
        assert!(finding("rust/wire/src/lib.rs", BOTH).is_none());
        assert!(finding("rust/kvm_ext/src/lib.rs", KERNEL).is_none());
        assert!(finding(
            "include/uapi/linux/x.h",
            "GPL-2.0-only WITH Linux-syscall-note */"
        )
        .is_none());
        assert!(finding("tools/lab/src/main.rs", KERNEL).is_some());
        assert!(finding("drivers/demo/demo.rs", BOTH).is_some());
        assert!(finding("include/uapi/linux/x.h", KERNEL).is_some());
        let none = file(
            "tools/lab/Cargo.toml",
            "[package]\n\n\n# SPDX-License-Identifier: x\n",
        );
        assert!(licence_finding(&none, &pure).unwrap().contains("no SPDX"));
        assert!(licence_finding(&file("README.md", "# x\n"), &pure).is_none());
    }

    #[test]
    fn machine_paths_and_package_hosts_are_found() {
        for piece in MACHINE {
            let bad = file("README.md", &format!("fine\nsee http{piece}x\n"));
            assert!(machine_finding(&bad).unwrap().starts_with("README.md:2 "));
        }
        assert!(machine_finding(&file("tools/Cargo.lock", MACHINE[4])).is_none());
        assert!(machine_finding(&file("a.rs", "/usr/lib and /tmp and /root\n")).is_none());
    }

    #[test]
    fn long_files_are_found() {
        let bad = file("a.rs", &"x\n".repeat(LINES + 1));
        assert!(length_finding(&bad).unwrap().contains("501 lines"));
        assert!(length_finding(&file("a.rs", &"x\n".repeat(LINES))).is_none());
        assert!(length_finding(&file("a.patch", &"x\n".repeat(LINES + 1))).is_none());
    }

    #[test]
    fn vague_names_are_found() {
        assert!(name_finding(&file("tools/lab/src/util.rs", "")).is_some());
        assert!(name_finding(&file("tools/common/src/main.rs", "")).is_some());
        assert!(name_finding(&file("rust/kvm_ext/helpers.c", "")).is_none());
        assert!(name_finding(&file("tools/lab/src/database.rs", "")).is_none());
    }
}
