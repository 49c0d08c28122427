// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A VM with RAM and nothing else.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use kvm_bindings::{
    kvm_enable_cap, kvm_irqchip, kvm_mp_state, kvm_userspace_memory_region, KVM_CAP_SPLIT_IRQCHIP,
    KVM_IRQCHIP_PIC_MASTER, KVM_MAX_CPUID_ENTRIES, KVM_MEM_READONLY, KVM_MP_STATE_RUNNABLE,
};
use kvm_ioctls::{Kvm, VmFd};

use crate::ram::{self, CODE, CODE_SIZE, HANDLERS, HANDLER_SIZE, MAX_VCPUS, RAM_SLOT};
use crate::{registers, Asm, Error, Memory, Result, Vcpu};

/// What memory slots have shown. It stays mapped as long as a guest can run.
pub(crate) type Shown = Arc<Mutex<Vec<Arc<Memory>>>>;

/// Which interrupt controllers the kernel has for a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Irqchip {
    None,
    /// All of them.
    Full,
    /// Local APICs, in x2APIC mode.
    LocalX2apics,
}

/// A VM: RAM at address 0, and the vCPUs that have been added.
///
/// KVM destroys the VM when the machine, its vCPUs and every clone of [`Machine::fd`] are
/// dropped.
#[derive(Debug)]
pub struct Machine {
    kvm: Kvm,
    fd: Arc<VmFd>,
    ram: Arc<Memory>,
    shown: Shown,
    irqchip: Irqchip,
    vcpus: Cell<usize>,
    handlers: Cell<usize>,
}

impl Machine {
    /// A VM without interrupt controllers: `hlt` is an exit.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] when KVM is missing or refuses.
    pub fn new() -> Result<Self> {
        Self::build(Irqchip::None)
    }

    /// A VM with interrupt controllers in the kernel, as `KVM_IRQFD` needs them: `hlt` waits in
    /// KVM for an interrupt, so end programs with an access that exits instead.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] when KVM is missing or refuses.
    pub fn with_irqchip() -> Result<Self> {
        Self::build(Irqchip::Full)
    }

    /// A VM with local APICs in the kernel, in x2APIC mode, and no other interrupt controller:
    /// messages (`KVM_IRQ_ROUTING_MSI`) reach them. `hlt` waits in KVM, as above.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] when KVM is missing or refuses.
    pub fn with_local_apics() -> Result<Self> {
        Self::build(Irqchip::LocalX2apics)
    }

    fn build(irqchip: Irqchip) -> Result<Self> {
        let kvm = Kvm::new().map_err(Error::kvm("open /dev/kvm"))?;
        let fd = kvm.create_vm().map_err(Error::kvm("KVM_CREATE_VM"))?;
        match irqchip {
            Irqchip::None => {}
            Irqchip::Full => fd
                .create_irq_chip()
                .map_err(Error::kvm("KVM_CREATE_IRQCHIP"))?,
            Irqchip::LocalX2apics => fd
                .enable_cap(&kvm_enable_cap {
                    cap: KVM_CAP_SPLIT_IRQCHIP,
                    ..Default::default()
                })
                .map_err(Error::kvm("KVM_CAP_SPLIT_IRQCHIP"))?,
        }
        let ram = Arc::new(ram::build()?);
        let machine = Self {
            kvm,
            fd: Arc::new(fd),
            ram,
            shown: Shown::default(),
            irqchip,
            vcpus: Cell::new(0),
            handlers: Cell::new(0),
        };
        machine.show_ram(RAM_SLOT, 0)?;
        Ok(machine)
    }

    /// The VM's file descriptor, for regions, ioeventfds and memory slots.
    pub fn fd(&self) -> &Arc<VmFd> {
        &self.fd
    }

    /// The guest's RAM.
    pub fn ram(&self) -> &Arc<Memory> {
        &self.ram
    }

    /// The interrupts, a bit for each line, that the first PIC of [`Machine::with_irqchip`] has
    /// been asked for and not delivered.
    ///
    /// # Errors
    ///
    /// [`Error::Call`], also when there is no PIC.
    pub fn requested_interrupts(&self) -> Result<u8> {
        let mut chip = kvm_irqchip {
            chip_id: KVM_IRQCHIP_PIC_MASTER,
            ..Default::default()
        };
        self.fd
            .get_irqchip(&mut chip)
            .map_err(Error::kvm("KVM_GET_IRQCHIP"))?;
        // SAFETY: KVM has filled in the chip that was asked for, which is a PIC; and the member
        // is plain data, for which all bytes are values.
        Ok(unsafe { chip.chip.pic.irr })
    }

