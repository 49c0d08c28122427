// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Keeps a device process attached to a disk: a thread for each disk, which blocks until a
//! process connects, until it hangs up, or until the machine stops.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    sync::{atomic::Ordering, Arc},
};

use anyhow::{Context, Result};
use shunt::vmm::{DeviceProcess, Resources};

use super::{regions::ByKvm, served::Served};
use crate::{
    readiness,
    stop::{Outcome, StopOnPanic},
};

impl Served {
    /// Attaches one process after the other until the machine stops. What cannot be repaired
    /// stops the machine.
    pub(crate) fn supervise(&self) {
        let _guard = StopOnPanic(&self.stop);
        if let Err(error) = self.serve_processes() {
            self.stop.request(Outcome::Failed(error));
        }
    }

    fn serve_processes(&self) -> Result<()> {
        let mut shows_registers = false;
        while self.wait_for(&self.listener.as_fd())? {
            let Some(process) = self.attach()? else {
                continue;
            };
            let process = Arc::new(process);
            self.attachment.attach(Arc::clone(&process));
            if !shows_registers {
                shows_registers = self.show_registers(&process)?;
            }
            self.wait_for(&process.hangup_fd())?;
            self.attachment.detach(&process)?;
            if let Some(by_kvm) = &self.by_kvm {
                by_kvm.remove()?;
            }
        }
        Ok(())
    }

    /// Lets the guest read the registers in memory, if it is to, once the process has published
    /// them: when it serves. False when it died before.
    fn show_registers(&self, process: &DeviceProcess) -> Result<bool> {
        let Some((vm, slot)) = &self.shadow else {
            return Ok(true);
        };
        if process.drain().is_err() {
            return Ok(false);
        }
        slot.show(vm, &self.state)?;
        Ok(true)
    }

    /// Waits until `source` is readable or hung up; false when the machine stops.
    fn wait_for(&self, source: &dyn AsRawFd) -> Result<bool> {
        loop {
            match readiness::wait([self.stop.event(), source])? {
                [true, _] => return Ok(false),
                [_, true] => return Ok(true),
                _ => {}
            }
        }
    }

    /// Takes the next connection; `None` when the process was gone before it was attached.
    fn attach(&self) -> Result<Option<DeviceProcess>> {
        let connection = self
            .listener
            .accept()
            .context("cannot accept a device process")?;
        let channel = self.by_kvm.as_ref().map(ByKvm::channel).transpose()?;
        let (kvm_end, device_end) = channel.unzip();
        let lent = Resources {
            memory: &self.memory,
            state: &self.state,
            interrupt: &self.interrupts.line,
            vectors: &self.interrupts.vectors,
            events: &self.events,
        };
        let process = match connection.attach(&lent, device_end) {
            Ok(process) => process,
            Err(error) if is_hang_up(&error) => return Ok(None),
            Err(error) => return Err(error).context("cannot attach a device process"),
        };
        process.set_timeout(self.timeout)?;
        if let (Some(by_kvm), Some(kvm_end)) = (&self.by_kvm, kvm_end) {
            by_kvm.set(kvm_end, &self.state, &self.events)?;
        }
        self.processes.fetch_add(1, Ordering::SeqCst);
        eprintln!("shunt-vmm: a device process has connected");
        Ok(Some(process))
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::{attachment::Attachment, registers::Registers, Interrupts},
        stop::Stop,
    };
    use shunt::{
        device::Device, memory, serve::serve, session::Session, state::StatePage, vmm::Listener,
        Command, Operation, Width,
    };
    use std::{
        path::Path,
        sync::{atomic::AtomicU64, mpsc},
        thread,
        time::Duration,
    };
    use vm_memory::GuestAddress;
    use vmm_sys_util::{eventfd::EventFd, tempdir::TempDir};

    /// Reads as its name.
    struct Mortal {
        name: u64,
        dies_of_a_write: bool,
    }

