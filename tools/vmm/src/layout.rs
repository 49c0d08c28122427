// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Where things are in the guest's physical memory, its ports and its interrupt lines.
//!
//! ```text
//! 0x0000_0500  GDT            0x0000_7000  zero page      0x0000_9000  page tables (3 pages)
//! 0x0002_0000  command line   0x000f_0000  MP table       0x0010_0000  RAM: kernel, initrd
//! 0xd000_0000  virtio-mmio, a page each   0xe000_0000  BARs of PCI devices
//! 0xfec0_0000  IOAPIC                     0xfee0_0000  local APICs
//! 0x1_0000_0000  RAM that does not fit below the hole
//! ```

/// The table of boot segments, [`crate::boot::segments`].
pub(crate) const GDT: u64 = 0x500;
/// `struct boot_params` of the Linux boot protocol.
pub(crate) const ZERO_PAGE: u64 = 0x7000;
/// Page tables of the boot processor: PML4, PDPT and PD, a page each.
pub(crate) const PAGE_TABLES: u64 = 0x9000;
/// The kernel command line, NUL-terminated.
pub(crate) const CMDLINE: u64 = 0x2_0000;
/// Bytes for the command line with its NUL: `COMMAND_LINE_SIZE` of x86 Linux.
pub(crate) const CMDLINE_SIZE: usize = 2048;
/// First byte above conventional memory.
pub(crate) const LOW_MEMORY_END: u64 = 0x9_fc00;
/// The MP table: in the BIOS area, where Linux looks for it.
pub(crate) const MP_TABLE: u64 = 0xf_0000;
/// Where memory for kernel and initrd starts.
pub(crate) const HIGH_MEMORY: u64 = 0x10_0000;

/// The hole between RAM below and RAM above 4 GiB.
pub(crate) const HOLE_START: u64 = 0xd000_0000;
/// First byte after the hole.
pub(crate) const HOLE_END: u64 = 1 << 32;
/// First virtio-mmio device.
pub(crate) const VIRTIO_MMIO: u64 = HOLE_START;
/// Bytes of a virtio-mmio device's registers.
pub(crate) const VIRTIO_MMIO_SIZE: u64 = 0x1000;
/// Where BARs of PCI devices are.
pub(crate) const PCI_WINDOW: u64 = 0xe000_0000;
/// Bytes for them.
pub(crate) const PCI_WINDOW_SIZE: u64 = 0x1000_0000;
/// The IOAPIC of KVM's irqchip.
pub(crate) const IOAPIC: u32 = 0xfec0_0000;
/// The local APICs of KVM's irqchip.
pub(crate) const LOCAL_APIC: u32 = 0xfee0_0000;
/// A page that KVM on Intel needs for real mode.
pub(crate) const IDENTITY_MAP: u64 = 0xfffb_c000;
/// Three pages that KVM on Intel needs for real mode.
pub(crate) const TSS: usize = 0xfffb_d000;

/// Ports of the serial console, COM1.
pub(crate) const SERIAL_PORT: u64 = 0x3f8;
/// Number of serial ports.
pub(crate) const SERIAL_PORTS: u64 = 8;
/// Interrupt line of the serial console.
pub(crate) const SERIAL_IRQ: u32 = 4;
/// Data port of the keyboard controller; its command port, which resets, is 4 higher.
pub(crate) const I8042_PORT: u64 = 0x60;
/// Number of ports from [`I8042_PORT`] to the command port.
pub(crate) const I8042_PORTS: u64 = 5;

/// Ports of PCI's configuration mechanism #1: the address, and 4 higher the data.
pub(crate) const PCI_CONFIG_PORT: u64 = 0xcf8;
/// Number of these ports.
pub(crate) const PCI_CONFIG_PORTS: u64 = 8;

/// KVM's memory slot for the registers of the first virtio-mmio device; above those of RAM.
pub(crate) const REGISTER_SLOT: u32 = 16;
/// KVM's first memory slot for BARs, above those of registers.
pub(crate) const BAR_SLOT: u32 = 32;
/// Interrupt lines for virtio-mmio devices: those below 16 that no PC device has.
pub(crate) const VIRTIO_MMIO_IRQS: [u32; 9] = [5, 6, 7, 9, 10, 11, 12, 14, 15];
/// Interrupt lines for pins of PCI devices: those that ISA does not have.
pub(crate) const PCI_LINES: std::ops::Range<u8> = 16..IOAPIC_LINES;
/// Interrupt lines of the IOAPIC.
pub(crate) const IOAPIC_LINES: u8 = 24;
