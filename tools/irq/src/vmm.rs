// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A VMM that knows nothing of us: its VM, its eventfds and its vCPUs' threads, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use rustix::io::Errno;
use rustix::process::{pidfd_getfd, pidfd_open, Pid, PidfdFlags, PidfdGetfdFlags};
use rustix::thread::{sched_setaffinity, CpuSet};

/// What `/proc/PID/fd` calls a VM of KVM's, and an eventfd.
const VM: &str = "anon_inode:kvm-vm";
const EVENTFD: &str = "anon_inode:[eventfd]";

/// What tells an eventfd from all others that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventfdId(u64);

impl EventfdId {
    /// That of a descriptor of ours, if it is an eventfd's.
    fn of(descriptor: &OwnedFd) -> Result<Option<Self>> {
        let path = format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd());
        let text = fs::read_to_string(&path).context(path)?;
        let mut lines = text.lines();
        let id = lines.find_map(|line| line.strip_prefix("eventfd-id:"));
        id.map(|id| Ok(Self(id.trim().parse()?))).transpose()
    }
}

/// The process.
pub struct Vmm {
    directory: PathBuf,
    process: OwnedFd,
}

impl Vmm {
    /// The process of this number.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn open(number: i32) -> Result<Self> {
        let pid = Pid::from_raw(number).context("0 is no process")?;
        Ok(Self {
            directory: Path::new("/proc").join(number.to_string()),
            process: pidfd_open(pid, PidfdFlags::empty())
                .with_context(|| format!("process {number}"))?,
        })
    }

    /// Its VM.
    ///
    /// # Errors
    ///
    /// It has none or several, or we may not have it: that takes the right to trace the process.
    pub fn vm(&self) -> Result<OwnedFd> {
        let mut vms = self.descriptors(VM)?;
        ensure!(vms.len() == 1, "the process has {} VMs", vms.len());
        vms.pop().context("no VM")
    }

    /// Its eventfds, each once.
    ///
    /// # Errors
    ///
    /// We may not have them.
    pub fn eventfds(&self) -> Result<BTreeMap<EventfdId, OwnedFd>> {
        let mut eventfds = BTreeMap::new();
        for descriptor in self.descriptors(EVENTFD)? {
            // Its number may have become that of another file.
            if let Some(id) = EventfdId::of(&descriptor)? {
                eventfds.insert(id, descriptor);
            }
        }
        Ok(eventfds)
    }

    /// Descriptors of this kind, as ours.
    fn descriptors(&self, kind: &str) -> Result<Vec<OwnedFd>> {
        let mut found = Vec::new();
        for number in self.numbers("fd")? {
            let link = fs::read_link(self.directory.join(format!("fd/{number}")));
            // It may have been closed meanwhile.
            if link.is_ok_and(|link| link == Path::new(kind)) {
                match pidfd_getfd(&self.process, number as RawFd, PidfdGetfdFlags::empty()) {
                    Err(Errno::BADF) => {}
                    taken => found.push(taken.with_context(|| format!("descriptor {number}"))?),
                }
            }
        }
        Ok(found)
    }

    /// Lets each vCPU's thread run on one CPU, the first vCPU's on the first CPU.
    ///
    /// # Errors
    ///
    /// There are not as many vCPUs, or they cannot be told: QEMU names their threads with
    /// `-name debug-threads=on`.
    pub fn pin(&self, cpus: &[usize]) -> Result<()> {
        let vcpus = self.vcpus()?;
        let (has, wants) = (vcpus.len(), cpus.len());
        ensure!(
            has == wants,
            "{has} threads are called CPU n/KVM, not {wants}"
        );
        for (&thread, &cpu) in vcpus.iter().zip(cpus) {
            let mut set = CpuSet::new();
            set.set(cpu);
            sched_setaffinity(Some(thread), &set).with_context(|| format!("CPU {cpu}"))?;
        }
        Ok(())
    }

    /// The vCPUs' threads, by the vCPUs' numbers.
    fn vcpus(&self) -> Result<Vec<Pid>> {
        let mut vcpus = Vec::new();
        for thread in self.numbers("task")? {
            let name = fs::read_to_string(self.directory.join(format!("task/{thread}/comm")));
            if let Some(vcpu) = name.ok().as_deref().and_then(vcpu) {
                vcpus.push((vcpu, Pid::from_raw(thread).context("thread 0")?));
            }
        }
        vcpus.sort_unstable_by_key(|&(vcpu, _)| vcpu);
        Ok(vcpus.into_iter().map(|(_, thread)| thread).collect())
    }

    /// The entries of one of its directories, which are numbers.
    fn numbers(&self, directory: &str) -> Result<Vec<i32>> {
        let path = self.directory.join(directory);
        let entries = fs::read_dir(&path).with_context(|| path.display().to_string())?;
        let numbers = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().parse()?));
        numbers.collect()
    }
}

impl AsFd for Vmm {
    /// Readable when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

/// The number of the vCPU whose thread has this name.
fn vcpu(name: &str) -> Option<u32> {
    let number = name.trim_end().strip_prefix("CPU ")?.strip_suffix("/KVM")?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::EventfdFlags;
    use std::fs::File;
    use vmm_sys_util::eventfd::EventFd;

    #[test]
    fn qemus_names_of_vcpus() {
        assert_eq!(vcpu("CPU 0/KVM\n"), Some(0));
        assert_eq!(vcpu("CPU 12/KVM\n"), Some(12));
        for name in ["qemu-system-x86\n", "CPU 0/TCG\n", "CPU x/KVM\n", ""] {
            assert_eq!(vcpu(name), None, "{name:?}");
        }
    }

    #[test]
    fn an_eventfd_of_another_is_the_same() {
        let ours = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let vmm = Vmm::open(std::process::id() as i32).unwrap();
        let taken = vmm.eventfds().unwrap();
        ours.write(7).unwrap();
        let mut value = [0; 8];
        let read = |fd: &OwnedFd, value: &mut [u8; 8]| {
            fd.as_raw_fd() != ours.as_raw_fd() && rustix::io::read(fd, value).is_ok()
        };
        assert!(taken.values().any(|fd| read(fd, &mut value)));
        assert_eq!(u64::from_ne_bytes(value), 7);
    }

    #[test]
    fn descriptors_of_an_eventfd_have_one_id() {
        let new = || rustix::event::eventfd(0, EventfdFlags::empty()).unwrap();
        let id = |eventfd: &OwnedFd| EventfdId::of(eventfd).unwrap();
        let (one, other) = (new(), new());
        assert!(id(&one).is_some());
        assert_eq!(id(&one), id(&one.try_clone().unwrap()));
        assert_ne!(id(&one), id(&other));
        assert_eq!(id(&File::open("/dev/null").unwrap().into()), None);
    }

    #[test]
    fn who_has_no_vm_is_refused() {
        let vmm = Vmm::open(std::process::id() as i32).unwrap();
        let error = vmm.vm().unwrap_err();
        assert_eq!(error.to_string(), "the process has 0 VMs");
    }
}
