// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A device that ends at any moment, and the one after it: each buffer comes back, once.

mod area;

use std::collections::VecDeque;

use area::Area;
use proptest::prelude::*;
use virtio_ring::device::{self, BadRing, Progress, Tables};
use virtio_ring::driver::{self, Settings, Slot};
use virtio_ring::memory::Areas;
use virtio_ring::segment::Segment;
use virtio_spec::features::Features;
use virtio_spec::{packed, split};

struct NoTables;

impl Tables for NoTables {
    fn descriptor(&self, _: u64) -> Option<[u64; 2]> {
        None
    }
}

/// After which step the device ends, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Popped,
    Stored,
    Completed,
    Published,
    /// And it knows that it did.
    Settled,
    Never,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The driver adds and publishes a buffer of so many segments.
    Add(u32),
    /// The device does one.
    Serve(End),
    /// The driver takes one back.
    Take,
}

fn any_step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        Just(End::Popped),
        Just(End::Stored),
        Just(End::Completed),
        Just(End::Published),
        Just(End::Settled),
        Just(End::Never),
    ];
    prop_oneof![
        (1..=3u32).prop_map(Step::Add),
        end.prop_map(Step::Serve),
        Just(Step::Take),
    ]
}

struct Scene {
    settings: Settings,
    areas: [Area; 3],
    driver: driver::Ring<Area, Vec<Slot<u32>>>,
    device: device::Ring<Area>,
    /// What outlives the device.
    progress: u32,
    /// Buffers that the driver has not got back.
    out: VecDeque<u32>,
    added: u32,
}

fn areas([descriptors, driver, device]: &[Area; 3]) -> Areas<Area> {
    Areas {
        descriptors: descriptors.clone(),
        driver: driver.clone(),
        device: device.clone(),
    }
}

impl Scene {
    fn new(settings: Settings) -> Self {
        let size = settings.size;
        let memory = match settings.features.has(Features::RING_PACKED) {
            true => [packed::descriptor_area(size), packed::EVENT, packed::EVENT],
            false => [
                split::descriptor_area(size),
                split::driver_area(size),
                split::device_area(size),
            ],
        }
        .map(Area::new);
        let slots = (0..size).map(|_| Slot::new()).collect();
        Self {
            driver: driver::Ring::new(settings, areas(&memory), slots).unwrap(),
            device: device::Ring::new(settings, areas(&memory)).unwrap(),
            areas: memory,
            settings,
            progress: 0,
            out: VecDeque::new(),
            added: 0,
        }
    }

    fn add(&mut self, count: u32) {
        let segment = Segment {
            address: 0x1000,
            length: 1,
        };
        let segments = vec![segment; count as usize];
        if self.driver.add(&segments, &[], self.added + 1).is_ok() {
            self.added += 1;
            self.out.push_back(self.added);
            let _ = self.driver.publish();
        }
    }

    /// Serves a buffer as far as `end`, and ends.
    fn serve(&mut self, end: End) {
        let mut segments = [Segment::default(); 3];
        let head = self.device.head();
        let chain = self.device.pop(&NoTables, &mut segments).unwrap();
        assert_eq!(head.is_some(), chain.is_some(), "a look ahead");
        let Some(chain) = chain.filter(|_| end != End::Popped) else {
            return self.succeed(end);
        };
        self.progress = self
            .device
            .completing(std::slice::from_ref(&chain))
            .to_word();
        if end == End::Stored {
            return self.succeed(end);
        }
        self.device.complete(chain, 0);
        if end == End::Completed {
            return self.succeed(end);
        }
        let _ = self.device.publish();
        if end == End::Settled {
            self.progress = self.device.progress().to_word();
        }
        self.succeed(end);
    }

    fn succeed(&mut self, end: End) {
        if end != End::Never {
            let progress = Progress::from_word(self.progress);
            let device = device::Ring::resume(self.settings, areas(&self.areas), progress);
            self.device = device.unwrap();
        }
    }

    fn take(&mut self) -> bool {
        let Some(used) = self.driver.pop().unwrap() else {
            return false;
        };
        // The device does them in turn.
        assert_eq!(Some(used.token), self.out.pop_front());
        true
    }

    fn finish(mut self) {
        while !self.out.is_empty() {
            self.serve(End::Never);
            assert!(self.take(), "{} buffers are lost", self.out.len());
        }
        self.serve(End::Never);
        assert!(!self.take());
    }
}

proptest! {
    #[test]
    fn each_buffer_comes_back_once(
        is_packed in any::<bool>(),
        is_in_order in any::<bool>(),
        log_size in 0..4u32,
        steps in prop::collection::vec(any_step(), 1..200),
    ) {
        let packed = if is_packed { Features::RING_PACKED } else { Features::default() };
        let in_order = if is_in_order { Features::IN_ORDER } else { Features::default() };
        let settings = Settings {
            queue: 0,
            size: 1 << log_size,
            features: packed.with(in_order),
        };
        let mut scene = Scene::new(settings);
        for step in steps {
            match step {
                Step::Add(count) => scene.add(count),
                Step::Serve(end) => scene.serve(end),
                Step::Take => drop(scene.take()),
            }
        }
        scene.finish();
    }
}

#[test]
fn nobody_can_have_got_outside_the_ring() {
    let settings = Settings {
        queue: 0,
        size: 4,
        features: Features::RING_PACKED,
    };
    let scene = Scene::new(settings);
    for word in [0x0001_0004, 0x0005_0000] {
        let progress = Progress::from_word(word);
        let device = device::Ring::resume(settings, areas(&scene.areas), progress);
        assert_eq!(device.err(), Some(BadRing::Progress(word)));
    }
}
