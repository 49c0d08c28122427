// SPDX-License-Identifier: GPL-2.0-only

//! `/dev/hpet_msi`: a timer of the HPET as a device to assign to a guest, for tests on machines that
//! have no PCI device with an MSI and no IOMMU.
//!
//! The file's first page are the HPET's registers: whoever may open it may do to the HPET what it
//! likes. `HPET_MSI_SIGNAL`, whose argument is an eventfd's descriptor, has the interrupt of timer 2
//! signal that, until the file is closed.

#![forbid(unsafe_code)]

use hpet_msi_timer::{
    map_registers,
    HpetMsi, //
};
use kernel::{
    fs::File,
    ioctl::_IO,
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    mm::virt::VmaNew,
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

module! {
    type: HpetMsiModule,
    name: "hpet_msi",
    authors: ["Shunt developers"],
    description: "A timer of the HPET as a device to assign",
    license: "GPL",
}

/// `HPET_MSI_SIGNAL`.
const SIGNAL: u32 = _IO(0xb8, 0);

/// An open file.
#[pin_data]
struct Session {
    #[pin]
    msi: Mutex<Option<HpetMsi>>,
}

#[vtable]
impl MiscDevice for Session {
    type Ptr = Pin<KBox<Self>>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Self::Ptr> {
        KBox::pin_init(pin_init!(Self { msi <- new_mutex!(None) }), GFP_KERNEL)
    }

    fn mmap(_session: Pin<&Self>, _file: &File, vma: &VmaNew) -> Result {
        map_registers(vma)
    }

    fn ioctl(session: Pin<&Self>, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        if cmd != SIGNAL {
            return Err(ENOTTY);
        }
        let eventfd = arg.try_into().map_err(|_| EBADF)?;
        let mut msi = session.msi.lock();
        // The former one goes first: there is one timer.
        *msi = None;
        *msi = Some(HpetMsi::new(eventfd)?);
        Ok(0)
    }
}

#[pin_data]
struct HpetMsiModule {
    #[pin]
    _device: MiscDeviceRegistration<Session>,
}

impl kernel::InPlaceModule for HpetMsiModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _device <- MiscDeviceRegistration::register(MiscDeviceOptions {
                name: c"hpet_msi",
            }),
        })
    }
}
