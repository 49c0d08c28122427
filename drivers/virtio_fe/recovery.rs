// SPDX-License-Identifier: GPL-2.0-only

//! What a device wants outside of its queues, whatever it is for: to be looked at, to be reset, to
//! sleep.
//!
//! ```text
//! configuration changed ────────────────────────┐
//! DEVICE_NEEDS_RESET, a ring that is broken,    ├─► attend, in a work queue
//! something that is not done in time ───────────┘     reset: pause, reset, take back, begin again
//!                                                     a queue alone: mend it
//!                                                     configuration: look at it
//! the system falls asleep ──► suspend                 drain, pause, reset, take back
//! it wakes up ──────────────► wake                    begin again, look
//! ```
//!
//! A device is *lost* when it cannot be reset, is not the same afterwards, or has to be reset again
//! and again and does nothing in between. That is for good.

use kernel::{
    new_mutex,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        Mutex, //
    },
    workqueue::{
        self,
        HasWork,
        WorkItem, //
    }, //
};
use virtio_spec::{
    features::Features,
    status, //
};
use virtio_transport::{
    negotiate,
    silence,
    trace::{
        self,
        Step, //
    },
    Plan,
    Transport, //
};

/// Resets in a row, without anything done by the device in between, after which it is lost.
const MOST_IN_VAIN: u32 = 16;

/// The status that a device agrees to.
const AGREED: u8 = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;

/// The status of a device that works.
const WORKING: u8 = AGREED | status::DRIVER_OK;

/// What a device is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Working,
    Asleep,
    Lost,
}

struct State {
    phase: Phase,
    /// [`Recover::progress`] at the last reset.
    progress: u64,
    /// Resets since there was some.
    in_vain: u32,
}

impl State {
    /// Counts a reset.
    ///
    /// # Errors
    ///
    /// `EIO`: there were too many in vain.
    fn count(&mut self, progress: u64, is_wished: bool) -> Result {
        if is_wished || progress != self.progress {
            self.in_vain = 0;
        }
        self.progress = progress;
        self.in_vain += 1;
        match self.in_vain > MOST_IN_VAIN {
            true => Err(EIO),
            false => Ok(()),
        }
    }
}

/// What the driver and a device have agreed on, and how it is going.
#[pin_data]
pub(crate) struct Session<T: Transport> {
    pub(crate) features: Features,
    pub(crate) plan: Plan,
    /// A ring is broken, or stands still. Cleared when all rings are empty, as it was said of what was
    /// in them.
    must_reset: Atomic<bool>,
    /// The user wants a reset. Cleared before one: a wish is for a reset that begins later.
    is_wished: Atomic<bool>,
    resets: Atomic<u64>,
    sleeps: Atomic<u64>,
    #[pin]
    state: Mutex<State>,
    /// Outlives the queues, whose doorbells are on it.
    pub(crate) transport: T,
}

impl<T: Transport> Session<T> {
    /// A session with a device that has agreed, and does not work yet.
    pub(crate) fn new(transport: T, features: Features, plan: Plan) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            features,
            plan,
            must_reset: Atomic::new(false),
            is_wished: Atomic::new(false),
            resets: Atomic::new(0),
            sleeps: Atomic::new(0),
            state <- new_mutex!(State {
                phase: Phase::Working,
                progress: 0,
                in_vain: 0,
            }),
            transport,
        })
    }

    /// What there is to see of it.
    pub(crate) fn show(&self, file: &SeqFile) {
        let features = self.features.bits();
        let (resets, sleeps) = (self.resets.load(Relaxed), self.sleeps.load(Relaxed));
        seq_print!(
            file,
            "features {features:#x} resets {resets} sleeps {sleeps}\n"
        );
    }

    /// The device may begin.
    pub(crate) fn go(&self) {
        self.transport.set_status(WORKING);
    }

    /// Ends a device that nobody uses any more.
    pub(crate) fn end(&self) {
        if silence(&self.transport).is_err() {
            dev_err!(self.transport.device(), "the device cannot be reset\n");
        }
    }

    /// Tells who watches.
    fn tell(&self, step: Step, result: Result) {
        trace::recovery(self.transport.device(), step, result);
    }

    /// Whether the device has to be reset: it is to be, or wants to be, or does not know us any
    /// more.
    fn is_ill(&self) -> bool {
        self.must_reset.load(Acquire)
            || self.is_wished.load(Acquire)
            || self.transport.status() != WORKING
    }
}

