// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A file tree in the making: what an image is to hold, and where it comes from.
//!
//! The same description becomes a cpio archive (L1's initramfs) or a directory
//! (from which `mke2fs` makes L2's root file system).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};
use cpio::newc::{self, ModeFileType};
use l1::digest::hex;
use sha2::{Digest, Sha256};

/// One entry of a tree.
enum Node {
    Directory,
    Link(String),
    File { source: PathBuf, mode: u32 },
    Text { text: String, mode: u32 },
}

/// Paths (without a leading slash) and what lies there.
#[derive(Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// A program or a module of the host's, as `path`.
    pub(crate) fn file(&mut self, path: &str, source: &Path, mode: u32) {
        let source = source.to_owned();
        self.insert(path, Node::File { source, mode });
    }

    /// A file with this text.
    pub(crate) fn text(&mut self, path: &str, text: String, mode: u32) {
        self.insert(path, Node::Text { text, mode });
    }

    /// An empty directory.
    pub(crate) fn directory(&mut self, path: &str) {
        self.insert(path, Node::Directory);
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.insert(path, Node::Link(target.to_owned()));
    }

    fn insert(&mut self, path: &str, node: Node) {
        for (slash, _) in path.match_indices('/') {
            let parent = path[..slash].to_owned();
            self.nodes.entry(parent).or_insert(Node::Directory);
        }
        self.nodes.insert(path.to_owned(), node);
    }

    /// busybox in `bin`, with a link for each of its applets.
    ///
    /// # Errors
    ///
    /// There is no busybox, or it is not static and would not run in the image.
    pub(crate) fn busybox(&mut self) -> Result<()> {
        let busybox = Path::new("/bin/busybox");
        ensure!(
            shared_objects(busybox)?.is_empty(),
            "{} is not static: install busybox-static",
            busybox.display()
        );
        self.file("bin/busybox", busybox, 0o755);
        let output = Command::new(busybox)
            .arg("--list")
            .output()
            .context("starting busybox: install busybox-static")?;
        for applet in String::from_utf8_lossy(&output.stdout).lines() {
            if applet != "busybox" {
                self.link(&format!("bin/{applet}"), "busybox");
            }
        }
        Ok(())
    }

    /// A dynamic program as `path`, and every shared object it needs where it looks for it.
    ///
    /// # Errors
    ///
    /// It is not installed.
    pub(crate) fn dynamic_program(&mut self, path: &str, source: &Path) -> Result<()> {
        self.file(path, source, 0o755);
        for object in shared_objects(source)? {
            let inside = object.trim_start_matches('/').to_owned();
            self.file(&inside, Path::new(&object), 0o755);
        }
        Ok(())
    }

    /// A digest that changes when an input changes: path, mode, and the text or
    /// the source's size and time.
    ///
    /// # Errors
    ///
    /// A source file is missing.
    pub(crate) fn fingerprint(&self) -> Result<String> {
        let mut hasher = Sha256::new();
        for (path, node) in &self.nodes {
            let state = match node {
                Node::Directory => "directory".to_owned(),
                Node::Link(target) => format!("link {target}"),
                Node::Text { text, mode } => format!("text {mode:o} {text}"),
                Node::File { source, mode } => {
                    let data = metadata(source)?;
                    let (size, time, nsec) = (data.len(), data.mtime(), data.mtime_nsec());
                    format!("file {mode:o} {} {size} {time} {nsec}", source.display())
                }
            };
            hasher.update(format!("{path}\0{state}\0"));
        }
        Ok(hex(&hasher.finalize()))
    }

    /// Writes the tree as an uncompressed newc archive, all of it root's.
    ///
    /// # Errors
    ///
    /// A source cannot be read or `output` cannot be written.
    pub(crate) fn write_cpio(&self, mut output: impl Write) -> Result<()> {
        for (number, (path, node)) in (1_u32..).zip(&self.nodes) {
            let entry = newc::Builder::new(path).ino(number).nlink(1);
            match node {
                Node::Directory => put(
                    entry
                        .mode(0o755)
                        .set_mode_file_type(ModeFileType::Directory),
                    &mut io::empty(),
                    0,
                    &mut output,
                ),
                Node::Link(target) => put(
                    entry.mode(0o777).set_mode_file_type(ModeFileType::Symlink),
                    &mut target.as_bytes(),
                    target.len() as u64,
                    &mut output,
                ),
                Node::Text { text, mode } => put(
                    entry.mode(*mode).set_mode_file_type(ModeFileType::Regular),
                    &mut text.as_bytes(),
                    text.len() as u64,
                    &mut output,
                ),
                Node::File { source, mode } => put(
                    entry.mode(*mode).set_mode_file_type(ModeFileType::Regular),
                    &mut File::open(source).with_context(|| source.display().to_string())?,
                    metadata(source)?.len(),
                    &mut output,
                ),
            }
            .with_context(|| format!("archiving {path}"))?;
        }
        newc::trailer(output).context("archive trailer").map(drop)
    }

    /// Lays the tree out below `directory`.
    ///
    /// # Errors
    ///
    /// A source cannot be read or the directory cannot be written.
    pub(crate) fn write_directory(&self, directory: &Path) -> Result<()> {
        for (path, node) in &self.nodes {
            let place = directory.join(path);
            match node {
                Node::Directory => fs::create_dir_all(&place),
                Node::Link(target) => symlink(target, &place),
                Node::Text { text, mode } => {
                    fs::write(&place, text).and_then(|()| chmod(&place, *mode))
                }
                Node::File { source, mode } => {
                    fs::copy(source, &place).and_then(|_| chmod(&place, *mode))
                }
            }
            .with_context(|| format!("creating {}", place.display()))?;
        }
        Ok(())
    }
}

