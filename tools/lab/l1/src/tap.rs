// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! L1's end of a guest's network: a tap interface, and a server that sends back what it gets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{ensure, Context, Result};
use l1::scenario::{Scenario, Task};

use crate::guest::DEVICE_UID;

/// Its name.
pub(crate) const NAME: &str = "tap0";

/// The driver of such interfaces.
const MODULE: &str = "/lib/modules/tun.ko";
const DRIVER: &str = "/dev/net/tun";

/// Keeps the kernel from sending of itself.
const NO_IPV6: &str = "/proc/sys/net/ipv6/conf/all/disable_ipv6";

/// L1's address on it; the guest's script knows it.
const ADDRESS: &str = "10.7.0.1/24";

/// Where the server listens.
const PORT: &str = "5001";

/// What it does with a connection. If it sent back what it gets at once, both ends could wait for ever,
/// each for the other to read.
const SERVE: &str = "file=$(mktemp) && cat >$file && cat $file; rm $file";

/// The interface and its server, until this is dropped.
pub(crate) struct Tap {
    server: Option<Child>,
}

impl Tap {
    /// Makes them, if this guest needs them.
    ///
    /// # Errors
    ///
    /// A program failed.
    pub(crate) fn wanted_by(scenario: &Scenario) -> Result<Option<Self>> {
        match scenario.task {
            Task::Packets => Self::with_server(scenario).map(Some),
            Task::Reflection => Self::silent(scenario).map(Some),
            Task::Files | Task::Load | Task::Bytes => Ok(None),
        }
    }

    /// One on which nothing goes but what somebody sends there.
    fn silent(scenario: &Scenario) -> Result<Self> {
        let tap = Self::new(scenario)?;
        if Path::new(NO_IPV6).exists() {
            fs::write(NO_IPV6, "1").context(NO_IPV6)?;
        }
        run(&["/bin/ip", "link", "set", NAME, "up"])?;
        Ok(tap)
    }

    fn new(scenario: &Scenario) -> Result<Self> {
        run(&["/bin/insmod", MODULE])?;
        // As udev does.
        let for_all = fs::Permissions::from_mode(0o666);
        fs::set_permissions(DRIVER, for_all).context(DRIVER)?;
        let user = DEVICE_UID.to_string();
        let queues = format!("--queues={}", scenario.queue_pairs());
        run(&[
            "/bin/shunt-net",
            "--tap",
            NAME,
            "--make-for",
            &user,
            &queues,
        ])?;
        Ok(Self { server: None })
    }

    fn with_server(scenario: &Scenario) -> Result<Self> {
        let mut tap = Self::new(scenario)?;
        run(&["/bin/ip", "address", "add", ADDRESS, "dev", NAME])?;
        run(&["/bin/ip", "link", "set", NAME, "up"])?;
        let server = Command::new("/bin/nc")
            .args(["-ll", "-p", PORT, "-e", "/bin/sh", "-c", SERVE])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("starting nc")?;
        tap.server = Some(server);
        Ok(tap)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // Neither can fail for a child that is ours; if the interface stays, the next one fails.
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
        let _ = run(&["/bin/ip", "link", "delete", NAME]);
        let _ = run(&["/bin/rmmod", "tun"]);
    }
}

fn run(words: &[&str]) -> Result<()> {
    let output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .with_context(|| words.join(" "))?;
    ensure!(
        output.status.success(),
        "{}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
