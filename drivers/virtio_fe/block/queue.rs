// SPDX-License-Identifier: GPL-2.0-only

//! A request queue: requests go into the ring, and come out of it.

use super::{
    counts::Counts,
    request,
    Device, //
};
use crate::virtqueue::{
    access,
    Virtqueue, //
};
use blk_mq::{
    NotQueued,
    Request,
    Status, //
};
use kernel::{
    device,
    new_spinlock_irq,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{
        aref::ARef,
        SpinLockIrq, //
    }, //
};
use virtio_ring::driver::{
    Broken,
    Refused,
    Ring,
    Slot,
    Table, //
};
use virtio_spec::{
    features::Features,
    notification::Notification, //
};
use virtio_transport::{
    Access,
    DmaMemory,
    DmaView,
    Doorbell,
    Plan,
    QueueSetup,
    Transport, //
};

/// A ring whose buffers are requests. While a request is in it, it is nowhere else.
type Requests<T> = Ring<DmaMemory, KVec<Slot<Request<Device<T>>>>>;

/// Whether requests may go into the ring.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Yes.
    Live,
    /// The device is being reset, or has to be; they wait.
    Stopped,
    /// The device has gone; they fail.
    Dead,
}

struct Inner<T: Transport> {
    ring: Requests<T>,
    phase: Phase,
    counts: Counts,
}

impl<T: Transport> Inner<T> {
    /// Shows the device all that was added.
    #[inline]
    fn publish(&mut self) -> Option<Notification> {
        let notification = self.ring.publish();
        self.counts.published(notification.is_some());
        notification
    }

    /// Completes all that the device has used, and adds to `number` how much, also if it then turns out
    /// to be broken.
    #[inline]
    fn take(&mut self, queue: &Queue<T>, number: &mut u64) -> Result<(), Broken> {
        loop {
            self.ring.disable_interrupts();
            while let Some(used) = self.ring.pop()? {
                let mut request = used.token;
                request::take_status(queue, &mut request);
                request.complete();
                *number = number.wrapping_add(1);
            }
            if !self.ring.enable_interrupts() {
                return Ok(());
            }
        }
    }
}

/// A request queue.
#[pin_data]
pub(super) struct Queue<T: Transport> {
    #[pin]
    inner: SpinLockIrq<Inner<T>>,
    setup: QueueSetup,
    doorbell: Doorbell,
    /// What belongs to each tag.
    tags: DmaMemory,
    is_indirect: bool,
    /// Whose addresses data need, if the platform has a say in that.
    dma: Option<ARef<device::Device>>,
}

impl<T: Transport> Queue<T> {
    /// Makes a queue and enables it.
    pub(super) fn new(
        device: &device::Device<device::Bound>,
        transport: &T,
        plan: Plan,
        features: Features,
        number: u16,
    ) -> Result<impl PinInit<Self, Error>> {
        let queue = Virtqueue::new(device, transport, plan, features, number)?;
        let Virtqueue {
            ring,
            setup,
            doorbell,
        } = queue;
        let access = access(features);
        let tags = DmaMemory::new(device, access, usize::from(setup.size) * request::TAG_BYTES)?;
        let dma = (access == Access::Platform).then(|| transport.device().clone());
        Ok(try_pin_init!(Self {
            inner <- new_spinlock_irq!(Inner {
                ring,
                phase: Phase::Live,
                counts: Counts::default(),
            }),
            setup,
            doorbell,
            tags,
            is_indirect: features.has(Features::INDIRECT_DESC),
            dma,
        }? Error))
    }

    /// The memory of a tag, if there is such a tag, and the part of it that is for a table.
    #[inline]
    pub(super) fn tag(&self, tag: usize) -> Option<(DmaView<'_>, DmaView<'_>)> {
        let at = tag.wrapping_mul(request::TAG_BYTES);
        let memory = self.tags.part(at, request::TAG_BYTES)?;
        let table = memory.rest(request::TABLE)?;
        Some((memory, table))
    }

    /// Whose addresses data need.
    #[inline]
    pub(super) fn dma(&self) -> Option<&device::Device> {
        self.dma.as_deref()
    }

    /// Requests that there can be at a time. With indirect descriptors each takes one descriptor of
    /// the ring, so that it is never full.
    pub(super) fn depth(&self) -> u32 {
        self.setup.size.into()
    }

