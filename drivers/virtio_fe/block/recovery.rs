// SPDX-License-Identifier: GPL-2.0-only

//! What the device wants outside of its queues: to be looked at, or to be reset.
//!
//! ```text
//! configuration changed ────────────────────────┐
//! DEVICE_NEEDS_RESET, a ring that is broken,    ├─► attend, in a work queue
//! a request that is not answered in time ───────┘     configuration: read the size again
//!                                                     reset: stop, reset, agree, replay, go on
//!                                                     and if that fails, fail everything
//! ```
//!
//! A request that the device has is in the ring and nowhere else. What the ring gives up in
//! [`Queue::replay`](super::queue::Queue::replay) is queued once more, and what was popped before has been completed; so each
//! request ends once.

use super::{
    config,
    Device, //
};
use blk_mq::GenDisk;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Full,
            Relaxed,
            Release, //
        },
        Arc, //
    },
    workqueue::{
        self,
        WorkItem, //
    }, //
};
use virtio_spec::status;
use virtio_transport::{
    negotiate,
    read_config,
    reset,
    Transport, //
};

impl<T: Transport> WorkItem for Device<T> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.attend();
    }
}

impl<T: Transport> Device<T> {
    /// Has the device attended to.
    pub(super) fn call(self: &Arc<Self>) {
        // If it is queued already, it will find what there is to do.
        let _ = workqueue::system().enqueue(self.clone());
    }

    /// Has the device reset.
    pub(super) fn call_for_reset(self: &Arc<Self>) {
        self.must_reset.store(true, Release);
        self.call();
    }

    fn attend(&self) {
        let Some(disk) = self.disk.lock().clone() else {
            return;
        };
        let needs_reset = self.transport.status() & status::DEVICE_NEEDS_RESET != 0;
        if self.must_reset.xchg(false, Full) || needs_reset {
            self.recover(&disk);
        }
        // What is not there reads as all ones, and the disk is empty.
        if self.is_gone.load(Acquire) {
            return;
        }
        if let Ok(sectors) = read_config(&self.transport, config::capacity) {
            disk.set_capacity(sectors);
        }
    }

    fn recover(&self, disk: &GenDisk<Self>) {
        if self.is_gone.load(Acquire) {
            return;
        }
        self.resets.add(1u32, Relaxed);
        dev_info!(self.transport.device(), "resetting the device\n");
        disk.tag_set().quiesce();
        for queue in &self.queues {
            queue.stop();
        }
        let result = self.begin_again();
        disk.tag_set().unquiesce();
        match result {
            Ok(()) => disk.kick_requeued(),
            Err(error) => {
                dev_err!(self.transport.device(), "the device is lost: {error:?}\n");
                self.give_up(disk);
            }
        }
    }

    /// Resets the device and sets it up as it was, with the same features.
    fn begin_again(&self) -> Result {
        reset(&self.transport)?;
        for queue in &self.queues {
            queue.replay();
        }
        if negotiate(&self.transport, self.features)? != self.features {
            return Err(ENODEV);
        }
        self.transport.set_config_vector(self.plan)?;
        for queue in &self.queues {
            queue.restart(&self.transport, self.plan, self.features)?;
        }
        self.go();
        Ok(())
    }

    /// Fails all requests, now and from now on.
    pub(super) fn give_up(&self, disk: &GenDisk<Self>) {
        self.is_gone.store(true, Release);
        // What has gone cannot be reset, nor does it write to memory.
        let _ = reset(&self.transport);
        for queue in &self.queues {
            queue.fail();
        }
        disk.mark_dead();
        disk.kick_requeued();
    }
}
