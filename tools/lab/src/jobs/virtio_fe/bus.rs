// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The bus of a machine, for QEMU and for L1's kernel.

use fe_tests::plan::Bus;

use crate::qemu::Hardware;

/// QEMU's machine.
pub(in crate::jobs) fn machine(bus: Bus) -> &'static str {
    match bus {
        Bus::Pci | Bus::PciWithNativeSlots | Bus::PciWithIommu | Bus::VhostUser => {
            Hardware::PLAIN.machine
        }
        Bus::Mmio => "microvm,rtc=on",
    }
}

/// What QEMU has to know of the bus.
pub(in crate::jobs) fn arguments(bus: Bus) -> &'static [&'static str] {
    match bus {
        Bus::Pci | Bus::VhostUser => &[],
        Bus::PciWithNativeSlots => &[
            "-global",
            "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
        ],
        Bus::PciWithIommu => &["-device", "intel-iommu,intremap=on,caching-mode=on,eim=on"],
        // As they are by default, these devices are legacy ones.
        Bus::Mmio => &["-global", "virtio-mmio.force-legacy=false"],
    }
}

/// What the kernel has to know of the bus.
pub(in crate::jobs) fn words(bus: Bus) -> &'static str {
    match bus {
        Bus::Pci | Bus::PciWithNativeSlots | Bus::Mmio | Bus::VhostUser => "",
        Bus::PciWithIommu => "intel_iommu=on",
    }
}
