// SPDX-License-Identifier: GPL-2.0-only

//! Network devices: section 5.1.

mod commands;
mod config;
mod control;
mod counters;
mod operations;
mod receive;
mod recover;
mod transmit;

use crate::{
    device::DIRECTORY,
    recovery::{
        self,
        Recover,
        Session, //
    },
    virtqueue::{
        access,
        Virtqueue, //
    }, //
};
use config::Config;
use control::Control;
use counters::Counters;
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
            Release, //
        },
        Arc,
        Mutex, //
    },
    workqueue::Work, //
};
use netdev::{
    NewPair,
    Registration,
    Settings, //
};
use receive::{
    Receiver,
    Shape, //
};
use transmit::Transmitter;
use virtio_ring::driver::Broken;
use virtio_spec::{
    features::Features,
    net::feature, //
};
use virtio_transport::{
    cancel,
    negotiate,
    Access,
    Debugfs,
    DmaMemory,
    Handler,
    Interrupts,
    Observed,
    Plan,
    Sleep,
    Transport,
    Vectors, //
};

/// MTU where nothing is said of it.
const USUAL_MTU: u32 = 1500;

/// A device, as its packets, its interrupts and its recovery see it.
#[pin_data]
struct Network<T: Transport> {
    config: Config,
    shape: Shape,
    counters: KVec<Counters>,
    /// Of each pair, whether its transmit queue has to be reset.
    must_reset: KVec<Atomic<bool>>,
    /// Descriptors of a receive queue and of a transmit queue.
    sizes: [u16; 2],
    device: netdev::Device<Self>,
    #[pin]
    control: Mutex<Option<Control>>,
    #[pin]
    work: Work<Self>,
    /// Outlives the queues.
    #[pin]
    session: Session<T>,
}

impl_has_work! {
    impl{T: Transport} HasWork<Self> for Network<T> { self.work }
}

/// What all queues of a device have in common.
struct Setup<'a, T> {
    parent: &'a device::Device<device::Bound>,
    transport: &'a T,
    features: Features,
    plan: Plan,
    shape: Shape,
}

impl<T: Transport> Setup<'_, T> {
    fn queue<B>(&self, plan: Plan, number: u16) -> Result<Virtqueue<B>> {
        Virtqueue::new(self.parent, self.transport, plan, self.features, number)
    }

    fn memory(&self, bytes: usize) -> Result<DmaMemory> {
        DmaMemory::new(self.parent, access(self.features), bytes)
    }

    fn pair(&self, pair: &NewPair<'_>) -> Result<(Receiver, Transmitter)> {
        let number = 2 * pair.index() as u16;
        let is_mapped = access(self.features) == Access::Platform;
        let dma = is_mapped.then(|| self.transport.device().clone());
        let receive = self.queue(self.plan, number)?;
        let pool = pair.pool(
            dma.as_deref(),
            self.shape.fragment,
            receive.setup.size.into(),
        )?;
        let transmit = self.queue(self.plan, number + 1)?;
        let memory = self.memory(transmit::PLACE * usize::from(transmit.setup.size))?;
        let is_indirect = self.features.has(Features::INDIRECT_DESC);
        Ok((
            Receiver::new(receive, pool, self.shape),
            Transmitter::new(transmit, memory, is_indirect, dma)?,
        ))
    }

    /// The control queue, which is behind all pairs that there can be. It needs no interrupt.
    fn control(&self, max_pairs: u16) -> Result<Option<Control>> {
        if !self.features.has(feature::CTRL_VQ) {
            return Ok(None);
        }
        let number = max_pairs.checked_mul(2).ok_or(EINVAL)?;
        let queue = self.queue(Plan::Line, number)?;
        Ok(Some(Control::new(queue, self.memory(control::BYTES)?)))
    }
}

impl<T: Transport> Network<T> {
    /// Agrees with the device on features and tells it of its queues.
    fn new(parent: &device::Device<device::Bound>, transport: T) -> Result<(Arc<Self>, Vectors)> {
        let wanted = config::wanted(transport.device_features());
        let features = negotiate(&transport, wanted)?;
        let config = Config::read(&transport, features)?;
        let vectors = transport.vectors(2 * config.pairs)?;
        let plan = vectors.plan();
        transport.set_config_vector(plan)?;
        let is_mergeable = features.has(feature::MRG_RXBUF);
        let shape = Shape::new(is_mergeable, config::receives_large(features));
        let setup = Setup {
            parent,
            transport: &transport,
            features,
            plan,
            shape,
        };
        let mut sizes = [0; 2];
        let device = netdev::Device::new(parent, config.pairs.into(), |pair| {
            let (receiver, transmitter) = setup.pair(&pair)?;
            sizes = [receiver.queue().setup.size, transmitter.queue().setup.size];
            Ok((receiver, transmitter))
        })?;
        let control = setup.control(config.max_pairs)?;
        let mut counters = KVec::with_capacity(config.pairs.into(), GFP_KERNEL)?;
        let mut must_reset = KVec::with_capacity(config.pairs.into(), GFP_KERNEL)?;
        for _ in 0..config.pairs {
            counters.push(Counters::default(), GFP_KERNEL)?;
            must_reset.push(Atomic::new(false), GFP_KERNEL)?;
        }
        let network = Arc::pin_init(
            try_pin_init!(Self {
                config,
                shape,
                counters,
                must_reset,
                sizes,
                device,
                control <- new_mutex!(control),
                work <- new_work!("virtio_fe::Network"),
                session <- Session::new(transport, features, plan),
            }),
            GFP_KERNEL,
        )?;
        Ok((network, vectors))
    }

