// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The MP table (Intel MultiProcessor Specification 1.4, chapter 4): which local APICs there
//! are, that ISA line n is pin n of the IOAPIC, and which pins PCI devices have.
//!
//! ```text
//! floating pointer, 16 bytes | header, 44 | processors, 20 each | buses, 8 each | IOAPIC, 8
//!     | interrupt lines, 8 each | local interrupts, 8 each
//! ```

use crate::layout::{IOAPIC, IOAPIC_LINES, LOCAL_APIC};

const SPECIFICATION_1_4: u8 = 4;
const HEADER_SIZE: usize = 44;

const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IO_APIC: u8 = 2;
const IO_INTERRUPT: u8 = 3;
const LOCAL_INTERRUPT: u8 = 4;

const PROCESSOR_ENABLED: u8 = 1;
const PROCESSOR_BOOT: u8 = 2;
const LOCAL_APIC_VERSION: u8 = 0x14;
const IOAPIC_VERSION: u8 = 0x11;
const IOAPIC_ENABLED: u8 = 1;
/// PCI's own number of the bus: Linux takes it for that.
const PCI_BUS: u8 = 0;
const ISA_BUS: u8 = 1;
/// Active high, level-triggered.
const HIGH_LEVEL: u8 = 0b1101;
const INTERRUPT_INT: u8 = 0;
const INTERRUPT_NMI: u8 = 1;
const INTERRUPT_EXTINT: u8 = 3;
const ALL_LOCAL_APICS: u8 = 0xff;

/// The most vCPUs: 8-bit APIC ids, without the IOAPIC's own and the broadcast one.
pub(crate) const MAX_CPUS: u8 = 254;

/// The interrupt pin of a PCI device, and the IOAPIC's line that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pin {
    /// Its number on the bus.
    pub(crate) device: u8,
    /// The line, which nobody else has.
    pub(crate) line: u8,
}

/// Makes the table for processors with APIC ids 0 to `cpus` - 1 and PCI devices with these pins, to
/// stand at `address`.
pub(crate) fn mp_table(cpus: u8, pins: &[Pin], address: u32) -> Vec<u8> {
    let mut table = floating_pointer(address + 16);
    table.extend(configuration(cpus, pins));
    table
}

fn floating_pointer(configuration: u32) -> Vec<u8> {
    let mut bytes = b"_MP_".to_vec();
    bytes.extend(configuration.to_le_bytes());
    // Length in units of 16 bytes, revision, checksum, features: a configuration table is there.
    bytes.extend([1, SPECIFICATION_1_4, 0, 0, 0, 0, 0, 0]);
    bytes[10] = checksum(&bytes);
    bytes
}

fn configuration(cpus: u8, pins: &[Pin]) -> Vec<u8> {
    let entries = entries(cpus, pins);
    let length = HEADER_SIZE + entries.iter().map(Vec::len).sum::<usize>();
    let mut bytes = b"PCMP".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend([SPECIFICATION_1_4, 0]);
    bytes.extend(b"SHUNT   VMM         ");
    // No OEM table.
    bytes.extend([0; 6]);
    bytes.extend((entries.len() as u16).to_le_bytes());
    bytes.extend(LOCAL_APIC.to_le_bytes());
    // No extended table.
    bytes.extend([0; 4]);
    bytes.extend(entries.concat());
    bytes[7] = checksum(&bytes);
    bytes
}

fn entries(cpus: u8, pins: &[Pin]) -> Vec<Vec<u8>> {
    let ioapic_id = cpus;
    let mut entries: Vec<Vec<u8>> = (0..cpus).map(processor).collect();
    entries.push([&[BUS, PCI_BUS][..], b"PCI   "].concat());
    entries.push([&[BUS, ISA_BUS][..], b"ISA   "].concat());
    let mut ioapic = vec![IO_APIC, ioapic_id, IOAPIC_VERSION, IOAPIC_ENABLED];
    ioapic.extend(IOAPIC.to_le_bytes());
    entries.push(ioapic);
    for line in 0..IOAPIC_LINES {
        let pin = pins.iter().find(|pin| pin.line == line);
        entries.push(match pin {
            Some(pin) => pci_interrupt(pin, ioapic_id),
            None => interrupt(IO_INTERRUPT, INTERRUPT_INT, line, ioapic_id, line),
        });
    }
    entries.push(interrupt(LOCAL_INTERRUPT, INTERRUPT_EXTINT, 0, 0, 0));
    entries.push(interrupt(
        LOCAL_INTERRUPT,
        INTERRUPT_NMI,
        0,
        ALL_LOCAL_APICS,
        1,
    ));
    entries
}