    impl Device for Mortal {
        fn read(&mut self, _: u64, _: Width) -> u64 {
            self.name
        }

        fn write(&mut self, _: u64, _: Width, _: u64) {
            assert!(!self.dies_of_a_write, "this panic belongs to the test");
        }
    }

    /// Answers nothing before the other end of this is gone.
    struct Hung(mpsc::Receiver<()>);

    impl Device for Hung {
        fn read(&mut self, _: u64, _: Width) -> u64 {
            // Nobody sends: it ends when the test does.
            let _ = self.0.recv();
            0
        }

        fn write(&mut self, _: u64, _: Width, _: u64) {}
    }

    fn served(socket: &Path, stop: &Arc<Stop>) -> Served {
        Served {
            listener: Listener::bind(socket).unwrap(),
            attachment: Arc::new(Attachment::new()),
            processes: AtomicU64::new(0),
            memory: memory::allocate(&[(GuestAddress(0), 4096)]).unwrap(),
            state: StatePage::create().unwrap(),
            interrupts: Interrupts::of_line(EventFd::new(0).unwrap()),
            events: Vec::new(),
            by_kvm: None,
            shadow: None,
            timeout: None,
            stop: Arc::clone(stop),
        }
    }

    fn access(served: &Served, operation: Operation) -> u64 {
        let command = Command {
            operation,
            width: Width::Long,
            expects_reply: true,
            user_data: 0,
            offset: 0,
        };
        served.attachment.access(&command).unwrap().data
    }

    #[test]
    fn a_write_that_kills_its_process_is_done_by_the_next() {
        let folder = TempDir::new_with_prefix("/tmp/shunt-vmm").unwrap();
        let socket = folder.as_path().join("socket");
        let stop = Arc::new(Stop::new().unwrap());
        let served = served(&socket, &stop);
        let device = |name, dies_of_a_write| {
            let session = Session::connect(&socket).unwrap();
            let mut device = Mortal {
                name,
                dies_of_a_write,
            };
            serve(session, &mut device).unwrap();
        };
        thread::scope(|scope| {
            scope.spawn(|| served.supervise());
            let first = scope.spawn(|| device(1, true));
            assert_eq!(access(&served, Operation::Read), 1);
            let write = scope.spawn(|| access(&served, Operation::Write(0)));
            assert!(first.join().is_err());
            scope.spawn(|| device(2, false));
            write.join().unwrap();
            assert_eq!(access(&served, Operation::Read), 2);
            stop.request(Outcome::GuestReset);
            served.attachment.close().unwrap();
        });
        assert_eq!(served.processes(), 2);
        assert!(matches!(stop.outcome(), Some(Outcome::GuestReset)));
    }

    #[test]
    fn an_access_does_not_wait_for_a_process_that_hangs() {
        let folder = TempDir::new_with_prefix("/tmp/shunt-vmm").unwrap();
        let socket = folder.as_path().join("socket");
        let stop = Arc::new(Stop::new().unwrap());
        let mut served = served(&socket, &stop);
        served.timeout = Some(Duration::from_millis(500));
        thread::scope(|scope| {
            let (end_hang, hang) = mpsc::channel();
            scope.spawn(|| served.supervise());
            let hung = scope.spawn(|| serve(Session::connect(&socket).unwrap(), &mut Hung(hang)));
            let read = scope.spawn(|| access(&served, Operation::Read));
            // The first in the queue of the listener is the one that hangs: it is attached.
            while served.processes() == 0 {
                thread::yield_now();
            }
            let next = scope.spawn(|| {
                let mut device = Mortal {
                    name: 2,
                    dies_of_a_write: false,
                };
                serve(Session::connect(&socket).unwrap(), &mut device)
            });
            assert_eq!(read.join().unwrap(), 2);
            drop(end_hang);
            hung.join().unwrap().unwrap();
            stop.request(Outcome::GuestReset);
            served.attachment.close().unwrap();
            next.join().unwrap().unwrap();
        });
    }
}