/// A device whose queues can be stopped, emptied and begun again.
pub(crate) trait Recover:
    WorkItem<Pointer = Arc<Self>> + HasWork<Self> + Send + Sync + Sized + 'static
{
    /// How it is reached.
    type Transport: Transport;

    /// Its queues, standing still. If this is dropped, they stay so.
    type Still<'a>;

    /// Nothing is in its queues, nor will be, until this is dropped.
    type Drained<'a>;

    /// What was agreed on.
    fn session(&self) -> &Session<Self::Transport>;

    /// Changes when the device has done something useful. Asked when its queues are empty.
    fn progress(&self) -> u64;

    /// Waits until the device has done all there is.
    fn drain(&self) -> Self::Drained<'_>;

    /// Stands all queues still. `None`: nobody uses the device.
    fn pause(&self) -> Option<Self::Still<'_>>;

    /// Queues that stood still before.
    fn still(&self) -> Option<Self::Still<'_>>;

    /// Takes back what is in the queues of a device that has been reset.
    fn take_back(&self, still: &mut Self::Still<'_>);

    /// Tells a device that has been reset of its queues.
    ///
    /// # Errors
    ///
    /// Those of [`Transport::enable_queue`].
    fn enable_queues(&self, still: &mut Self::Still<'_>) -> Result;

    /// Tells a device that works again what else it was told before.
    ///
    /// # Errors
    ///
    /// It does not want it any more.
    fn remind(&self, still: &mut Self::Still<'_>) -> Result;

    /// Lets the queues go on.
    fn resume(&self, still: Self::Still<'_>);

    /// Fails what the device had, and all from now on. It does not access memory any more.
    fn fail(&self, still: Self::Still<'_>);

    /// Resets those queues alone that stand still or are broken.
    ///
    /// # Errors
    ///
    /// One cannot be: the device has to be reset.
    fn mend(&self) -> Result;

    /// The configuration may have changed.
    fn look(&self);

    /// Has the device attended to.
    fn call(self: &Arc<Self>) {
        // If it is queued already, it will find what there is to do.
        let _ = workqueue::system_long().enqueue(self.clone());
    }

    /// Has the device reset, because something is wrong with it.
    fn call_for_reset(self: &Arc<Self>) {
        self.session().must_reset.store(true, Release);
        self.call();
    }

    /// Has the device reset, because the user wants that.
    fn wish_for_reset(self: &Arc<Self>) {
        self.session().is_wished.store(true, Release);
        self.call();
    }
}

/// Does what the device wants.
pub(crate) fn attend<D: Recover>(device: &D) {
    see_to(device, &mut device.session().state.lock());
}

fn see_to<D: Recover>(device: &D, state: &mut State) {
    if state.phase == Phase::Working && (device.session().is_ill() || device.mend().is_err()) {
        recover(device, state);
    }
    if state.phase == Phase::Working {
        device.look();
    }
}

fn recover<D: Recover>(device: &D, state: &mut State) {
    let session = device.session();
    let Some(mut still) = device.pause() else {
        return;
    };
    let is_wished = session.is_wished.xchg(false, Full);
    session.resets.add(1u64, Relaxed);
    session.tell(Step::Reset, Ok(()));
    dev_info!(session.transport.device(), "resetting the device\n");
    let result = empty(device, &mut still)
        .and_then(|()| state.count(device.progress(), is_wished))
        .and_then(|()| begin_again(device, &mut still));
    finish(device, state, still, result);
}

/// Resets the device, and takes back what it had.
fn empty<D: Recover>(device: &D, still: &mut D::Still<'_>) -> Result {
    let session = device.session();
    silence(&session.transport)?;
    device.take_back(still);
    session.must_reset.store(false, Release);
    Ok(())
}

/// Sets a device up that has been reset, as it was, with the same features.
fn begin_again<D: Recover>(device: &D, still: &mut D::Still<'_>) -> Result {
    let session = device.session();
    if negotiate(&session.transport, session.features)? != session.features {
        return Err(ENODEV);
    }
    session.transport.set_config_vector(session.plan)?;
    device.enable_queues(still)?;
    session.go();
    device.remind(still)
}

/// Lets the queues go on, or if the device did not begin again, never any more.
fn finish<D: Recover>(device: &D, state: &mut State, still: D::Still<'_>, begun: Result) {
    let session = device.session();
    match begun {
        Ok(()) => {
            session.tell(Step::Working, Ok(()));
            device.resume(still);
        }
        Err(error) => {
            session.tell(Step::Lost, Err(error));
            dev_err!(
                session.transport.device(),
                "the device is lost: {error:?}\n"
            );
            // It may have begun.
            let _ = silence(&session.transport);
            device.fail(still);
            state.phase = Phase::Lost;
        }
    }
}

/// Before the driver lets go of a device: if that is not there any more, nobody waits for it.
pub(crate) fn part<D: Recover>(device: &D) {
    let mut state = device.session().state.lock();
    if state.phase == Phase::Lost || device.session().transport.is_present() {
        return;
    }
    if let Some(still) = device.pause() {
        finish(device, &mut state, still, Err(ENODEV));
    }
}

/// The system falls asleep: the device is reset, because it may lose all that it knows.
pub(crate) fn suspend<D: Recover>(device: &D) {
    // Its CPUs go, and they wait for what they have begun.
    let _drained = device.drain();
    let mut state = device.session().state.lock();
    if state.phase != Phase::Working {
        return;
    }
    let Some(mut still) = device.pause() else {
        return;
    };
    match empty(device, &mut still) {
        Ok(()) => {
            device.session().sleeps.add(1u64, Relaxed);
            device.session().tell(Step::Asleep, Ok(()));
            state.phase = Phase::Asleep;
        }
        Err(error) => finish(device, &mut state, still, Err(error)),
    }
}

/// The system is awake.
pub(crate) fn wake<D: Recover>(device: &D) {
    let mut state = device.session().state.lock();
    if state.phase != Phase::Asleep {
        return;
    }
    state.phase = Phase::Working;
    let Some(mut still) = device.still() else {
        return;
    };
    let result = begin_again(device, &mut still);
    finish(device, &mut state, still, result);
    // Nobody attended to what was wanted meanwhile.
    see_to(device, &mut state);
}
