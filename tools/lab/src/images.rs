// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The images: L2's root disk (ext4) and L1's initramfs, which carries it.
//! Each is made anew only when one of its inputs changed.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};
use l1::digest;
use walkdir::WalkDir;

use crate::companion::{self, Program};
use crate::modules;
use crate::out::{self, Places};
use crate::progress::Step;
use crate::tree::Tree;

/// Real files for L2's disk: two hundred documents of many sizes, from the kernel's source.
const DOCUMENTS: &[&str] = &["filesystems", "virt"];

/// Fixed, so that two builds from the same inputs are the same file system.
const UUID: &str = "5d0c7e4a-6f0e-4f0b-9d4e-73687500006c";
const DISK_SIZE: &str = "40M";

/// Scripts of guests without a disk, and the drivers that each has.
const DISKLESS: &[(&str, &[&str])] = &[
    ("net", &["virtio_net", "virtio_fe", "e1000", "8139too"]),
    ("bytes", &["virtio_rng", "virtio_console"]),
];

/// Programs that L1 judges disk images with.
const FILE_SYSTEM_TOOLS: &[&str] = &["e2fsck", "debugfs"];

/// What a guest sends frames back with.
const REFLECTOR: &str = "shunt-reflect";

/// Where programs are, those for the administrator, too.
const PROGRAMS: &[&str] = &["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

/// L2's disk and the list of its files.
struct RootDisk {
    image: PathBuf,
    manifest: PathBuf,
    files: u64,
}

/// What a boot needs.
#[derive(Clone)]
pub(crate) struct Images {
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
    /// L2's disk as it is at first.
    pub(crate) disk: PathBuf,
    /// The checksums of its files.
    pub(crate) manifest: PathBuf,
    /// How many files L2's disk was made with.
    pub(crate) files: u64,
}

/// Makes, or finds up to date, everything that L1 boots from.
///
/// # Errors
///
/// An input is missing, or a tool failed.
pub(crate) fn build(places: &Places) -> Result<Images> {
    let programs = companion::build(places)?;
    let step = Step::start("images");
    let disk = root_disk(places, &step)?;
    let mut tree = l1_tree(&programs)?;
    for tool in FILE_SYSTEM_TOOLS {
        tree.dynamic_program(&format!("sbin/{tool}"), &installed(tool)?)?;
    }
    let modules = modules::in_load_order(places)?;
    add_modules(&mut tree, "lib/modules", &modules, modules::loads_at_boot)?;
    tree.file("images/vmlinux", &places.kernel("vmlinux")?, 0o644);
    tree.file("images/root.ext4", &disk.image, 0o644);
    tree.file("images/files.sha256", &disk.manifest, 0o644);
    tree.file("images/virtio_fe.cpio", &initrd(places, &step)?, 0o644);
    for (script, drivers) in DISKLESS {
        let archive = diskless(places, &programs, &step, script, drivers)?;
        tree.file(&format!("images/{script}.cpio"), &archive, 0o644);
    }

    let initramfs = archive(places, &step, "initramfs.cpio", &tree)?;
    step.done();
    let kernel = places.kernel("bzImage")?;
    Ok(Images {
        kernel,
        initramfs,
        disk: disk.image,
        manifest: disk.manifest,
        files: disk.files,
    })
}

/// What every root file system of L1's has: busybox, programs of ours, and our init.
///
/// # Errors
///
/// There is no busybox.
pub(crate) fn l1_tree(programs: &[Program]) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.busybox()?;
    for directory in ["dev", "proc", "sys", "tmp", "root"] {
        tree.directory(directory);
    }
    for program in programs {
        tree.file(&format!("bin/{}", program.name), &program.path, 0o755);
    }
    tree.link("init", "bin/l1-init");
    Ok(tree)
}

