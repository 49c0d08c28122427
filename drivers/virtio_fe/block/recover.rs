// SPDX-License-Identifier: GPL-2.0-only

//! How a disk stands still and goes on when its device is reset.
//!
//! A request that the device has is in the ring and nowhere else. What the ring gives up in
//! [`Queue::replay`](super::queue::Queue::replay) is queued once more, and what was popped before
//! has been completed; so each request ends once.

use super::{
    config,
    Device, //
};
use crate::recovery::{
    attend,
    Recover,
    Session, //
};
use blk_mq::{
    Drained,
    GenDisk, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    workqueue::WorkItem, //
};
use virtio_transport::{
    read_config,
    Transport, //
};

impl<T: Transport> WorkItem for Device<T> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        attend(&*this);
    }
}

impl<T: Transport> Recover for Device<T> {
    type Transport = T;
    type Still<'a> = Arc<GenDisk<Self>>;
    type Drained<'a> = Option<Drained<Self>>;

    fn session(&self) -> &Session<T> {
        &self.session
    }

    fn progress(&self) -> u64 {
        self.queues.iter().map(|queue| queue.completed()).sum()
    }

    fn drain(&self) -> Option<Drained<Self>> {
        self.still().map(GenDisk::drain)
    }

    fn pause(&self) -> Option<Arc<GenDisk<Self>>> {
        let disk = self.still()?;
        disk.tag_set().quiesce();
        for queue in &self.queues {
            queue.stop();
        }
        Some(disk)
    }

    fn still(&self) -> Option<Arc<GenDisk<Self>>> {
        self.disk.lock().clone()
    }

    fn take_back(&self, _disk: &mut Arc<GenDisk<Self>>) {
        for queue in &self.queues {
            queue.replay();
        }
    }

    fn enable_queues(&self, _disk: &mut Arc<GenDisk<Self>>) -> Result {
        let Session {
            transport,
            plan,
            features,
            ..
        } = &self.session;
        for queue in &self.queues {
            queue.restart(transport, *plan, *features)?;
        }
        Ok(())
    }

    fn remind(&self, _disk: &mut Arc<GenDisk<Self>>) -> Result {
        Ok(())
    }

    fn resume(&self, disk: Arc<GenDisk<Self>>) {
        disk.tag_set().unquiesce();
        disk.kick_requeued();
    }

    fn fail(&self, disk: Arc<GenDisk<Self>>) {
        for queue in &self.queues {
            queue.fail();
        }
        disk.tag_set().unquiesce();
        // The end of a file system on it waits for these.
        disk.kick_requeued();
        disk.mark_dead();
    }

    /// What hangs is the medium, and other queues wait for that, too.
    fn mend(&self) -> Result {
        Ok(())
    }

    fn look(&self) {
        let Some(disk) = self.still() else {
            return;
        };
        if let Ok(sectors) = read_config(&self.session.transport, config::capacity) {
            disk.set_capacity(sectors);
        }
    }
}
