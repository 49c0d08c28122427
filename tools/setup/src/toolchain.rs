// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The compilers a kernel is built with, and the `make` that calls them.

use crate::bindgen;
use crate::cache::Cache;
use crate::command::output;
use crate::host::{clang, libclang_directory};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Variables by which a caller may change the kernel's code generation. They are passed
/// on, so they are part of what identifies a kernel.
const FLAGS: [&str; 7] = [
    "KCFLAGS",
    "KCPPFLAGS",
    "KAFLAGS",
    "KRUSTFLAGS",
    "HOSTCFLAGS",
    "HOSTRUSTFLAGS",
    "RUSTC_BOOTSTRAP",
];

/// Variables that would lead the kernel's make elsewhere or belong to an outer make.
const FOREIGN: [&str; 13] = [
    "ARCH",
    "CC",
    "CROSS_COMPILE",
    "DEBUG",
    "KBUILD_OUTPUT",
    "LD",
    "LLVM",
    "M",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "MO",
    "O",
];

/// What compiles the C of a kernel and of the modules for it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Compiler {
    /// What distributions build with, so the one to measure with.
    Gcc,
    /// The one whose KASAN agrees with rustc's.
    Clang,
}

/// What compiles the kernel and the modules.
pub(crate) struct Toolchain {
    bindgen: PathBuf,
    libclang: PathBuf,
    /// Instead of gcc.
    clang: Option<PathBuf>,
}

impl Toolchain {
    /// Finds the tools that `setup host` has brought.
    ///
    /// # Errors
    ///
    /// libclang is missing, or clang when it is wanted.
    pub(crate) fn find(cache: &Cache, compiler: Compiler) -> Result<Self> {
        let clang = match compiler {
            Compiler::Gcc => None,
            Compiler::Clang => Some(clang().context("clang is missing; run `setup host --debug`")?),
        };
        Ok(Self {
            bindgen: bindgen::program(cache),
            libclang: libclang_directory().context("libclang is missing; run `setup host`")?,
            clang,
        })
    }

    /// What identifies the tools: versions, and flags given from outside.
    ///
    /// # Errors
    ///
    /// A tool cannot be run.
    pub(crate) fn identity(&self) -> Result<String> {
        let mut identity = String::new();
        let clang = self
            .clang
            .iter()
            .map(|clang| (clang.as_path(), "--version"));
        // gcc also when clang compiles the kernel: it makes the programs of its build.
        for (program, argument) in [
            (Path::new("gcc"), "--version"),
            (Path::new("ld"), "--version"),
            (Path::new("rustc"), "-vV"),
            (&self.bindgen, "--version"),
        ]
        .into_iter()
        .chain(clang)
        {
            let version = output(Command::new(program).arg(argument))?;
            identity.push_str(&version);
        }
        identity.push_str(&format!("libclang {}\n", self.libclang.display()));
        for name in FLAGS {
            if let Some(value) = std::env::var_os(name) {
                identity.push_str(&format!("{name}={}\n", value.to_string_lossy()));
            }
        }
        Ok(identity)
    }

    /// A `make` in `directory` that uses these tools. User, host and time are fixed, so
    /// that the same input gives the same kernel.
    pub(crate) fn make(&self, directory: &Path) -> Command {
        let variable = |name: &str, program: &Path| {
            let mut word = OsString::from(name);
            word.push("=");
            word.push(program);
            word
        };
        let mut command = Command::new("make");
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
            .arg("-C")
            .arg(directory)
            .arg(format!("-j{}", parallelism()))
            .arg(variable("BINDGEN", &self.bindgen))
            .args(self.clang.iter().map(|clang| variable("CC", clang)))
            .env("LIBCLANG_PATH", &self.libclang)
            .env("KBUILD_BUILD_USER", "shunt")
            .env("KBUILD_BUILD_HOST", "lab")
            .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 2026")
            // Set and empty: no suffix that depends on a repository around the tree.
            .env("LOCALVERSION", "")
            .env("LC_ALL", "C");
        command
    }
}

/// How many jobs to run side by side.
fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