fn chmod(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn metadata(source: &Path) -> Result<fs::Metadata> {
    fs::metadata(source).with_context(|| source.display().to_string())
}

/// Writes one archive entry of exactly `size` bytes.
fn put(
    entry: newc::Builder,
    input: &mut dyn io::Read,
    size: u64,
    output: &mut impl Write,
) -> Result<()> {
    let size32 = u32::try_from(size).context("more than cpio's 4 GiB")?;
    let mut writer = entry.write(output, size32);
    let written = io::copy(input, &mut writer)?;
    ensure!(written == size, "its size changed from {size} to {written}");
    writer.finish()?;
    Ok(())
}

/// The absolute paths of the shared objects that a program maps; none for a static one.
fn shared_objects(program: &Path) -> Result<Vec<String>> {
    metadata(program)?;
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("starting ldd")?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .filter(|path| !path.ends_with(':'))
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(directory: &Path) -> Tree {
        fs::write(directory.join("source"), "some bytes").unwrap();
        let mut tree = Tree::default();
        tree.file("etc/deep/file", &directory.join("source"), 0o640);
        tree.text("init", "#!/bin/sh\n".into(), 0o755);
        tree.link("bin/sh", "busybox");
        tree
    }

    #[test]
    fn the_archive_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        sample(directory.path()).write_cpio(&mut bytes).unwrap();
        let mut seen = Vec::new();
        let mut rest = &bytes[..];
        loop {
            let mut reader = newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            let mut content = String::new();
            io::Read::read_to_string(&mut reader, &mut content).unwrap();
            seen.push((name, mode, content));
            rest = reader.finish().unwrap();
        }
        let expected = [
            ("bin", 0o040_755, ""),
            ("bin/sh", 0o120_777, "busybox"),
            ("etc", 0o040_755, ""),
            ("etc/deep", 0o040_755, ""),
            ("etc/deep/file", 0o100_640, "some bytes"),
            ("init", 0o100_755, "#!/bin/sh\n"),
        ];
        let expected = expected.map(|(name, mode, text)| (name.to_owned(), mode, text.to_owned()));
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_directory_has_contents_and_modes() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("tree");
        fs::create_dir(&place).unwrap();
        sample(directory.path()).write_directory(&place).unwrap();
        let file = place.join("etc/deep/file");
        assert_eq!(fs::read_to_string(&file).unwrap(), "some bytes");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_changed_input_changes_the_fingerprint() {
        let directory = tempfile::tempdir().unwrap();
        let tree = sample(directory.path());
        let before = tree.fingerprint().unwrap();
        assert_eq!(before, tree.fingerprint().unwrap());
        fs::write(directory.path().join("source"), "other bytes").unwrap();
        assert_ne!(before, tree.fingerprint().unwrap());
    }
}
