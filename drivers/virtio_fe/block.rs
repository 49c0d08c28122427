// SPDX-License-Identifier: GPL-2.0-only

//! Block devices: section 5.2.

mod config;
mod counts;
mod queue;
mod recovery;
mod request;

use crate::device::DIRECTORY;
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
    seq_print,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    workqueue::Work, //
};
use queue::Queue;
use request::Pdu;
use virtio_spec::{
    blk::feature,
    features::Features,
    status, //
};
use virtio_transport::{
    cancel,
    negotiate,
    reset,
    Debugfs,
    Handler,
    Interrupts,
    Observed,
    Plan,
    Transport,
    Vectors, //
};

/// Name of a disk, before its number.
const PREFIX: &str = "vfe";

/// A device, as its requests, its interrupts and its recovery see it.
#[pin_data]
struct Device<T: Transport> {
    features: Features,
    config: Config,
    plan: Plan,
    queues: KVec<Pin<KBox<Queue<T>>>>,
    /// A request was not answered in time, or a ring is broken.
    must_reset: Atomic<bool>,
    /// The device has gone for good.
    is_gone: Atomic<bool>,
    /// How often it was reset.
    resets: Atomic<u32>,
    #[pin]
    disk: Mutex<Option<Arc<GenDisk<Self>>>>,
    #[pin]
    work: Work<Self>,
    /// Outlives the queues, whose doorbells are on it.
    transport: T,
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
                features,
                config,
                plan,
                queues,
                must_reset: Atomic::new(false),
                is_gone: Atomic::new(false),
                resets: Atomic::new(0),
                disk <- new_mutex!(None),
                work <- new_work!("virtio_fe::Device"),
                transport,
            }),
            GFP_KERNEL,
        )?;
        Ok((device, vectors))
    }

    /// The device may begin.
    fn go(&self) {
        let agreed = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
        self.transport.set_status(agreed | status::DRIVER_OK);
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
        match self.plan {
            Plan::PerQueue => map.follow_interrupts(self.transport.device(), 1),
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
            dev_err!(this.transport.device(), "a queue is broken: {broken:?}\n");
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
        let (features, resets) = (self.features.bits(), self.resets.load(Relaxed));
        seq_print!(file, "features {features:#x} resets {resets}\n");
        for queue in &self.queues {
            queue.show(file);
        }
    }

    fn reset(this: &Arc<Self>) {
        this.call_for_reset();
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
        *this.device.disk.lock() = Some(disk.clone());
        this.device.go();
        let config = &this.device.config;
        disk.add(
            parent,
            config.capacity,
            this.device.features.has(feature::RO),
        )?;
        Ok(this)
    }
}

impl<T: Transport> Drop for Disk<T> {
    fn drop(&mut self) {
        self.debugfs = None;
        let disk = self.device.disk.lock().clone();
        if let Some(disk) = disk {
            if !self.device.transport.is_present() {
                self.device.give_up(&disk);
            }
            // Its last requests may need interrupts, and the device a reset.
            disk.remove();
        }
        let _ = self.device.disk.lock().take();
        self.interrupts = None;
        cancel(&self.device);
        if reset(&self.device.transport).is_err() {
            dev_err!(
                self.device.transport.device(),
                "the device cannot be reset\n"
            );
        }
    }
}
