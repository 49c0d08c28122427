// SPDX-License-Identifier: GPL-2.0-only

//! An open file: a VM, and the interrupts that are delivered directly to it.
//!
//! Calls of KVM's and of irqbypass' come with locks of theirs held, and take the table's lock. So
//! consumers and the attachment are made and dropped without it.

use crate::{
    table::{
        Entry,
        Rejection,
        Table, //
    },
    vcpus::Wish, //
};
use exitless_vectors::{
    refusal::Refusal,
    uapi::{
        ExitlessArm,
        EXITLESS_DELIVERY_ONLY,
        EXITLESS_UNWATCHED, //
    }, //
};
use kernel::{
    impl_has_delayed_work, new_mutex,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        Mutex, //
    },
    time::Jiffies,
    workqueue::{
        self,
        new_delayed_work,
        DelayedWork,
        WorkItem, //
    },
};
use kvm_exitless::{
    cancel,
    Attachment,
    Consumer,
    Device, //
};

/// An open file.
#[pin_data]
pub(crate) struct Session {
    #[pin]
    pub(crate) table: Mutex<Table>,
    #[pin]
    later: DelayedWork<Session>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Session { self.later }
}

impl WorkItem for Session {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.update();
    }
}

/// An interrupt, for those that tell of its device.
pub(crate) struct Interrupt {
    session: Arc<Session>,
}

impl Device for Interrupt {
    fn changed(&self) {
        self.session.update();
    }
}

impl kvm_exitless::Session for Session {
    type Vcpu = crate::vcpu::Vcpu;

    fn routes_changed(this: ArcBorrow<'_, Self>) {
        Arc::from(this).update();
    }

    fn look_again(this: ArcBorrow<'_, Self>) {
        Arc::from(this).update_after(0);
    }
}

impl Session {
    /// A file without a VM.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let session = pin_init!(Self {
            table <- new_mutex!(Table::default()),
            later <- new_delayed_work!("exitless::later"),
        });
        Arc::pin_init(session, GFP_KERNEL_ACCOUNT)
    }

    /// Looks again at where interrupts are delivered, until none waits any more.
    fn update(self: &Arc<Self>) {
        let is_unsettled = self.table.lock().update();
        if is_unsettled {
            self.update_after(1);
        }
    }

    fn update_after(self: &Arc<Self>, delay: Jiffies) {
        // If it is queued already, it comes soon enough.
        let _ = workqueue::system_long().enqueue_delayed(self.clone(), delay);
    }

    /// `EXITLESS_ATTACH`.
    ///
    /// # Errors
    ///
    /// - `EBADF`: the descriptor is no VM's.
    /// - `EBUSY`: the file has a VM, or the VM another file.
    /// - `ENOMEM`.
    pub(crate) fn attach(self: ArcBorrow<'_, Self>, vm_fd: i32) -> Result {
        let attachment = Attachment::new(vm_fd, Arc::from(self))?;
        // A refused one is dropped after the lock.
        let refused = self.table.lock().attach(attachment);
        refused.map_or(Ok(()), |_| Err(EBUSY))
    }

    /// `EXITLESS_ARM`: yields the GSI, or the reason if it cannot be done now.
    ///
    /// # Errors
    ///
    /// - `ENXIO`: the file has no VM.
    /// - `EEXIST`: it is armed.
    /// - `EBADF`, `EINVAL`: the descriptor is no eventfd's.
    /// - `ENOMEM`.
    pub(crate) fn arm(
        self: ArcBorrow<'_, Self>,
        arg: &ExitlessArm,
    ) -> Result<Result<u32, Refusal>> {
        let interrupt = Interrupt {
            session: Arc::from(self),
        };
        let interrupt = Arc::new(interrupt, GFP_KERNEL_ACCOUNT)?;
        let consumer = match Consumer::new(arg.eventfd, interrupt) {
            // KVM registers itself if the processor can deliver interrupts to vCPUs.
            Err(error) if error == EBUSY => return Ok(Err(Refusal::Apicv)),
            consumer => consumer?,
        };
        let wish = Wish {
            eoi_exits: arg.flags & EXITLESS_DELIVERY_ONLY != 0,
            watched: arg.flags & EXITLESS_UNWATCHED == 0,
        };
        let entry = Entry::new(wish, consumer);
        // One that is not taken is dropped after the lock.
        let taken = self.table.lock().arm(entry);
        match taken {
            Ok(gsi) => {
                Arc::from(self).update();
                Ok(Ok(gsi))
            }
            Err((Rejection::Refused(refusal), _)) => Ok(Err(refusal)),
            Err((Rejection::Failed(error), _)) => Err(error),
        }
    }

    /// `EXITLESS_DISARM`.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the GSI is not armed.
    pub(crate) fn disarm(&self, gsi: u32) -> Result {
        // Dropped after the lock.
        let entry = self.table.lock().disarm(gsi);
        entry.map(drop).ok_or(ENOENT)
    }

    /// Ends everything. It also ends the circle of those that tell us of changes.
    pub(crate) fn close(self: Arc<Self>) {
        // Dropped after the lock.
        let table = self.table.lock().close();
        drop(table);
        cancel(&self);
    }
}
