// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `dispatch=exit-ipc` and `dispatch=ioregion`: a disk with a device process.

use std::{
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc,
    },
    time::Duration,
};

use anyhow::{ensure, Context, Result};
use kvm_ioctls::{IoEventAddress, NoDatamatch, VmFd};
use shunt::{
    ioregion,
    state::StatePage,
    virtio_mmio::QUEUE_NOTIFY,
    vmm::{DeviceProcess, Listener},
};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use super::{
    attachment::Attachment,
    regions::{ByKvm, Registers, Waiting},
    spec::{Carrier, Forwarder, Notify, Reads, ServedSpec},
    Interrupts, Machine, Slot,
};
use crate::stop::Stop;

/// A disk whose device is in another process; [`super::supervisor`] keeps one attached.
pub(crate) struct Served {
    /// Where device processes connect.
    pub(super) listener: Listener,
    /// Where vCPUs find the process.
    pub(super) attachment: Arc<Attachment<DeviceProcess>>,
    /// How many processes have been attached.
    pub(super) processes: AtomicU64,
    pub(super) memory: GuestMemoryMmap,
    pub(super) state: StatePage,
    pub(super) interrupts: Interrupts,
    /// Ioeventfds of the queues, or what else is to be told to the device; or none.
    pub(super) events: Vec<EventFd>,
    /// What KVM gets; `None`: the VMM forwards every access.
    pub(super) by_kvm: Option<ByKvm>,
    /// Where the guest is to read the registers; `None`: the device process answers each read.
    pub(super) shadow: Option<(Arc<VmFd>, Slot)>,
    /// A process that takes longer for an access is given up.
    pub(super) timeout: Option<Duration>,
    pub(super) stop: Arc<Stop>,
}

impl Served {
    /// Listens for device processes.
    ///
    /// # Errors
    ///
    /// When the socket cannot be had, or KVM lacks what `spec` asks for.
    pub(crate) fn new(
        spec: &ServedSpec,
        slot: &Slot,
        state: StatePage,
        interrupts: Interrupts,
        machine: &Machine<'_>,
    ) -> Result<Self> {
        let by_kvm = match spec.forwarder {
            Forwarder::Vmm => None,
            Forwarder::Kvm {
                channel,
                posted,
                rules,
            } => {
                let waiting = Waiting {
                    posted,
                    rules,
                    timeout: spec.timeout,
                };
                Some(by_kvm(machine, slot, channel, waiting)?)
            }
        };
        let has_rules = matches!(spec.forwarder, Forwarder::Kvm { rules: true, .. });
        let events = match spec.notify {
            Notify::Register => interrupts.resample_event()?,
            Notify::Ioeventfd => notifications(machine.vm, &slot.registers, has_rules)?,
        };
        let listener = Listener::bind(&spec.socket).with_context(|| {
            let socket = spec.socket.display();
            format!("cannot listen for a device process at {socket}")
        })?;
        // Who starts the device process waits for this line: earlier, nobody would accept it.
        eprintln!(
            "shunt-vmm: listening for a device process at {}",
            spec.socket.display()
        );
        Ok(Self {
            listener,
            attachment: Arc::new(Attachment::new()),
            processes: AtomicU64::new(0),
            memory: machine.memory.clone(),
            state,
            interrupts,
            events,
            by_kvm,
            shadow: (spec.reads == Reads::Shadow).then(|| (Arc::clone(machine.vm), slot.clone())),
            timeout: spec.timeout,
            stop: Arc::clone(machine.stop),
        })
    }

    /// What answers accesses that KVM does not give to the device process itself.
    pub(crate) fn attachment(&self) -> &Arc<Attachment<DeviceProcess>> {
        &self.attachment
    }

    /// How many processes have been attached.
    pub(crate) fn processes(&self) -> u64 {
        self.processes.load(Ordering::SeqCst)
    }
}

fn by_kvm(machine: &Machine<'_>, slot: &Slot, channel: Carrier, waiting: Waiting) -> Result<ByKvm> {
    ensure!(
        ioregion::supported(machine.vm),
        "dispatch=ioregion needs KVM_CAP_IOREGIONFD, which this kernel does not have: load \
         ioregion.ko, or choose dispatch=exit-ipc"
    );
    Ok(ByKvm::new(
        machine,
        slot.registers.clone(),
        channel,
        waiting,
    ))
}

/// An eventfd for each notification that the guest can write, which KVM signals: by rules, or as
/// ioeventfds from now on.
fn notifications(vm: &VmFd, registers: &Registers, by_rules: bool) -> Result<Vec<EventFd>> {
    let places: Vec<u64> = match registers.model {
        Some(model) => model.notifications().collect(),
        None => vec![QUEUE_NOTIFY],
    };
    let event = |offset| {
        let event = EventFd::new(EFD_NONBLOCK).context("cannot create the notification eventfd")?;
        let address = registers.address + offset;
        let place = IoEventAddress::Mmio(address);
        let set = match (by_rules, registers.model) {
            (true, _) => Ok(()),
            (false, Some(_)) => vm.register_ioevent(&event, &place, NoDatamatch),
            // One register for all queues: the disk's only one.
            (false, None) => vm.register_ioevent(&event, &place, 0u32),
        };
        set.with_context(|| format!("KVM refuses an ioeventfd at {address:#x}"))?;
        Ok(event)
    };
    places.into_iter().map(event).collect()
}
