// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A file system is made on a disk, filled by several threads at once, checked, and read again.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{ensure, Context, Result};
use fastrand::Rng;
use fe_tests::{content, plan, serial};
use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};

use fe_tests::program::run as program;

const WRITERS: u64 = 4;

/// Files of a writer, and the most bytes of one: together they are half of the disk.
const FILES: u64 = 40;
const MOST: usize = 400_000;

/// How the file system is mounted while it is written.
const OPTIONS: &[&str] = &["", "data=journal", "discard"];

/// With each of the [`OPTIONS`], files come, change and go; then the file system is checked, and
/// what is there is read again.
pub(super) fn run(plan: &plan::Disk) -> Result<()> {
    let node = serial::node(plan.name)?;
    program(
        Command::new("/bin/mke2fs")
            .args(["-q", "-F", "-t", "ext4", "-b", "4096"])
            .arg(&node),
    )?;
    for (generation, options) in (0..).zip(OPTIONS) {
        let mounted = Mounted::new(&node, plan.name, options)?;
        write_all(&mounted.place, generation)?;
        mounted.unmount()?;
        program(Command::new("/bin/e2fsck").arg("-fn").arg(&node))?;
        let mounted = Mounted::new(&node, plan.name, "")?;
        let verified = verify_all(&mounted.place, generation);
        mounted.unmount()?;
        verified.with_context(|| format!("mounted with {options:?}"))?;
    }
    Ok(())
}

/// A file system that is mounted.
struct Mounted {
    place: PathBuf,
}

impl Mounted {
    fn new(node: &Path, name: &str, options: &str) -> Result<Self> {
        let place = Path::new("/tmp").join(name);
        fs::create_dir_all(&place).context("a place for it")?;
        let options = CString::new(options)?;
        mount(node, &place, "ext4", MountFlags::empty(), &*options).context("mount")?;
        Ok(Self { place })
    }

    fn unmount(self) -> Result<()> {
        unmount(&self.place, UnmountFlags::empty()).context("unmount")
    }
}

/// All writers' files of this generation, those of the one before being there.
fn write_all(place: &Path, generation: u64) -> Result<()> {
    thread::scope(|scope| {
        let write = |writer| scope.spawn(move || write(place, writer, generation));
        let threads: Vec<_> = (0..WRITERS).map(write).collect();
        threads.into_iter().try_for_each(|thread| {
            let result = thread.join();
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

fn write(place: &Path, writer: u64, generation: u64) -> Result<()> {
    let directory = place.join(writer.to_string());
    fs::create_dir_all(&directory).context("a writer's directory")?;
    for number in 0..FILES {
        let path = directory.join(number.to_string());
        match fate(writer, number, generation) {
            Fate::Kept(of) if of < generation => (),
            Fate::Kept(_) => {
                let mut file = File::create(&path).context("creating a file")?;
                file.write_all(&content(writer, number, generation))?;
                if number % 8 == 0 {
                    file.sync_all().context("making a file durable")?;
                }
            }
            Fate::Deleted => fs::remove_file(&path).context("deleting a file")?,
        }
    }
    Ok(())
}

/// What has become of a file.
enum Fate {
    /// It is there, as it was written in this generation.
    Kept(u64),
    /// It was deleted in the current one.
    Deleted,
}

/// Each generation rewrites a third of the files, and deletes another third, which the next one
/// writes again.
fn fate(writer: u64, number: u64, generation: u64) -> Fate {
    match (generation, (writer + number + generation) % 3) {
        (0, _) | (_, 0) => Fate::Kept(generation),
        (_, 1) => Fate::Deleted,
        _ => match fate(writer, number, generation - 1) {
            Fate::Kept(of) => Fate::Kept(of),
            Fate::Deleted => Fate::Kept(generation),
        },
    }
}

fn content(writer: u64, number: u64, generation: u64) -> Vec<u8> {
    let name = format!("{writer}/{number}");
    let mut random = Rng::with_seed(writer << 32 | number << 16 | generation);
    let mut bytes = vec![0; random.usize(0..=MOST)];
    content::fill(&name, 0, generation, &mut bytes);
    bytes
}

/// All files are there as they were written, and no others.
fn verify_all(place: &Path, generation: u64) -> Result<()> {
    for writer in 0..WRITERS {
        let directory = place.join(writer.to_string());
        let mut left = 0;
        for number in 0..FILES {
            if let Fate::Kept(of) = fate(writer, number, generation) {
                let path = directory.join(number.to_string());
                let found = fs::read(&path).with_context(|| path.display().to_string())?;
                let is_right = found == content(writer, number, of);
                ensure!(is_right, "{} is not of {of}", path.display());
                left += 1;
            }
        }
        let found = fs::read_dir(&directory)?.count();
        ensure!(found == left, "{found} files, want {left}");
    }
    Ok(())
}
