// SPDX-License-Identifier: GPL-2.0-only

//! Which interrupt means what.

use crate::{
    ffi,
    interrupts::{
        Handler,
        Interrupts,
        Source, //
    },
    registers::{
        raw_pci,
        Window, //
    },
};
use core::ptr::null_mut;
use kernel::{
    bindings,
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};
use virtio_spec::pci::NO_VECTOR;

/// Which vector each queue and the configuration has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Vector 0 is the configuration's, and `1 + queue` each queue's.
    PerQueue,
    /// Vector 0 is the configuration's, and vector 1 that of all queues.
    Shared,
    /// There are no vectors: one interrupt for all, and a register that tells why.
    Line,
}

impl Plan {
    /// The configuration's vector.
    pub(crate) fn config(self) -> u16 {
        match self {
            Self::PerQueue | Self::Shared => 0,
            Self::Line => NO_VECTOR,
        }
    }

    /// The queue's vector.
    pub(crate) fn queue(self, queue: u16) -> u16 {
        match self {
            Self::PerQueue => queue.wrapping_add(1),
            Self::Shared => 1,
            Self::Line => NO_VECTOR,
        }
    }
}

/// MSI-X vectors of a PCI device.
///
/// # Invariants
///
/// They are allocated.
pub(crate) struct PciVectors(ARef<pci::Device>);

impl Drop for PciVectors {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; all of their handlers have gone, as they are dropped first.
        unsafe { bindings::pci_free_irq_vectors(raw_pci(&self.0)) };
    }
}

/// Interrupts that are allocated, but do not come yet.
pub struct Vectors {
    pub(crate) plan: Plan,
    pub(crate) queues: u16,
    /// Number of each interrupt, for `request_irq`.
    pub(crate) irqs: KVec<u32>,
    /// Says why a [`Plan::Line`] was raised.
    pub(crate) status: Option<StatusRegister>,
    pub(crate) owner: Option<PciVectors>,
}

/// The register that tells what an interrupt is for.
#[derive(Clone)]
pub(crate) enum StatusRegister {
    /// Reading it takes the interrupt back: section 4.1.4.5.
    Pci(Window),
    /// The registers of virtio-mmio, of which one tells and another one takes the interrupt back.
    Mmio {
        registers: Window,
        /// The interrupt comes as long as there is a reason for it.
        is_level: bool,
    },
}

impl Vectors {
    /// Vectors of a PCI device: at best one for each queue, at worst its INTx line.
    pub(crate) fn of_pci(device: &ARef<pci::Device>, queues: u16, isr: &Window) -> Result<Self> {
        let all = u32::from(queues) + 1;
        // More queues than CPUs cannot be spread over them.
        let spread = allocate(
            device,
            all,
            bindings::PCI_IRQ_MSIX | bindings::PCI_IRQ_AFFINITY,
        );
        let per_queue = spread.or_else(|_| allocate(device, all, bindings::PCI_IRQ_MSIX));
        let (plan, number) = if per_queue.is_ok() {
            (Plan::PerQueue, all)
        } else if allocate(device, 2, bindings::PCI_IRQ_MSIX).is_ok() {
            (Plan::Shared, 2)
        } else {
            allocate(device, 1, bindings::PCI_IRQ_INTX)?;
            (Plan::Line, 1)
        };
        // INVARIANT: They were just allocated.
        let owner = Some(PciVectors(device.clone()));
        let mut irqs = KVec::with_capacity(number as usize, GFP_KERNEL)?;
        for index in 0..number {
            // SAFETY: The device is valid, and so many vectors were allocated.
            let irq = unsafe { bindings::pci_irq_vector(raw_pci(device), index) };
            irqs.push(u32::try_from(irq)?, GFP_KERNEL)?;
        }
        let status = (plan == Plan::Line).then(|| StatusRegister::Pci(isr.clone()));
        Ok(Self {
            plan,
            queues,
            irqs,
            status,
            owner,
        })
    }

    /// The one interrupt of a virtio-mmio device.
    pub(crate) fn of_line(irq: u32, queues: u16, registers: Window) -> Result<Self> {
        let mut irqs = KVec::with_capacity(1, GFP_KERNEL)?;
        irqs.push(irq, GFP_KERNEL)?;
        // SAFETY: It only looks.
        let is_level = unsafe { ffi::shunt_irq_is_level(irq) };
        Ok(Self {
            plan: Plan::Line,
            queues,
            irqs,
            status: Some(StatusRegister::Mmio {
                registers,
                is_level,
            }),
            owner: None,
        })
    }

    /// Which interrupt means what.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Has `handler` called when they come, and lets them come. `name` is for `/proc/interrupts`.
    ///
    /// # Errors
    ///
    /// No memory, or another driver does not share the line.
    pub fn request<H: Handler>(self, handler: Arc<H>, name: &CStr) -> Result<Interrupts<H>> {
        Interrupts::new(self, handler, name)
    }

    /// What the interrupt of this index means.
    pub(crate) fn source(&self, index: usize) -> Source {
        match (&self.status, self.plan, index) {
            (Some(status), ..) => Source::Line(status.clone(), self.queues),
            (None, Plan::PerQueue, 1..) => Source::Queue((index - 1) as u16),
            (None, _, 0) => Source::Config,
            (None, ..) => Source::Queues(self.queues),
        }
    }
}

/// Allocates exactly `number` vectors; if they are to be spread over the CPUs, all but the first.
fn allocate(device: &pci::Device, number: u32, flags: u32) -> Result {
    let mut affinity = bindings::irq_affinity {
        pre_vectors: 1,
        ..pin_init::zeroed()
    };
    let affinity = match flags & bindings::PCI_IRQ_AFFINITY {
        0 => null_mut(),
        _ => &raw mut affinity,
    };
    // SAFETY: The device is valid and bound to us, and has no vectors yet.
    let allocated = unsafe {
        bindings::pci_alloc_irq_vectors_affinity(raw_pci(device), number, number, flags, affinity)
    };
    kernel::error::to_result(allocated)
}
