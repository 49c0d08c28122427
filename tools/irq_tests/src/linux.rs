// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A Linux guest with the device: in a VMM that knows nothing of us, QEMU as this machine has it, or in
//! shunt-vmm, which arms the device's interrupts itself.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use rustix::process::{kill_process, Pid, Signal};

use crate::asker::{Answer, ANEW};
use crate::{edu, pci, vfio};

/// What the lab has put there.
const QEMU: &str = "/bin/qemu-system-x86_64";
const FIRMWARE: &str = "/share/qemu";
const KERNEL: &str = "/images/bzImage";
const SHUNT_VMM: &str = "/bin/shunt-vmm";
const SHUNT_KERNEL: &str = "/images/vmlinux";
const EDU_INITRD: &str = "/images/edu.cpio";
const NIC_INITRD: &str = "/images/nic.cpio";

/// MiB of memory of a guest.
const MEMORY: &str = "128";

/// KVM's paravirtual EOI is off: it hides from KVM when the guest is done with an interrupt that was
/// injected. Without SVM of its own the guest's kernel does not set vectors aside.
const CPU: &str = "host,-svm,-kvm-pv-eoi";

/// Level 5 prints warnings, which `quiet` would hide.
const CMDLINE: &str = "console=ttyS0 loglevel=5 panic=-1";

/// Lines of the guest's console that are shown of one that died.
const LAST_WORDS: usize = 20;

/// Who runs a guest.
#[derive(Clone, Copy)]
pub(crate) enum Vmm {
    Qemu,
    /// With this way to deliver the device's interrupts.
    Shunt(&'static str),
}

impl Vmm {
    /// A guest with the device of this name; `more` words are for its kernel. Its console is this
    /// command's input and output.
    fn command(self, device: &str, initrd: &str, more: &str) -> Command {
        let words = format!("{CMDLINE} {more}");
        match self {
            Self::Qemu => qemu(device, initrd, &words),
            Self::Shunt(irq) => shunt_vmm(device, irq, initrd, &words),
        }
    }
}

fn qemu(device: &str, initrd: &str, cmdline: &str) -> Command {
    let mut command = Command::new(QEMU);
    command
        .args(["-L", FIRMWARE, "-nodefaults", "-no-reboot"])
        .args(["-display", "none", "-serial", "stdio"])
        .args(["-name", "guest,debug-threads=on"])
        .args(["-machine", "q35,accel=kvm", "-cpu", CPU, "-m", MEMORY])
        .args(["-kernel", KERNEL, "-initrd", initrd, "-append", cmdline])
        .args(["-device", &format!("vfio-pci,host={device}")]);
    command
}

fn shunt_vmm(device: &str, irq: &str, initrd: &str, cmdline: &str) -> Command {
    let mut command = Command::new(SHUNT_VMM);
    command
        .args(["--kernel", SHUNT_KERNEL, "--initrd", initrd])
        .args(["--memory", MEMORY, "--cmdline", cmdline])
        .args(["--device", &format!("vfio={device},irq={irq}")]);
    command
}

/// The guest, whose device's driver is up.
pub(crate) struct Guest {
    vmm: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    console: Vec<String>,
}

/// What a number of interrupts took, beyond what it takes to ask for none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Exits for interrupts of the host's: of the device, of timers.
    pub(crate) for_interrupts: i64,
    /// Exits that the guest made, but those for ports, which its console takes.
    pub(crate) own: i64,
    pub(crate) answer: Answer,
}

impl Cost {
    /// All exits but those for ports.
    pub(crate) fn exits(&self) -> i64 {
        self.for_interrupts + self.own
    }
}

/// Exits until now, by what they were for.
struct Exits {
    for_interrupts: i64,
    own: i64,
}

impl Guest {
    /// One with an `edu`.
    pub(crate) fn with_edu(vmm: Vmm) -> Result<Self> {
        let path = pci::find(edu::ID.0, edu::ID.1, 0)?;
        Self::boot(vmm, &path, EDU_INITRD, "")
    }

    /// One with the network interface that has this directory; `more` words are for its kernel.
    pub(crate) fn with_nic(vmm: Vmm, path: &Path, more: &str) -> Result<Self> {
        Self::boot(vmm, path, NIC_INITRD, more)
    }

