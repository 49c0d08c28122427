// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Keeps a device process attached to a disk: a thread for each disk, which blocks until a
//! process connects, until it hangs up, or until the machine stops.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    sync::{atomic::Ordering, Arc},
};

use anyhow::{Context, Result};
use shunt::{
    channel,
    vmm::{DeviceProcess, Resources},
};

use super::{regions, served::Served};
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
        while self.wait_for(&self.listener.as_fd())? {
            let Some(process) = self.attach()? else {
                continue;
            };
            let process = Arc::new(process);
            self.attachment.attach(Arc::clone(&process));
            self.wait_for(&process.hangup_fd())?;
            self.attachment.detach(&process)?;
            if let Some((_, regions)) = &self.by_kvm {
                regions::remove(&self.vm, regions)?;
            }
        }
        Ok(())
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
        let (kvm_end, device_end) = match &self.by_kvm {
            Some((transport, _)) => {
                let (kvm_end, device_end) = channel::pair(*transport)?;
                (Some(kvm_end), Some(device_end))
            }
            None => (None, None),
        };
        let lent = Resources {
            memory: &self.memory,
            state: &self.state,
            interrupt: &self.interrupt,
            events: &self.events,
        };
        let process = match connection.attach(&lent, device_end) {
            Ok(process) => process,
            Err(error) if is_hang_up(&error) => return Ok(None),
            Err(error) => return Err(error).context("cannot attach a device process"),
        };
        if let (Some((_, regions)), Some(kvm_end)) = (&self.by_kvm, kvm_end) {
            regions::set(&self.vm, regions, kvm_end)?;
        }
        self.processes.fetch_add(1, Ordering::SeqCst);
        Ok(Some(process))
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}