    /// What the kernel has to know of the device.
    fn settings(&self) -> Settings {
        let device_mtu = self.config.mtu.map(u32::from);
        let max_mtu = self.shape.max_mtu().min(device_mtu.unwrap_or(u32::MAX));
        Settings {
            mac: self.config.mac,
            mtu: device_mtu.unwrap_or(USUAL_MTU).min(max_mtu),
            max_mtu,
            offloads: config::offloads(self.session.features),
            pairs: self.config.pairs.into(),
        }
    }

    /// A receive queue is broken.
    #[cold]
    fn blame(self: &Arc<Self>, broken: Broken) {
        let device = self.session.transport.device();
        dev_err!(device, "a queue is broken: {broken:?}\n");
        self.call_for_reset();
    }

    /// The transmit queue of this pair is broken.
    #[cold]
    fn blame_transmit(self: &Arc<Self>, pair: u32, broken: Broken) {
        let device = self.session.transport.device();
        dev_err!(device, "transmit queue {pair} is broken: {broken:?}\n");
        self.call_for_transmit_reset(pair);
    }

    /// Has the transmit queue of this pair reset.
    fn call_for_transmit_reset(self: &Arc<Self>, pair: u32) {
        if let Some(must_reset) = self.must_reset.get(pair as usize) {
            must_reset.store(true, Release);
        }
        self.call();
    }
}

impl<T: Transport> Handler for Network<T> {
    /// All is done by NAPI, for both queues of a pair.
    #[inline]
    fn used(this: &Arc<Self>, queue: u16) -> bool {
        let (pair, mut any) = (u32::from(queue / 2), false);
        this.device.claim(pair, |receiver| any = receiver.wake());
        any
    }

    fn config_changed(this: &Arc<Self>) {
        this.call();
    }
}

impl<T: Transport> Observed for Network<T> {
    fn show(&self, file: &SeqFile) {
        self.session.show(file);
        let [receive, transmit] = self.sizes;
        for (pair, counters) in self.counters.iter().enumerate() {
            seq_print!(file, "pair {pair} sizes {receive} {transmit}");
            for (name, value) in counters::NAMES.iter().zip(counters.values()) {
                let name = CStr::from_bytes_until_nul(name).unwrap_or_default();
                seq_print!(file, " {name} {value}");
            }
            seq_print!(file, "\n");
        }
    }

    fn reset(this: &Arc<Self>) {
        this.wish_for_reset();
    }
}

/// A network device with this driver, until this is dropped.
pub(crate) struct Interface<T: Transport> {
    /// Nobody resets the device on purpose while it goes.
    debugfs: Option<Debugfs<Network<T>>>,
    network: Arc<Network<T>>,
    registration: Option<Registration<Network<T>>>,
    interrupts: Option<Interrupts<Network<T>>>,
}

impl<T: Transport> Interface<T> {
    /// Sets the device up, and lets user space see it.
    ///
    /// # Errors
    ///
    /// The device is not one that this driver knows, or there is no memory or no interrupt.
    pub(crate) fn new(parent: &device::Device<device::Bound>, transport: T) -> Result<Self> {
        let (network, vectors) = Network::new(parent, transport)?;
        let interrupts = Some(vectors.request(network.clone(), parent.name())?);
        let debugfs = Some(Debugfs::new(DIRECTORY, parent.name(), network.clone())?);
        let mut this = Self {
            debugfs,
            network: network.clone(),
            registration: None,
            interrupts,
        };
        network.session.go();
        network.tell_pairs(network.config.pairs)?;
        this.registration = Some(Registration::new(network.clone(), &network.settings())?);
        network.call();
        Ok(this)
    }
}

impl<T: Transport> Sleep for Interface<T> {
    fn suspend(&self) {
        recovery::suspend(&*self.network);
    }

    fn wake(&self) {
        recovery::wake(&*self.network);
    }
}

impl<T: Transport> Drop for Interface<T> {
    fn drop(&mut self) {
        self.debugfs = None;
        self.registration = None;
        self.interrupts = None;
        cancel(&self.network);
        self.network.session.end();
    }
}
