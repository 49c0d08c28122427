// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Fences between crates, from what Cargo knows about them.

use super::{Findings, Subject};
use crate::command::output;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::process::Command;

/// What a pure crate may depend on beside `core` and other pure crates.
const ALLOWED: [&str; 2] = ["zerocopy", "zerocopy-derive"];

/// The part of `cargo metadata` that we read.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `null` for a normal dependency, else `dev` or `build`.
    kind: Option<String>,
    /// Where it lies, if it is one of ours.
    path: Option<String>,
}

pub(super) fn pure_dependencies(subject: &Subject) -> Result<Findings> {
    let root = format!("{}/rust/", subject.checkout.root().display());
    Ok(foreign_dependencies(&metadata(subject)?, &root))
}

pub(super) fn nothing_needs_tools(subject: &Subject) -> Result<Findings> {
    let root = subject.checkout.root().display();
    let (rust, tools) = (format!("{root}/rust/"), format!("{root}/tools/"));
    Ok(upward_dependencies(&metadata(subject)?, &rust, &tools))
}

fn metadata(subject: &Subject) -> Result<Metadata> {
    let text = output(
        Command::new("cargo")
            .args([
                "metadata",
                "--format-version",
                "1",
                "--no-deps",
                "--manifest-path",
            ])
            .arg(subject.checkout.workspace().join("Cargo.toml")),
    )?;
    serde_json::from_str(&text).context("cargo metadata is not what we expect")
}

/// Dependencies of crates below `rust` that they may not have. What tests need does not
/// get into a kernel, so it is free.
fn foreign_dependencies(metadata: &Metadata, rust: &str) -> Findings {
    let mut findings = Vec::new();
    for package in pure(metadata, rust) {
        for dependency in &package.dependencies {
            let ours = dependency
                .path
                .as_ref()
                .is_some_and(|path| path.starts_with(rust));
            let for_tests = dependency.kind.as_deref() == Some("dev");
            if !ours && !for_tests && !ALLOWED.contains(&dependency.name.as_str()) {
                findings.push(format!("{} depends on {}", package.name, dependency.name));
            }
        }
    }
    findings
}

/// Dependencies, also of tests, from crates below `rust` on crates below `tools`.
fn upward_dependencies(metadata: &Metadata, rust: &str, tools: &str) -> Findings {
    let mut findings = Vec::new();
    for package in pure(metadata, rust) {
        for dependency in &package.dependencies {
            if dependency
                .path
                .as_ref()
                .is_some_and(|path| path.starts_with(tools))
            {
                findings.push(format!("{} depends on {}", package.name, dependency.name));
            }
        }
    }
    findings
}

fn pure<'a>(metadata: &'a Metadata, rust: &'a str) -> impl Iterator<Item = &'a Package> {
    metadata
        .packages
        .iter()
        .filter(move |package| package.manifest_path.starts_with(rust))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(dependencies: &str) -> Metadata {
        let text = format!(
            r#"{{"packages": [
                {{"name": "wire", "manifest_path": "/c/rust/wire/Cargo.toml", "dependencies": [{dependencies}]}},
                {{"name": "lab", "manifest_path": "/c/tools/lab/Cargo.toml",
                  "dependencies": [{{"name": "clap", "kind": null}}]}}
            ]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn pure_crates_may_use_zerocopy_each_other_and_test_tools() {
        let good = metadata(
            r#"{"name": "zerocopy", "kind": null},
               {"name": "layout", "kind": null, "path": "/c/rust/layout"},
               {"name": "proptest", "kind": "dev"}"#,
        );
        assert!(foreign_dependencies(&good, "/c/rust/").is_empty());
    }

    #[test]
    fn anything_else_is_found() {
        let bad = metadata(r#"{"name": "libc", "kind": null}, {"name": "cc", "kind": "build"}"#);
        assert_eq!(
            foreign_dependencies(&bad, "/c/rust/"),
            ["wire depends on libc", "wire depends on cc"]
        );
    }

    #[test]
    fn a_dependency_on_tools_is_found_even_in_tests() {
        let bad = metadata(r#"{"name": "lab", "kind": "dev", "path": "/c/tools/lab"}"#);
        let findings = upward_dependencies(&bad, "/c/rust/", "/c/tools/");
        assert_eq!(findings, ["wire depends on lab"]);
    }
}
