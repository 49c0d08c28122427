// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Loading and unloading ioregion.ko.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use anyhow::{Context as _, Result};
use ioregion_wire::uapi::{API_VERSION, KVM_CAP_IOREGIONFD};
use kvm_ioctls::VmFd;
use libc::{ENOENT, ENOTTY, EWOULDBLOCK};
use module_tests::verdict::Skip;
use rawguest::{Machine, Reg, Width};

use crate::channel::{self, Transport};
use crate::check::{check_eq, expect_errno};
use crate::guest::{expect_halt, mmio_read, sum_of_reads};
use crate::region::{deassign, mmio, set, MMIO};
use crate::stage::{play_to_the_end, Signals};
use crate::suite::{tests, Context};

tests!(
    "module",
    Kvm,
    [
        not_loaded_is_no_capability,
        region_pins_it,
        region_that_was_removed_still_pins_until_the_vm_goes,
        channel_pins_it_when_its_vm_is_gone,
        unused_vm_does_not_pin_it,
        loads_and_unloads_again_and_again,
    ]
);

const NAME: &CStr = c"ioregion";

/// The module, as the test likes it; loaded again at the end of the test.
struct Module {
    file: File,
}

impl Module {
    /// Skips the test when the module cannot be loaded and unloaded here.
    fn open(context: &Context) -> Result<Self> {
        let skip = |reason: String| Err(Skip(reason).into());
        // SAFETY: geteuid has no arguments and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return skip("not root".into());
        }
        let Some(path) = &context.module else {
            return skip("no --module".into());
        };
        match File::open(path) {
            Ok(file) => Ok(Self { file }),
            Err(error) => skip(format!("{}: {error}", path.display())),
        }
    }

    fn load(&self) -> io::Result<()> {
        // SAFETY: the kernel reads the file and the string, which is empty and ends.
        let result = unsafe {
            libc::syscall(
                libc::SYS_finit_module,
                self.file.as_raw_fd(),
                c"".as_ptr(),
                0,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    fn unload(&self) -> io::Result<()> {
        // SAFETY: the kernel reads the name, which ends.
        let result =
            unsafe { libc::syscall(libc::SYS_delete_module, NAME.as_ptr(), libc::O_NONBLOCK) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Takes it out, if it is in.
    fn be_absent(&self) -> Result<()> {
        match self.unload() {
            Err(error) if error.raw_os_error() != Some(ENOENT) => {
                Err(error).context("unload at the start: is a VM using it?")
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // The tests that follow need it. That it is loaded already is as good; if it cannot be
        // loaded, they will say so.
        let _ = self.load();
    }
}

fn capability(vm: &VmFd) -> i32 {
    vm.check_extension_raw(KVM_CAP_IOREGIONFD.into())
}

/// A guest's read through a region of this machine.
fn check_dispatch(machine: &Machine) -> Result<()> {
    let (end, mut device) = channel::open(Transport::Seqpacket)?;
    let region = mmio(MMIO, 0x1000, &end);
    set(machine.fd(), &region).context("KVM_SET_IOREGION")?;
    let mut vcpu = machine.add_vcpu(&sum_of_reads(Width::Long, MMIO, 3))?;
    play_to_the_end(&mut vcpu, &mut device, Signals::None, |_| Ok(2))?;
    check_eq!(vcpu.reg(Reg::Si)?, 6, "sum");
    deassign(machine.fd(), &region).context("deassign")
}

fn not_loaded_is_no_capability(context: &Context) -> Result<()> {
    let module = Module::open(context)?;
    module.be_absent()?;
    let machine = Machine::new()?;
    check_eq!(
        capability(machine.fd()),
        0,
        "KVM_CHECK_EXTENSION without the module"
    );
    let (end, _device) = channel::open(Transport::Seqpacket)?;
    let region = mmio(MMIO, 0x1000, &end);
    expect_errno(
        set(machine.fd(), &region),
        ENOTTY,
        "KVM_SET_IOREGION without the module",
    )?;
    let mut vcpu = machine.add_vcpu(&sum_of_reads(Width::Long, MMIO, 1))?;
    check_eq!(vcpu.run()?, mmio_read(MMIO, 4), "read without the module");
    Ok(())
}

fn region_pins_it(context: &Context) -> Result<()> {
    let module = Module::open(context)?;
    module.be_absent()?;
    module.load().context("load")?;
    let machine = Machine::new()?;
    let (end, _device) = channel::open(Transport::Seqpacket)?;
    set(machine.fd(), &mmio(MMIO, 0x1000, &end)).context("KVM_SET_IOREGION")?;
    expect_errno(
        module.unload(),
        EWOULDBLOCK,
        "unload while a VM has a region",
    )?;
    drop(machine);
    module.unload().context("unload after the VM has gone")
}

/// Its vCPUs may still be on their way through the module.
fn region_that_was_removed_still_pins_until_the_vm_goes(context: &Context) -> Result<()> {
    let module = Module::open(context)?;
    module.be_absent()?;
    module.load().context("load")?;
    let machine = Machine::new()?;
    check_dispatch(&machine)?;
    expect_errno(
        module.unload(),
        EWOULDBLOCK,
        "unload while a VM may be inside",
    )?;
    check_dispatch(&machine)?;
    drop(machine);
    module.unload().context("unload after the VM has gone")
}

fn channel_pins_it_when_its_vm_is_gone(context: &Context) -> Result<()> {
    let module = Module::open(context)?;
    module.be_absent()?;
    module.load().context("load")?;
    let machine = Machine::new()?;
    let (end, device) = channel::open_on(machine.fd(), Transport::Ring)?;
    expect_errno(module.unload(), EWOULDBLOCK, "unload with VM and channel")?;
    set(machine.fd(), &mmio(MMIO, 0x1000, &end)).context("KVM_SET_IOREGION")?;
    drop(machine);
    expect_errno(module.unload(), EWOULDBLOCK, "unload with a channel")?;
    drop(device);
    module.unload().context("unload after the channel has gone")
}

fn unused_vm_does_not_pin_it(context: &Context) -> Result<()> {
    let module = Module::open(context)?;
    module.be_absent()?;
    module.load().context("load")?;
    let machine = Machine::new()?;
    check_eq!(
        capability(machine.fd()),
        API_VERSION as i32,
        "KVM_CHECK_EXTENSION"
    );
    let mut vcpu = machine.add_vcpu(&sum_of_reads(Width::Long, MMIO, 2))?;
    check_eq!(vcpu.run()?, mmio_read(MMIO, 4), "first read");
    module
        .unload()
        .context("unload while a VM does not use it")?;
    check_eq!(
        capability(machine.fd()),
        0,
        "KVM_CHECK_EXTENSION after that"
    );
    check_eq!(vcpu.run()?, mmio_read(MMIO, 4), "second read");
    expect_halt(&vcpu.run()?)?;
    module.load().context("load again")?;
    check_dispatch(&machine).context("the same VM, with the module loaded again")
}

fn loads_and_unloads_again_and_again(context: &Context) -> Result<()> {
    let module = Module::open(context)?;
    module.be_absent()?;
    for round in 0..5 {
        module
            .load()
            .with_context(|| format!("load, round {round}"))?;
        check_dispatch(&Machine::new()?).with_context(|| format!("round {round}"))?;
        module
            .unload()
            .with_context(|| format!("unload, round {round}"))?;
    }
    Ok(())
}
