// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! KVM's table of what each GSI is: the pins of the irqchip, as KVM has them by itself, and messages
//! of PCI devices.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{anyhow, Context, Result};
use kvm_bindings::{
    kvm_irq_routing_entry, kvm_irq_routing_entry__bindgen_ty_1, kvm_irq_routing_irqchip,
    kvm_irq_routing_msi, KvmIrqRouting, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER,
    KVM_IRQCHIP_PIC_SLAVE, KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI,
};
use kvm_ioctls::VmFd;
use shunt::pci::msix_table::Message;

use crate::layout::IOAPIC_LINES;

/// Lines of each of the two PICs.
const PIC_LINES: u32 = 8;
/// `KVM_MAX_IRQ_ROUTES` less the pins' entries.
const MESSAGES: u32 = 4096 - 40;

/// The messages of a VM, by GSI; one that sends nothing now is kept for its owner.
type Table = BTreeMap<u32, Option<Message>>;

/// The table of a VM.
pub(crate) struct Routes {
    vm: Arc<VmFd>,
    messages: Mutex<Table>,
}

impl Routes {
    /// A table without messages. KVM has it from the first message on.
    pub(crate) fn new(vm: Arc<VmFd>) -> Self {
        Self {
            vm,
            messages: Mutex::default(),
        }
    }

    /// A GSI that nobody has.
    ///
    /// # Errors
    ///
    /// There is none left.
    pub(crate) fn allocate(&self) -> Result<u32> {
        let mut messages = self.lock();
        let first = u32::from(IOAPIC_LINES);
        let mut all = first..first + MESSAGES;
        let gsi = all.find(|gsi| !messages.contains_key(gsi));
        let gsi = gsi.context("no GSI is left for a message")?;
        messages.insert(gsi, None);
        Ok(gsi)
    }

    /// Has a GSI send this from now on, or nothing.
    ///
    /// # Errors
    ///
    /// KVM refuses the table.
    pub(crate) fn set(&self, gsi: u32, message: Option<Message>) -> Result<()> {
        let mut messages = self.lock();
        messages.insert(gsi, message);
        self.give_to_kvm(&messages)
    }

    /// Takes a GSI back, which sends nothing.
    pub(crate) fn free(&self, gsi: u32) {
        self.lock().remove(&gsi);
    }

    fn give_to_kvm(&self, messages: &Table) -> Result<()> {
        let sent = messages
            .iter()
            .filter_map(|(&gsi, message)| Some(entry_of(gsi, (*message)?)));
        let entries: Vec<_> = pins().chain(sent).collect();
        let routing = KvmIrqRouting::from_entries(&entries)
            .map_err(|error| anyhow!("{} interrupt routes: {error:?}", entries.len()))?;
        let set = self.vm.set_gsi_routing(&routing);
        set.context("KVM refuses the interrupt routes")
    }

    /// No step in the middle of a change of the table can panic.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry_of(gsi: u32, message: Message) -> kvm_irq_routing_entry {
    let msi = kvm_irq_routing_msi {
        address_lo: message.address as u32,
        address_hi: (message.address >> 32) as u32,
        data: message.data,
        ..Default::default()
    };
    kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        u: kvm_irq_routing_entry__bindgen_ty_1 { msi },
        ..Default::default()
    }
}

/// `default_routing` of Linux' arch/x86/kvm/irq.c.
fn pins() -> impl Iterator<Item = kvm_irq_routing_entry> {
    let pics = [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE];
    let of_pics = (0..)
        .step_by(PIC_LINES as usize)
        .zip(pics)
        .flat_map(|(first, chip)| (0..PIC_LINES).map(move |pin| pin_of(first + pin, chip, pin)));
    let all = 0..u32::from(IOAPIC_LINES);
    all.map(|pin| pin_of(pin, KVM_IRQCHIP_IOAPIC, pin))
        .chain(of_pics)
}

fn pin_of(gsi: u32, irqchip: u32, pin: u32) -> kvm_irq_routing_entry {
    let irqchip = kvm_irq_routing_irqchip { irqchip, pin };
    kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        u: kvm_irq_routing_entry__bindgen_ty_1 { irqchip },
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_where_kvm_has_them() {
        let found: Vec<_> = pins()
            .map(|entry| {
                // SAFETY: All entries of `pins` are of this type; its fields are numbers.
                let pin = unsafe { entry.u.irqchip };
                (entry.gsi, pin.irqchip, pin.pin)
            })
            .collect();
        assert_eq!(found.len(), 40);
        for want in [
            (0, 2, 0),
            (23, 2, 23),
            (0, 0, 0),
            (7, 0, 7),
            (8, 1, 0),
            (15, 1, 7),
        ] {
            assert!(found.contains(&want), "{want:?}");
        }
    }
}