/// The initial RAM disk of a guest whose root disk virtio_fe drives.
fn initrd(places: &Places, step: &Step) -> Result<PathBuf> {
    let mut tree = Tree::default();
    tree.busybox()?;
    add_init(&mut tree, places, "initrd", &["dev", "proc", "sys", "disk"]);
    tree.file("virtio_fe.ko", &modules::ours(places, "virtio_fe")?, 0o644);
    archive(places, step, "virtio_fe.cpio", &tree)
}

/// The initial RAM disk, and only disk, of a guest with a device of another kind.
fn diskless(
    places: &Places,
    programs: &[Program],
    step: &Step,
    script: &str,
    drivers: &[&str],
) -> Result<PathBuf> {
    let mut tree = Tree::default();
    tree.busybox()?;
    let reflector = programs.iter().find(|program| program.name == REFLECTOR);
    let reflector = reflector.with_context(|| format!("there is no {REFLECTOR}"))?;
    tree.file(&format!("bin/{REFLECTOR}"), &reflector.path, 0o755);
    add_init(&mut tree, places, script, &["dev", "proc", "sys", "tmp"]);
    let drivers: Vec<_> = drivers.iter().map(|&driver| driver.to_owned()).collect();
    let modules = modules::with_dependencies(places, &drivers)?;
    add_modules(&mut tree, "modules", &modules, |_| true)?;
    archive(places, step, &format!("{script}.cpio"), &tree)
}

/// A script of L2's as its init, what all of them share, and the directories that it needs.
pub(crate) fn add_init(tree: &mut Tree, places: &Places, script: &str, directories: &[&str]) {
    for directory in directories {
        tree.directory(directory);
    }
    let source = |name| places.source("tools/lab/guest").join(name);
    tree.file("init", &source(script), 0o755);
    tree.file("driver", &source("driver"), 0o644);
}

/// The tree as an archive of this name, which is made if it is not up to date.
///
/// # Errors
///
/// A source cannot be read or the file cannot be written.
pub(crate) fn archive(places: &Places, step: &Step, name: &str, tree: &Tree) -> Result<PathBuf> {
    let archive = places.out("lab")?.join(name);
    unless_current(&archive, &tree.fingerprint()?, |path| {
        step.now(name.to_owned());
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let mut file = BufWriter::new(file);
        tree.write_cpio(&mut file)?;
        file.flush().with_context(|| path.display().to_string())
    })?;
    Ok(archive)
}

/// Modules, in the order in which they load, and the list of those that an init is to load.
///
/// # Errors
///
/// A module has no name.
pub(crate) fn add_modules(
    tree: &mut Tree,
    directory: &str,
    modules: &[PathBuf],
    is_listed: impl Fn(&Path) -> bool,
) -> Result<()> {
    let mut order = String::new();
    for module in modules {
        let name = module.file_name().context("a module without a name")?;
        let name = name.to_string_lossy();
        tree.file(&format!("{directory}/{name}"), module, 0o644);
        if is_listed(module) {
            order.push_str(&name);
            order.push('\n');
        }
    }
    tree.text(&format!("{directory}/order"), order, 0o644);
    Ok(())
}

fn root_disk(places: &Places, step: &Step) -> Result<RootDisk> {
    let directory = places.out("lab")?;
    let (image, manifest) = (directory.join("root.ext4"), directory.join("files.sha256"));
    let files = payload(places)?;
    let mut tree = Tree::default();
    tree.busybox()?;
    add_init(&mut tree, places, "init", &["dev", "proc", "sys", "tmp"]);
    for (name, source) in &files {
        tree.file(&format!("files/{name}"), source, 0o644);
    }
    let count = files.len() as u64;
    unless_current(&image, &tree.fingerprint()?, |path| {
        step.now("checksums of L2's files");
        let list = list_checksums(&files)?;
        out::write(&manifest, &list)?;
        tree.text("files.sha256", list, 0o644);
        step.now("L2's disk");
        make_file_system(&tree, &directory.join("root"), path, DISK_SIZE)
    })?;
    Ok(RootDisk {
        image,
        manifest,
        files: count,
    })
}

