// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Our vfio-user server under a guest of QEMU's: the guest does what L1's guests do, and its disk
//! image is judged like theirs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use l1::image;
use l1::scenario::GuestReport;

use super::test::{skipped, test};
use super::Lab;
use crate::klog;
use crate::ktap::Test;
use crate::out;
use crate::progress::Step;
use crate::qemu::{Program, NO_RECENT};
use crate::vfio_user::{Guest, Memory, Seen, Server, SOCKET};

/// A guest takes ten seconds or so, on a busy machine many times that.
const LIMIT: Duration = Duration::from_secs(150);

/// What the guest's init puts before each line meant for us.
const MARK: &str = "@shunt ";

/// Where the guest is when its disk's server is killed.
const KILL_AT: &str = "progress writing 8";

const IMAGE: &str = "root.ext4";

/// How Linux names the two kinds of interrupt in `/proc/interrupts`.
const MSIX: &str = "PCI-MSIX";
const PIN: &str = "IO-APIC";

/// The tests, or why they cannot run.
///
/// # Errors
///
/// The directory for results cannot be made.
pub(crate) fn tests(lab: &Lab) -> Result<Vec<Test>> {
    let Some(qemu) = Program::recent(&lab.places) else {
        return Ok(vec![skipped("vfio-user", NO_RECENT)]);
    };
    let directory = lab.places.out("test/vfio-user")?.canonicalize()?;
    fs::copy(&lab.images.disk, directory.join(IMAGE)).context("copying L2's disk")?;
    let bench = Bench {
        lab,
        qemu,
        directory,
    };
    let (served, killed) = (bench.served(), bench.killed());
    let tests = [
        ("guests", served),
        ("server killed", killed),
        ("server restarted", bench.restarted()),
    ];
    let judge = |(name, outcome): (&str, Result<()>)| {
        let failures: Vec<String> = outcome.err().iter().map(|e| format!("{e:#}")).collect();
        test(&format!("vfio-user.{}", name.replace(' ', "-")), &failures)
    };
    Ok(tests.into_iter().map(judge).collect())
}

/// Everything that the tests share; the image goes from one to the next.
struct Bench<'a> {
    lab: &'a Lab,
    qemu: Program,
    directory: PathBuf,
}

impl Bench<'_> {
    /// One server serves one guest after the other.
    fn served(&self) -> Result<()> {
        let server = self.server()?;
        self.guest("vfio-user, MSI-X", Memory::Shared, "", MSIX)
            .context("with MSI-X")?;
        self.guest("vfio-user, pin", Memory::Shared, "pci=nomsi", PIN)
            .context("with the pin, as the second client")?;
        self.guest("vfio-user, private memory", Memory::Private, "", MSIX)
            .context("with private memory, as the third client")?;
        let words = server.words()?;
        ensure!(words.is_empty(), "the server complained: {words}");
        Ok(())
    }

    /// The server dies under the guest: QEMU says so and does not hang.
    ///
    /// It may end by itself. QEMU 11.1.3 does, by an assertion: it reports the end of the socket
    /// twice, and its error object takes but one report.
    fn killed(&self) -> Result<()> {
        let step = Step::start("vfio-user, server killed");
        let server = self.server()?;
        let guest = self.boot(Memory::Shared, "")?;
        let deadline = Instant::now() + LIMIT;
        let is_there = |seen: &Seen| matches!(seen, Seen::Console(line) if line.strip_prefix(MARK) == Some(KILL_AT));
        ensure!(
            wait_for(&guest, deadline, is_there)?,
            "QEMU ended before the kill"
        );
        server.kill()?;
        let says = |seen: &Seen| matches!(seen, Seen::Qemu(line) if !line.is_empty());
        let said = wait_for(&guest, deadline, says).context("after the kill")?;
        ensure!(said, "QEMU does not say that its server is gone");
        guest.terminate()?;
        step.done();
        Ok(())
    }

    /// A fresh server goes on with the socket and the image of the one that was killed.
    fn restarted(&self) -> Result<()> {
        let _server = self.server()?;
        self.guest("vfio-user, server restarted", Memory::Shared, "", MSIX)
    }

    fn server(&self) -> Result<Server> {
        let words = ["--image", IMAGE];
        Server::start(
            &self.lab.places,
            &self.directory,
            SOCKET,
            "shunt-blk",
            &words,
        )
    }

    fn boot(&self, memory: Memory, words: &str) -> Result<Guest> {
        Guest::boot(&self.qemu, &self.lab.images, &self.directory, memory, words)
    }

    /// A guest from its boot to the check of its image.
    fn guest(&self, name: &str, memory: Memory, words: &str, interrupts: &str) -> Result<()> {
        let step = Step::start(name.to_owned());
        let guest = self.boot(memory, words)?;
        let story = Story::of(&guest, Instant::now() + LIMIT)?;
        let log = self
            .directory
            .join(format!("{}.log", name.replace(", ", "-")));
        out::write(&log, &story.console)?;
        let status = guest.end()?;
        ensure!(status.success(), "QEMU ended with {status}: {}", story.qemu);
        if let Some(complaint) = klog::complaint("the guest", &story.console) {
            bail!(complaint);
        }
        let report = story.report()?;
        let uses = |line: &str| line.contains("virtio") && line.contains(interrupts);
        ensure!(
            story.console.lines().any(uses),
            "the guest's disk does not interrupt by {interrupts}"
        );
        self.check(&report)?;
        step.done();
        Ok(())
    }

    fn check(&self, report: &GuestReport) -> Result<()> {
        let dump = self.directory.join("dump");
        remove(&dump)?;
        let (image, images) = (self.directory.join(IMAGE), &self.lab.images);
        let found = image::check(&image, &dump, &images.manifest, report)?;
        remove(&dump)?;
        let files = (report.files_verified, found.files_original);
        ensure!(
            files == (images.files, images.files) && found.files_written == report.files_written,
            "the disk has {} files; the guest says {report:?}, the image {found:?}",
            images.files
        );
        Ok(())
    }
}

/// Whether such a line came before the guest's outputs ended.
fn wait_for(guest: &Guest, deadline: Instant, found: impl Fn(&Seen) -> bool) -> Result<bool> {
    while let Some(seen) = guest.line(deadline)? {
        if found(&seen) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What came from a guest until its outputs ended.
#[derive(Default)]
struct Story {
    console: String,
    qemu: String,
}

impl Story {
    fn of(guest: &Guest, deadline: Instant) -> Result<Self> {
        let mut story = Self::default();
        loop {
            let seen = guest.line(deadline);
            let (text, line) = match seen.with_context(|| story.console.clone())? {
                None => return Ok(story),
                Some(Seen::Console(line)) => (&mut story.console, line),
                Some(Seen::Qemu(line)) => (&mut story.qemu, line),
            };
            text.push_str(&line);
            text.push('\n');
        }
    }

    /// What the guest reported.
    fn report(&self) -> Result<GuestReport> {
        let mut messages = self.console.lines().filter_map(|l| l.strip_prefix(MARK));
        if let Some(failure) = messages.clone().find(|m| m.starts_with("failed ")) {
            bail!("the guest: {failure}");
        }
        let json = messages.find_map(|message| message.strip_prefix("report "));
        let json = json.with_context(|| {
            let words = klog::last_lines(&self.console, 5);
            format!("the guest ended without a report: {words}{}", self.qemu)
        })?;
        serde_json::from_str(json).context("the guest's report")
    }
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    Ok(())
}
