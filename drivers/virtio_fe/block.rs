// SPDX-License-Identifier: GPL-2.0-only

//! Block devices: section 5.2.

mod config;
mod counts;
mod queue;
mod recover;
mod request;

use crate::{
    device::DIRECTORY,
    recovery::{
        self,
        Recover,
        Session, //
    }, //
};
use blk_mq::{
    GenDisk,
    NotQueued,
    Operations,
    QueueMap,
    Request,
    Shape,
    TagSet, //
};
use config::Config;
use kernel::{
    device,
    impl_has_work,
    new_mutex,
    new_work,
    prelude::*,
    seq_file::SeqFile,
    sync::{
        Arc,
        Mutex, //
    },
    workqueue::Work, //
};
use queue::Queue;
use request::Pdu;
use virtio_spec::blk::feature;
use virtio_transport::{
    cancel,
    negotiate,
    Debugfs,
    Handler,
    Interrupts,
    Observed,
    Plan,
    Sleep,
    Transport,
    Vectors, //
};

/// Name of a disk, before its number.
const PREFIX: &str = "vfe";

/// A device, as its requests, its interrupts and its recovery see it.
#[pin_data]
struct Device<T: Transport> {
    config: Config,
    queues: KVec<Pin<KBox<Queue<T>>>>,
    #[pin]
    disk: Mutex<Option<Arc<GenDisk<Self>>>>,
    #[pin]
    work: Work<Self>,
    /// Outlives the queues.
    #[pin]
    session: Session<T>,
}

impl_has_work! {
    impl{T: Transport} HasWork<Self> for Device<T> { self.work }
}

impl<T: Transport> Device<T> {
    /// Agrees with the device on features and tells it of its queues.
    fn new(parent: &device::Device<device::Bound>, transport: T) -> Result<(Arc<Self>, Vectors)> {
        let features = negotiate(&transport, config::wanted())?;
        let config = Config::read(&transport, features)?;
        let vectors = transport.vectors(config.queues)?;
        let plan = vectors.plan();
        transport.set_config_vector(plan)?;
        let mut queues = KVec::with_capacity(config.queues.into(), GFP_KERNEL)?;
        for number in 0..config.queues {
            let queue = Queue::new(parent, &transport, plan, features, number)?;
            queues.push(KBox::pin_init(queue, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        let device = Arc::pin_init(
            try_pin_init!(Self {
                config,
                queues,
                disk <- new_mutex!(None),
                work <- new_work!("virtio_fe::Device"),
                session <- Session::new(transport, features, plan),
            }),
            GFP_KERNEL,
        )?;
        Ok((device, vectors))
    }

    /// Makes the disk that has these queues.
    fn disk(self: &Arc<Self>) -> Result<Arc<GenDisk<Self>>> {
        let depths = self.queues.iter().map(|queue| queue.depth());
        let depth = depths.min().ok_or(ENODEV)?;
        let mut limits = self.config.limits;
        limits.max_segments = request::most_segments(depth)
            .ok_or(ENODEV)?
            .min(limits.max_segments);
        let shape = Shape {
            queues: self.queues.len() as u32,
            depth,
            segments: limits.max_segments,
            timeout: crate::module_parameters::timeout.value(),
        };
        let tag_set = Arc::pin_init(TagSet::new(self.clone(), &shape), GFP_KERNEL)?;
        let disk = GenDisk::new(tag_set, limits, PREFIX)?;
        Ok(Arc::new(disk, GFP_KERNEL)?)
    }
}

impl<T: Transport> Operations for Device<T> {
    type HwQueue = Queue<T>;
    type Pdu = Pdu;

    fn hw_queue(&self, index: usize) -> Option<&Queue<T>> {
        self.queues.get(index).map(|queue| &**queue)
    }

    fn map_queues(&self, map: &mut QueueMap<'_>) {
        match self.session.plan {
            Plan::PerQueue => map.follow_interrupts(self.session.transport.device(), 1),
            Plan::Shared | Plan::Line => map.spread(),
        }
    }

    #[inline]
    fn queue_rq(
        queue: &Queue<T>,
        request: Request<Self>,
        is_last: bool,
    ) -> Result<(), NotQueued<Self>> {
        queue.submit(request, is_last)
    }

    fn commit_rqs(queue: &Queue<T>) {
        queue.commit();
    }

    #[inline]
    fn complete(queue: &Queue<T>, mut request: Request<Self>) {
        request.unmap(queue.dma());
        let status = request::status(&request);
        request.end(status);
    }

    fn timeout(this: &Arc<Self>, queue: &Queue<T>) {
        // An interrupt may have been lost.
        match queue.take_used() {
            Ok(true) => (),
            Ok(false) | Err(_) => this.call_for_reset(),
        }
    }
}

impl<T: Transport> Handler for Device<T> {
    #[inline]
    fn used(this: &Arc<Self>, queue: u16) -> bool {
        let Some(queue) = this.queues.get(usize::from(queue)) else {
            return false;
        };
        queue.take_used().unwrap_or_else(|broken| {
            let device = this.session.transport.device();
            dev_err!(device, "a queue is broken: {broken:?}\n");
            this.call_for_reset();
            true
        })
    }

    fn config_changed(this: &Arc<Self>) {
        this.call();
    }
}

impl<T: Transport> Observed for Device<T> {
    fn show(&self, file: &SeqFile) {
        self.session.show(file);
        for queue in &self.queues {
            queue.show(file);
        }
    }

    fn reset(this: &Arc<Self>) {
        this.wish_for_reset();
    }
}

/// A block device with this driver, until this is dropped.
pub(crate) struct Disk<T: Transport> {
    /// Nobody resets the device on purpose while it goes.
    debugfs: Option<Debugfs<Device<T>>>,
    device: Arc<Device<T>>,
    interrupts: Option<Interrupts<Device<T>>>,
}

impl<T: Transport> Disk<T> {
    /// Sets the device up, and lets user space see its disk.
    ///
    /// # Errors
    ///
    /// The device is not one that this driver knows, or there is no memory or no interrupt.
    pub(crate) fn new(parent: &device::Device<device::Bound>, transport: T) -> Result<Self> {
        let (device, vectors) = Device::new(parent, transport)?;
        let interrupts = Some(vectors.request(device.clone(), parent.name())?);
        let debugfs = Some(Debugfs::new(DIRECTORY, parent.name(), device.clone())?);
        let this = Self {
            debugfs,
            device,
            interrupts,
        };
        let disk = this.device.disk()?;
        let session = &this.device.session;
        session.go();
        *this.device.disk.lock() = Some(disk.clone());
        let is_read_only = session.features.has(feature::RO);
        disk.add(parent, this.device.config.capacity, is_read_only)?;
        Ok(this)
    }
}

impl<T: Transport> Sleep for Disk<T> {
    fn suspend(&self) {
        recovery::suspend(&*self.device);
    }

    fn wake(&self) {
        recovery::wake(&*self.device);
    }
}

impl<T: Transport> Drop for Disk<T> {
    fn drop(&mut self) {
        self.debugfs = None;
        recovery::part(&*self.device);
        let disk = self.device.disk.lock().clone();
        if let Some(disk) = disk {
            // Its last requests may need interrupts, and the device a reset.
            disk.remove();
        }
        // Dropped after the lock: a disk that goes takes locks of the kernel's that come before it.
        let last = self.device.disk.lock().take();
        drop(last);
        self.interrupts = None;
        cancel(&self.device);
        self.device.session.end();
    }
}