/// Name and source of each file that L2 is to verify.
fn payload(places: &Places) -> Result<Vec<(String, PathBuf)>> {
    let documentation = places.kernel("source/Documentation")?.canonicalize()?;
    let mut files = vec![
        ("bzImage".to_owned(), places.kernel("bzImage")?),
        ("busybox".to_owned(), PathBuf::from("/bin/busybox")),
    ];
    for part in DOCUMENTS {
        for entry in WalkDir::new(documentation.join(part)).sort_by_file_name() {
            let entry = entry.context("L2's files")?;
            if entry.file_type().is_file() {
                let name = entry.path().strip_prefix(&documentation)?;
                let name = name.to_string_lossy().into_owned();
                files.push((name, entry.into_path()));
            }
        }
    }
    Ok(files)
}

/// The files' checksums as `sha256sum -c` reads them.
fn list_checksums(files: &[(String, PathBuf)]) -> Result<String> {
    let mut list = String::new();
    for (name, source) in files {
        let digest = digest::of_file(source).with_context(|| source.display().to_string())?;
        list.push_str(&format!("{digest}  {name}\n"));
    }
    Ok(list)
}

/// Lays `tree` out below `staging` and makes an ext4 image of it.
///
/// # Errors
///
/// A source cannot be read, or it does not fit into `size`.
pub(crate) fn make_file_system(
    tree: &Tree,
    staging: &Path,
    image: &Path,
    size: &str,
) -> Result<()> {
    if staging.exists() {
        fs::remove_dir_all(staging).context("old staging directory")?;
    }
    fs::create_dir(staging).context("staging directory")?;
    tree.write_directory(staging)?;
    let output = Command::new(installed("mke2fs")?)
        .args([
            "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-J", "size=4",
        ])
        .args([
            "-U",
            UUID,
            "-E",
            &format!("hash_seed={UUID},root_owner=0:0"),
            "-d",
        ])
        .arg(staging)
        .arg(image)
        .arg(size)
        .env("E2FSPROGS_FAKE_TIME", "1735689600")
        .output()
        .context("starting mke2fs: install e2fsprogs")?;
    ensure!(
        output.status.success(),
        "mke2fs: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    fs::remove_dir_all(staging).context("staging directory")
}

/// A program of this machine's.
///
/// # Errors
///
/// It is not installed.
pub(crate) fn installed(name: &str) -> Result<PathBuf> {
    PROGRAMS
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.exists())
        .with_context(|| format!("{name} is missing: `make host` installs it"))
}

/// Makes `product` unless the stamp beside it says that it was made from the same inputs.
pub(crate) fn unless_current(
    product: &Path,
    inputs: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let stamp = product.with_extension("stamp");
    if product.exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == inputs) {
        return Ok(());
    }
    // First of all nothing is current, in case we are interrupted.
    out::write(&stamp, "")?;
    if product.exists() {
        fs::remove_file(product).with_context(|| product.display().to_string())?;
    }
    make(product)?;
    out::write(&stamp, inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_made_once_per_input() {
        let directory = tempfile::tempdir().unwrap();
        let product = directory.path().join("image");
        let mut made = 0;
        for inputs in ["a", "a", "b", "b", "a"] {
            unless_current(&product, inputs, |path| {
                made += 1;
                out::write(path, inputs)
            })
            .unwrap();
        }
        assert_eq!(made, 3);
    }

    #[test]
    fn a_failed_product_is_not_current() {
        let directory = tempfile::tempdir().unwrap();
        let product = directory.path().join("image");
        unless_current(&product, "a", |path| out::write(path, "good")).unwrap();
        let broken = |path: &Path| {
            out::write(path, "half")?;
            anyhow::bail!("no space")
        };
        assert!(unless_current(&product, "b", broken).is_err());
        let mut made = false;
        unless_current(&product, "b", |path| {
            made = true;
            out::write(path, "whole")
        })
        .unwrap();
        assert!(made);
    }
}