    fn boot(vmm: Vmm, path: &Path, initrd: &str, more: &str) -> Result<Self> {
        pci::give(path, vfio::DRIVER)?;
        let mut vmm = vmm
            .command(&pci::name(path)?, initrd, more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the VMM")?;
        let input = vmm.stdin.take().context("no console")?;
        let output = vmm.stdout.take().context("no console")?;
        let mut guest = Self {
            vmm,
            input,
            lines: BufReader::new(output).lines(),
            console: Vec::new(),
        };
        guest.next_answer().context("the guest does not come up")?;
        Ok(guest)
    }

    /// What so many interrupts take that it asks for.
    pub(crate) fn cost(&mut self, count: u32) -> Result<Cost> {
        // As many digits for each number.
        let line = |count: u32| format!("{count:08}");
        self.cost_of(&line(0), &line(count))
    }

    /// Tells it to do something.
    pub(crate) fn tell(&mut self, line: &str) -> Result<Answer> {
        writeln!(self.input, "{line}").context("the guest's console")?;
        self.next_answer()
    }

    /// What something takes beyond what nothing takes.
    pub(crate) fn cost_of(&mut self, nothing: &str, something: &str) -> Result<Cost> {
        let before = self.exits()?;
        self.tell(nothing)?;
        let between = self.exits()?;
        let answer = self.tell(something)?;
        let after = self.exits()?;
        let beyond = |of: fn(&Exits) -> i64| of(&after) + of(&before) - 2 * of(&between);
        Ok(Cost {
            for_interrupts: beyond(|exits| exits.for_interrupts),
            own: beyond(|exits| exits.own),
            answer,
        })
    }

    /// Does something, and kills it if that takes longer.
    pub(crate) fn within<T>(
        &mut self,
        limit: Duration,
        task: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let pid = Pid::from_child(&self.vmm);
        let (done, end) = mpsc::channel::<()>();
        let watchdog = thread::spawn(move || {
            if end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                // It may have ended by itself.
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let result = task(self);
        drop(done);
        // It does not panic.
        let _ = watchdog.join();
        result
    }

    /// Has the guest's driver set its interrupt up anew.
    pub(crate) fn set_up_anew(&mut self) -> Result<()> {
        self.tell(ANEW).map(drop)
    }

    fn next_answer(&mut self) -> Result<Answer> {
        for line in &mut self.lines {
            let line = line.context("the guest's console")?;
            match line.trim_end().parse() {
                Ok(answer) => return Ok(answer),
                Err(_) => self.console.push(line),
            }
        }
        let from = self.console.len().saturating_sub(LAST_WORDS);
        let words = self.console[from..].join("\n");
        bail!("the guest died; its last lines:\n{words}")
    }

    fn exits(&self) -> Result<Exits> {
        let for_interrupts = self.counter("irq_exits")?;
        let for_ports = self.counter("io_exits")?;
        Ok(Exits {
            for_interrupts,
            own: self.counter("exits")? - for_interrupts - for_ports,
        })
    }

    /// How many interrupts exitless.ko has seen in service when a direct run ended, if the VMM has it.
    pub(crate) fn in_service(&self) -> Result<u64> {
        let directory = format!("/proc/{}/fdinfo", self.vmm.id());
        let mut sum = 0;
        for entry in fs::read_dir(&directory).context(directory)?.flatten() {
            // A file may have been closed meanwhile.
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let mut words = text
                .split_whitespace()
                .skip_while(|&word| word != "in-service");
            if let Some(number) = words.nth(1) {
                sum += number.parse::<u64>().context("in-service")?;
            }
        }
        Ok(sum)
    }

    /// A counter of KVM's for the VM.
    fn counter(&self, name: &str) -> Result<i64> {
        let directory = "/sys/kernel/debug/kvm";
        let begin = format!("{}-", self.vmm.id());
        let entries = fs::read_dir(directory).context(directory)?.flatten();
        let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let vm = names.find(|name| name.starts_with(&begin));
        let path = format!("{directory}/{}/{name}", vm.context("no VM")?);
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        text.trim().parse().context(path)
    }

    /// Has `shunt-irq` arm its interrupts, with more of its options.
    pub(crate) fn arm(&self, options: &[&str]) -> Result<Arming> {
        Arming::start(self.vmm.id(), options)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Neither can fail for a child that is ours, be it dead or alive.
        let _ = self.vmm.kill();
        let _ = self.vmm.wait();
    }
}

/// A `shunt-irq` that runs.
pub(crate) struct Arming {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Arming {
    fn start(vmm: u32, options: &[&str]) -> Result<Self> {
        let mut child = Command::new("/bin/shunt-irq")
            .args(["--pid", &vmm.to_string()])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .context("shunt-irq")?;
        let output = child.stdout.take().context("no output")?;
        let mut lines = BufReader::new(output).lines();
        let mut seen = Vec::new();
        for line in &mut lines {
            let line = line?;
            if line.ends_with("armed in all") {
                return Ok(Self { child, lines });
            }
            seen.push(line);
        }
        child.wait()?;
        bail!("shunt-irq has armed nothing: {}", seen.join("; "))
    }

    /// Waits until it has armed one more.
    pub(crate) fn await_one_more(&mut self) -> Result<()> {
        for line in &mut self.lines {
            if line?.ends_with(" armed") {
                return Ok(());
            }
        }
        bail!("shunt-irq has ended")
    }

    /// Ends it, and with it what it has armed; yields its report.
    pub(crate) fn end(self) -> Result<Vec<String>> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).context("ending shunt-irq")?;
        self.await_end()
    }

    /// Waits for its end; yields its report.
    pub(crate) fn await_end(mut self) -> Result<Vec<String>> {
        let report = self.lines.collect::<Result<Vec<_>, _>>()?;
        let status = self.child.wait()?;
        ensure!(status.success(), "shunt-irq: {status}");
        Ok(report)
    }
}
