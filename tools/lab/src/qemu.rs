// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! L0: the one place that knows QEMU's command line.

pub(crate) mod monitor;
mod program;
mod tsc;

pub(crate) use monitor::Monitor;
pub(crate) use program::{check_version, Program, NO_RECENT};

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::ValueEnum;
use l1::job::{Job, PARAMETER, SPARE};

use crate::boot::Emulated;
use crate::images::Images;

/// A machine of QEMU's that has one serial port by itself.
const MICROVM: &str = "microvm";

/// Who executes L1's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accelerator {
    /// QEMU itself: works everywhere
    Tcg,
    /// The machine's /dev/kvm, with nested virtualization
    Kvm,
    /// KVM if a trial boot with it succeeds, else TCG
    Auto,
}

/// Where L1's console goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Console {
    /// To a file.
    File,
    /// To the user.
    Terminal,
}

/// What one L1 has and others have not.
#[derive(Debug)]
pub(crate) struct Hardware {
    /// QEMU's `-machine`.
    pub(crate) machine: &'static str,
    /// Words before QEMU's command line: a program that runs it.
    pub(crate) before: Vec<String>,
    /// Further arguments of QEMU's.
    pub(crate) arguments: Vec<String>,
    /// Further words of the kernel's command line.
    pub(crate) cmdline: String,
}

impl Hardware {
    /// That of most L1s.
    pub(crate) const PLAIN: &'static Self = &Self {
        machine: "q35,kernel-irqchip=off",
        before: Vec::new(),
        arguments: Vec::new(),
        cmdline: String::new(),
    };
}

/// Memory of an L1, also for those whose memory QEMU has from a file. A kernel with sanitizers takes a
/// half of it for itself and the images.
pub(crate) const MEMORY: &str = "1536M";

/// One L1.
pub(crate) struct Machine<'a> {
    pub(crate) qemu: &'a Program,
    pub(crate) hardware: &'a Hardware,
    pub(crate) images: &'a Images,
    pub(crate) job: &'a Job,
    /// CPUs for programs.
    pub(crate) cpus: u32,
    /// KVM runs guests in it.
    pub(crate) has_guests: bool,
    /// One instruction is one nanosecond of its time, and two runs are identical.
    pub(crate) deterministic: bool,
    pub(crate) accelerator: Accelerator,
    pub(crate) console: Console,
    /// Directory of its logs.
    pub(crate) directory: &'a Path,
}

impl Machine<'_> {
    /// TCG writes the first CPU's `hflags2` from the threads of all CPUs, whenever one of them loads
    /// the state of an x87 (`cpu_clear_ignne()`), and not atomically: what that CPU itself has
    /// written at the same moment is lost, such as that it is back from a guest, or that its
    /// interrupts are on again (GIF). So guests run on the others.
    fn spares_first_cpu(&self) -> bool {
        let in_parallel = !self.deterministic && self.accelerator != Accelerator::Kvm;
        self.has_guests && in_parallel && self.cpus > 1
    }

    fn processor(&self) -> Vec<String> {
        let cpus = (self.cpus + u32::from(self.spares_first_cpu())).to_string();
        let (accelerator, model) = match self.accelerator {
            Accelerator::Kvm => ("kvm", "host"),
            Accelerator::Tcg | Accelerator::Auto => ("tcg", "EPYC-v2,+svm,+x2apic,+npt"),
        };
        ["-accel", accelerator, "-cpu", model, "-smp", &cpus]
            .map(str::to_owned)
            .to_vec()
    }

    /// A WARN is printed at level 4, which `quiet` would hide from the scan of the log, and that
    /// lockdep has given up, at level 7.
    /// KVM polls for a while before a halted guest sleeps; under TCG that takes the CPU away
    /// from the device that the guest waits for, and makes a guest take longer. On a busy machine
    /// the kernel's check of its timer finds no tick in time, and panics.
    fn cmdline(&self) -> String {
        let clock = self.clock();
        let spare = match self.spares_first_cpu() {
            true => format!("{SPARE} "),
            false => String::new(),
        };
        let level = match self.console {
            Console::File => 8,
            Console::Terminal => 5,
        };
        format!(
            "console=ttyS0 loglevel={level} panic=-1 oops=panic nokaslr no_timer_check kvm.halt_poll_ns=0 {clock}{spare}{PARAMETER}{} {}",
            self.job,
            self.hardware.cmdline
        )
    }

    /// On a busy machine L1 measures its time-stamp counter wrongly, and its clock then runs up to
    /// 45 times too fast: so it is told the rate. With `-icount` all is exact.
    /// Nor may the kernel watch that counter: one CPU then waits for the other with a time-out in
    /// the clock it has just booted with, which stands still meanwhile, while the other stops
    /// all CPUs to change that very clock.
    fn clock(&self) -> String {
        let is_handed_through = !self.deterministic && self.accelerator != Accelerator::Kvm;
        match tsc::khz().filter(|_| is_handed_through) {
            Some(khz) => format!("tsc_early_khz={khz} tsc=nowatchdog "),
            None => String::new(),
        }
    }
}

impl Emulated for Machine<'_> {
    fn emulator(&self) -> &'static str {
        "QEMU"
    }

    fn cpus(&self) -> u32 {
        self.cpus
    }

    fn directory(&self) -> &Path {
        self.directory
    }

    fn command(&self) -> Result<Command> {
        let mut command = run_by(&self.hardware.before, self.qemu.command());
        let log = self.emulator_log();
        command
            .stderr(File::create(&log).with_context(|| log.display().to_string())?)
            .args(["-machine", self.hardware.machine])
            .args(self.processor())
            .args([
                "-m",
                MEMORY,
                "-no-reboot",
                "-nic",
                "none",
                "-display",
                "none",
            ])
            .arg("-kernel")
            .arg(&self.images.kernel)
            .arg("-initrd")
            .arg(&self.images.initramfs)
            .args(["-append", &self.cmdline()]);
        if self.deterministic {
            command
                .args(["-icount", "shift=0,sleep=off", "-seed", "1"])
                .args(["-rtc", "base=2025-01-01,clock=vm"]);
        }
        match self.console {
            Console::File => command
                .args(["-monitor", "none", "-serial"])
                .arg(file(&self.log()))
                .stdin(Stdio::null()),
            Console::Terminal => command.args(["-serial", "mon:stdio"]),
        };
        let results = self.results();
        match self.hardware.machine.starts_with(MICROVM) {
            true => command
                .arg("-chardev")
                .arg(format!("file,id=results,path={}", escaped(&results)))
                .args(["-device", "isa-serial,chardev=results,index=1"]),
            false => command.arg("-serial").arg(file(&results)),
        };
        command.args(&self.hardware.arguments);
        Ok(command)
    }
}

/// The command as words after those of a program that runs it.
fn run_by(before: &[String], command: Command) -> Command {
    let [program, words @ ..] = before else {
        return command;
    };
    let mut runner = Command::new(program);
    runner.args(words).arg(command.get_program());
    runner.args(command.get_args());
    let set = |(name, value)| Some((name, value?));
    runner.envs(command.get_envs().filter_map(set));
    runner
}

/// A serial port's back end.
fn file(path: &Path) -> String {
    format!("file:{}", escaped(path))
}

/// A path in an option. A comma would end it.
pub(crate) fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_path_stays_in_it() {
        assert_eq!(file(Path::new("a,b")), "file:a,,b");
    }
}