fn processor(apic_id: u8) -> Vec<u8> {
    let boot = if apic_id == 0 { PROCESSOR_BOOT } else { 0 };
    let mut bytes = vec![
        PROCESSOR,
        apic_id,
        LOCAL_APIC_VERSION,
        PROCESSOR_ENABLED | boot,
    ];
    // Signature and feature flags: Linux asks the processor itself.
    bytes.extend([0; 16]);
    bytes
}

/// Polarity and trigger are the bus's: active high and edge for ISA.
fn interrupt(kind: u8, mode: u8, line: u8, apic_id: u8, pin: u8) -> Vec<u8> {
    vec![kind, mode, 0, 0, ISA_BUS, line, apic_id, pin]
}

/// Pin A of a device.
fn pci_interrupt(pin: &Pin, apic_id: u8) -> Vec<u8> {
    let source = pin.device << 2;
    vec![
        IO_INTERRUPT,
        INTERRUPT_INT,
        HIGH_LEVEL,
        0,
        PCI_BUS,
        source,
        apic_id,
        pin.line,
    ]
}

/// The byte that makes the sum of all bytes zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0u8, |sum, byte| sum.wrapping_add(*byte))
        .wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PINS: &[Pin] = &[
        Pin {
            device: 1,
            line: 16,
        },
        Pin {
            device: 3,
            line: 17,
        },
    ];

    #[test]
    fn a_pin_has_its_line_for_itself() {
        let lines = entries(1, PINS)
            .into_iter()
            .filter(|entry| entry[0] == IO_INTERRUPT);
        let of_17: Vec<_> = lines.filter(|entry| entry[7] == 17).collect();
        assert_eq!(of_17, [[3, 0, 13, 0, 0, 12, 1, 17]]);
    }

    #[test]
    fn both_checksums_make_their_structure_sum_to_zero() {
        for cpus in [1, 2, MAX_CPUS] {
            let table = mp_table(cpus, PINS, 0xf_0000);
            assert_eq!(checksum(&table[..16]), 0);
            assert_eq!(checksum(&table[16..]), 0);
        }
    }

    #[test]
    fn lengths_and_counts_agree_with_the_entries() {
        for cpus in [1, 3, MAX_CPUS] {
            let table = mp_table(cpus, PINS, 0xf_0000);
            let header = &table[16..16 + HEADER_SIZE];
            let length = u16::from_le_bytes([header[4], header[5]]) as usize;
            let count = u16::from_le_bytes([header[34], header[35]]) as usize;
            assert_eq!(length, table.len() - 16);
            let (mut at, mut seen, mut processors) = (16 + HEADER_SIZE, 0, 0);
            while at < table.len() {
                let is_processor = table[at] == PROCESSOR;
                processors += usize::from(is_processor);
                at += if is_processor { 20 } else { 8 };
                seen += 1;
            }
            assert_eq!((at, seen, processors), (table.len(), count, cpus.into()));
        }
    }

    #[test]
    fn the_floating_pointer_points_behind_itself() {
        let table = mp_table(2, PINS, 0xf_0000);
        assert_eq!(&table[..8], b"_MP_\x10\0\x0f\0");
        assert_eq!(&table[16..20], b"PCMP");
    }

    #[test]
    fn the_largest_table_fits_the_bios_area() {
        assert!(mp_table(MAX_CPUS, PINS, 0).len() < 0x1_0000);
    }
}