    /// Makes the RAM appear (once more) at a page-aligned address, as memory slot `slot`.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] when KVM refuses.
    pub fn show_ram(&self, slot: u32, address: u64) -> Result<()> {
        self.show(slot, address, &self.ram, 0)
    }

    /// Makes memory appear at a page-aligned address, as memory slot `slot`. The guest's reads
    /// are then loads, its writes go where they would without the slot.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] when KVM refuses.
    pub fn show_read_only(&self, slot: u32, address: u64, memory: &Arc<Memory>) -> Result<()> {
        self.show(slot, address, memory, KVM_MEM_READONLY)
    }

    fn show(&self, slot: u32, address: u64, memory: &Arc<Memory>, flags: u32) -> Result<()> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if !shown.iter().any(|other| Arc::ptr_eq(other, memory)) {
            shown.push(memory.clone());
        }
        self.set_slot(kvm_userspace_memory_region {
            slot,
            flags,
            guest_phys_addr: address,
            memory_size: memory.size() as u64,
            userspace_addr: memory.host_address(),
        })
    }

    /// Removes a memory slot.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] when KVM refuses.
    pub fn remove_slot(&self, slot: u32) -> Result<()> {
        self.set_slot(kvm_userspace_memory_region {
            slot,
            ..Default::default()
        })
    }

    fn set_slot(&self, slot: kvm_userspace_memory_region) -> Result<()> {
        // SAFETY: a slot is a whole mapping, or none. The machine and every vCPU hold `shown`,
        // so it stays mapped as long as a guest can run.
        unsafe { self.fd.set_user_memory_region(slot) }
            .map_err(Error::kvm("KVM_SET_USER_MEMORY_REGION"))
    }

    /// Creates the next vCPU, ready to run `program` with all registers zero.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyVcpus`], [`Error::ProgramTooLarge`], or [`Error::Call`].
    pub fn add_vcpu(&self, program: &Asm) -> Result<Vcpu> {
        let index = self.vcpus.get();
        if index == MAX_VCPUS {
            return Err(Error::TooManyVcpus { most: MAX_VCPUS });
        }
        let code = self.write_program(index, program)?;
        let fd = self
            .fd
            .create_vcpu(index as u64)
            .map_err(Error::kvm("KVM_CREATE_VCPU"))?;
        self.vcpus.set(index + 1);
        let cpuid = self
            .kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(Error::kvm("KVM_GET_SUPPORTED_CPUID"))?;
        fd.set_cpuid2(&cpuid)
            .map_err(Error::kvm("KVM_SET_CPUID2"))?;
        let mut sregs = fd.get_sregs().map_err(Error::kvm("KVM_GET_SREGS"))?;
        registers::enter(program.mode(), &mut sregs);
        if self.irqchip == Irqchip::LocalX2apics {
            registers::with_x2apic(&mut sregs);
        }
        fd.set_sregs(&sregs).map_err(Error::kvm("KVM_SET_SREGS"))?;
        fd.set_regs(&registers::initial(code, index))
            .map_err(Error::kvm("KVM_SET_REGS"))?;
        if self.irqchip != Irqchip::None {
            let runnable = kvm_mp_state {
                mp_state: KVM_MP_STATE_RUNNABLE,
            };
            fd.set_mp_state(runnable)
                .map_err(Error::kvm("KVM_SET_MP_STATE"))?;
        }
        Ok(Vcpu::new(fd, self.fd.clone(), self.shown.clone()))
    }

    /// Makes `program` the handler of a vector, for all vCPUs in long mode. It ends with
    /// [`Asm::iret`].
    ///
    /// # Errors
    ///
    /// [`Error::ProgramTooLarge`].
    pub fn add_handler(&self, vector: u8, program: &Asm) -> Result<()> {
        let len = program.bytes().len();
        if len > HANDLER_SIZE {
            return Err(Error::ProgramTooLarge {
                len,
                room: HANDLER_SIZE,
            });
        }
        let number = self.handlers.replace(self.handlers.get() + 1);
        let address = HANDLERS + (number * HANDLER_SIZE) as u64;
        self.ram.write(address, program.bytes())?;
        ram::write_gate(&self.ram, vector, address)
    }

    /// Makes memory of a device appear at a page-aligned address, as memory slot `slot`.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] when KVM refuses.
    pub fn show_memory(&self, slot: u32, address: u64, memory: &Arc<Memory>) -> Result<()> {
        self.show(slot, address, memory, 0)
    }

    fn write_program(&self, index: usize, program: &Asm) -> Result<u64> {
        let len = program.bytes().len();
        if len > CODE_SIZE {
            return Err(Error::ProgramTooLarge {
                len,
                room: CODE_SIZE,
            });
        }
        let address = CODE + (index * CODE_SIZE) as u64;
        self.ram.write(address, program.bytes())?;
        Ok(address)
    }
}