    /// Queues a request, and if it is the last of a batch, lets the device have the batch.
    #[inline]
    pub(super) fn submit(
        &self,
        mut request: Request<Device<T>>,
        is_last: bool,
    ) -> Result<(), NotQueued<Device<T>>> {
        let Some((memory, table)) = self.tag(request.tag()) else {
            let status = Status::IOERR;
            return Err(NotQueued { request, status });
        };
        if let Err(status) = request::prepare(&memory, self.dma(), &mut request) {
            return Err(NotQueued { request, status });
        }
        let mut inner = self.inner.lock();
        let added = self.add(&mut inner, &table, request);
        let notification = match (&added, is_last) {
            (Ok(()), true) => inner.publish(),
            _ => None,
        };
        drop(inner);
        self.notify(notification);
        added.map_err(|(status, mut request)| {
            request.unmap(self.dma());
            NotQueued { request, status }
        })
    }

    #[inline]
    fn add(
        &self,
        inner: &mut Inner<T>,
        table: &DmaView<'_>,
        request: Request<Device<T>>,
    ) -> Result<(), (Status, Request<Device<T>>)> {
        match inner.phase {
            Phase::Live => (),
            Phase::Stopped => return Err((Status::RESOURCE, request)),
            Phase::Dead => return Err((Status::IOERR, request)),
        }
        let added = match self.is_indirect {
            true => {
                let table = Table {
                    memory: table,
                    address: table.address(),
                };
                inner.ring.add_indirect_with(table, request, request::parts)
            }
            false => inner.ring.add_with(request, request::parts),
        };
        added.map_err(|(refused, request)| (because(refused), request))
    }

    /// Lets the device have what has been queued.
    pub(super) fn commit(&self) {
        let notification = self.inner.lock().publish();
        self.notify(notification);
    }

    #[inline]
    fn notify(&self, notification: Option<Notification>) {
        if let Some(notification) = notification {
            self.doorbell.ring(notification);
        }
    }

    /// Completes all that the device has used. Whether there was something.
    ///
    /// # Errors
    ///
    /// What the device did wrong. It has to be reset.
    #[inline]
    pub(super) fn take_used(&self) -> Result<bool, Broken> {
        let mut inner = self.inner.lock();
        let mut number = 0;
        let taken = inner.take(self, &mut number);
        inner.counts.took(number);
        self.doorbell.answered(self.setup.queue, number as u32);
        taken.map(|()| number > 0)
    }

    /// What there is to see of it.
    pub(super) fn show(&self, file: &SeqFile) {
        let (number, size) = (self.setup.queue, self.setup.size);
        let inner = self.inner.lock();
        let format = match inner.ring {
            Ring::Split(_) => "split",
            Ring::Packed(_) => "packed",
        };
        let busy = size.wrapping_sub(inner.ring.free());
        let counts = inner.counts;
        drop(inner);
        seq_print!(
            file,
            "queue {number} {format} size {size} busy {busy} {counts}\n"
        );
    }

    /// Requests that the device has answered.
    pub(super) fn completed(&self) -> u64 {
        self.inner.lock().counts.completed()
    }

    /// From now on requests wait.
    pub(super) fn stop(&self) {
        let mut inner = self.inner.lock();
        if inner.phase == Phase::Live {
            inner.phase = Phase::Stopped;
        }
    }

    /// Takes all requests back from a device that has been reset, and has each queued once more.
    pub(super) fn replay(&self) {
        self.inner.lock().ring.reset(|mut request| {
            request.unmap(self.dma());
            request.requeue();
        });
    }

    /// Tells a device that has been reset of the queue, and lets requests in.
    pub(super) fn restart(&self, transport: &T, plan: Plan, features: Features) -> Result {
        transport.enable_queue(&self.setup, plan, features)?;
        self.inner.lock().phase = Phase::Live;
        Ok(())
    }

    /// Fails all requests, now and from now on. The device does not access memory any more.
    pub(super) fn fail(&self) {
        let mut inner = self.inner.lock();
        inner.phase = Phase::Dead;
        inner.ring.reset(|mut request| {
            request.unmap(self.dma());
            request.end(Status::IOERR);
        });
    }
}

/// What becomes of a request that the ring did not take.
#[cold]
fn because(refused: Refused) -> Status {
    match refused {
        Refused::Full { .. } => Status::DEV_RESOURCE,
        // The device will be reset, and then there will be room.
        Refused::Broken(_) => Status::RESOURCE,
        Refused::Segments(_) | Refused::Bytes(_) | Refused::Table { .. } => Status::IOERR,
    }
}
