// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The command line of `shunt-vmm`.

use std::path::PathBuf;

use clap::Parser;

use crate::{assigned::spec::DeviceSpec, boot::mp_table::MAX_CPUS, disk::spec::DiskSpec};

/// What `--help` says after the options.
const MANUAL: &str = "\
Disks:
  --disk image=FILE,dispatch=exit[,readonly][,reads=device|shadow]
         [,packed][,in-order][,notification-data]
  --disk tap=NAME,dispatch=exit[,queues=N][,reads=device|shadow][,packed][,in-order][,notification-data]
  --disk console=FILE,dispatch=exit[,...]      --disk rng,dispatch=exit[,...]
  --disk socket=PATH,dispatch=exit-ipc[,notify=register|ioeventfd][,reads=device|shadow]
         [,timeout=MS]
  --disk socket=PATH,dispatch=ioregion[,tier=messages|ring|shadow|rules]
         [,notify=register|ioeventfd][,reads=device|shadow][,timeout=MS]
         [,channel=seqpacket|stream|pipe|ring][,posted=on|off][,rules=on|off]

  Each is a virtio device behind a page of virtio-mmio registers, 9 at most, in this order; those with
  an image are /dev/vda, /dev/vdb, ... dispatch says who handles the guest's register accesses:

  exit      the VMM, which serves the image, the tap as a network interface, the file as a console, or
            random numbers, itself
  exit-ipc  a device process, which gets each access from the VMM
  ioregion  a device process, which gets each access from KVM; needs ioregion.ko

  pci=blk|net|rng|console|e1000|rtl8139
            the device is on PCI, as this one: virtio-pci with MSI-X, or a network interface with an
            interrupt pin and its own registers, not behind virtio-mmio. All but reads=shadow goes with
            it; the last two have no notify=ioeventfd

  A device process (shunt-blk, shunt-net, shunt-rng, shunt-console) connects to the Unix socket at PATH. The VMM says on stderr when
  it listens there, and when a process has connected; the guest waits at its first access until a process has connected. When a
  process dies, the guest waits for the next one at the same socket, and notices nothing.

  packed, in-order, notification-data
            features for the driver to choose, as shunt-blk's options of these names
  tier      a choice for channel, reads and rules, each of which may be given beside it:
            messages (seqpacket, device, off), ring (ring, device, off), shadow (ring, shadow,
            off) or rules (ring, shadow, on) [default: messages]
  reads     where the guest reads registers: each read asks the device, or finds what the device
            has published in memory, without an exit [default: device, or by tier]
  notify    how the guest tells of new requests: by a register write like any other, or by an
            eventfd that KVM signals [default: register]
  channel   what carries accesses from KVM to the device process: messages of this kind, or a
            ring in memory that they share [default: seqpacket, or by tier]
  posted    on: the guest does not wait until a notification has been read [default: off]
  rules     on: KVM acknowledges interrupts by itself, and sends notifications on without
            waiting, or signals the eventfd of notify=ioeventfd [default: off, or by tier]
  timeout   milliseconds after which a device process that has not answered an access is given
            up; kill it, and let the next one connect [default: it may take for ever]

Devices:
  --device vfio=[DOMAIN:]BUS:DEVICE.FUNCTION[,irq=stock|exitless|exitless-delivery-only]

  Each is a PCI device of this machine, whose driver here is vfio-pci, and the guest's alone. The
  guest has its memory BARs without exits, and its MSI or MSI-X.

  irq       stock: KVM injects interrupts; exitless: exitless.ko delivers them through the guest's
            own IDT, and EOIs exit no more either; exitless-delivery-only: but EOIs do. When that
            is not possible, stderr says why, and the guest has stock interrupts. Each vCPU is
            pinned, the first one to the last CPU that the VMM may use (taskset), the second one to
            the last but one, and so on; one CPU must remain [default: stock]

Console:
  The guest's serial port is on stdin and stdout. On a terminal, Ctrl-A x ends the VMM, and
  Ctrl-A Ctrl-A is a Ctrl-A for the guest.

Command line:
  The guest gets what the machine itself needs (no ACPI, no PCI unless there is a device, the reset
  line, the disks),
  then TEXT, so TEXT has the last word.

Exit status:
  0  the guest reset or shut down the machine: reboot, a triple fault, or a panic with panic=-1.
     A halted guest goes on waiting; let it reboot instead
  1  anything else, with the reason on stderr: a signal or Ctrl-A x, an error of the set-up,
     an exit that KVM cannot go on from (with the registers)
  2  a bad option

Report:
  {\"outcome\": text,
   \"vcpus\": [for each, how often KVM_RUN came back to the VMM, by reason],
   \"disks\": [{\"address\", \"irq\", \"dispatch\", \"processes\": device processes attached,
              \"counters\": what the device counted, register accesses by their way there}],
   \"marks\": [{\"line\": of --mark, and \"vcpus\", \"disks\": what was counted until then}]}

Example:
  shunt-vmm --kernel vmlinux --cmdline \"console=ttyS0 panic=-1 root=/dev/vda\" \\
            --cpus 2 --disk socket=/run/disk,dispatch=ioregion
  and elsewhere, once it listens:
  shunt-blk --connect /run/disk --image root.ext4";

/// Boots a Linux guest under KVM, with a serial console and virtio disks.
#[derive(Debug, Parser)]
#[command(name = "shunt-vmm", version, after_help = MANUAL)]
pub(crate) struct Options {
    /// The guest's kernel: an ELF image (vmlinux, boots fastest) or a bzImage
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: PathBuf,

    /// The guest's initial RAM disk
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,

    /// Kernel command line; what the machine itself needs stands before it
    #[arg(long, value_name = "TEXT", default_value = "console=ttyS0 panic=-1")]
    pub(crate) cmdline: String,

    /// Guest RAM in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(32..=1 << 20))]
    pub(crate) memory: u64,

    /// Number of vCPUs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_CPUS)))]
    pub(crate) cpus: u8,

    /// A disk, see below; may be given several times
    #[arg(long = "disk", value_name = "SPEC")]
    pub(crate) disks: Vec<DiskSpec>,

    /// A PCI device of the host's, see below; may be given several times
    #[arg(long = "device", value_name = "SPEC")]
    pub(crate) devices: Vec<DeviceSpec>,

    /// Note the counters in the report whenever the guest prints a line with this on its console
    #[arg(long, value_name = "TEXT")]
    pub(crate) mark: Option<String>,

    /// Write what was counted to this file, as JSON, when the guest has ended
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}
