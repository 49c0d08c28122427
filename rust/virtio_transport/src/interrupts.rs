// SPDX-License-Identifier: GPL-2.0-only

//! Interrupts, from the CPU to the driver.

use crate::{
    registers::Window,
    vectors::{
        PciVectors,
        StatusRegister,
        Vectors, //
    },
};
use kernel::{
    bindings,
    error::to_result,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    str::CString,
    sync::Arc, //
};
use virtio_spec::{
    mmio::{
        self,
        interrupt, //
    },
    pci::isr, //
};

/// What a driver does on an interrupt. Interrupts are off meanwhile.
pub trait Handler: Send + Sync + 'static {
    /// The device may have used buffers of this queue. Whether it had.
    fn used(this: &Arc<Self>, queue: u16) -> bool;

    /// The device's configuration has changed, or its status.
    fn config_changed(this: &Arc<Self>);
}

/// What an interrupt means.
pub(crate) enum Source {
    /// The configuration.
    Config,
    /// One queue.
    Queue(u16),
    /// All queues, so many.
    Queues(u16),
    /// All of it; a register tells.
    Line(StatusRegister, u16),
}

/// One interrupt.
struct Line<H> {
    irq: u32,
    source: Source,
    handler: Arc<H>,
    name: CString,
}

impl<H: Handler> Line<H> {
    /// Whether the interrupt was from the device.
    #[inline]
    fn handle(&self) -> bool {
        match &self.source {
            Source::Queue(queue) => {
                H::used(&self.handler, *queue);
                true
            }
            Source::Queues(queues) => {
                self.used_any(*queues);
                true
            }
            Source::Config => {
                H::config_changed(&self.handler);
                true
            }
            Source::Line(StatusRegister::Pci(status), queues) => {
                self.told(status.read8(0), *queues)
            }
            Source::Line(
                StatusRegister::Mmio {
                    registers,
                    is_level,
                },
                queues,
            ) => match is_level {
                true => self.handle_level(registers, *queues),
                false => self.told(acknowledge(registers), *queues),
            },
        }
    }

    fn used_any(&self, queues: u16) -> bool {
        (0..queues).fold(false, |any, queue| H::used(&self.handler, queue) | any)
    }

    /// The bits are the same for both buses.
    fn told(&self, status: u8, queues: u16) -> bool {
        if status & isr::QUEUE != 0 {
            self.used_any(queues);
        }
        if status & isr::CONFIG != 0 {
            H::config_changed(&self.handler);
        }
        status & (isr::QUEUE | isr::CONFIG) != 0
    }

    /// Most interrupts are for used buffers. So takes that back first, looks, and asks the device
    /// why it interrupted only if there were none: an access less. What else it wants to tell
    /// keeps the line raised.
    fn handle_level(&self, registers: &Window, queues: u16) -> bool {
        registers.write32(mmio::INTERRUPT_ACK, interrupt::QUEUE);
        self.used_any(queues) || self.told(acknowledge(registers), queues)
    }
}

/// Asks a virtio-mmio device why it interrupted, and takes that back.
fn acknowledge(registers: &Window) -> u8 {
    let status = registers.read32(mmio::INTERRUPT_STATUS);
    if status != 0 {
        registers.write32(mmio::INTERRUPT_ACK, status);
    }
    status as u8
}

/// What `request_irq` calls.
///
/// # Safety
///
/// `line` is a `Line<H>`.
unsafe extern "C" fn handle<H: Handler>(_irq: c_int, line: *mut c_void) -> bindings::irqreturn_t {
    // SAFETY: As the caller promises; it is there until `free_irq` has returned.
    let line = unsafe { &*line.cast::<Line<H>>() };
    bindings::irqreturn_t(match line.handle() {
        true => bindings::irqreturn::IRQ_HANDLED.0,
        false => bindings::irqreturn::IRQ_NONE.0,
    })
}

/// An interrupt that comes, until this is dropped.
///
/// # Invariants
///
/// It was requested with the `Line` as its cookie.
struct Requested<H>(Pin<KBox<Line<H>>>);

impl<H: Handler> Requested<H> {
    fn new(line: Line<H>) -> Result<Self> {
        let flags = match line.source {
            Source::Line(..) => bindings::IRQF_SHARED as usize,
            _ => 0,
        };
        let line = KBox::pin(line, GFP_KERNEL)?;
        let cookie = cookie(&line);
        // SAFETY: The handler fits the cookie, which stays where it is until `drop`, as does the
        // name.
        to_result(unsafe {
            bindings::request_irq(
                line.irq,
                Some(handle::<H>),
                flags,
                line.name.as_char_ptr(),
                cookie,
            )
        })?;
        Ok(Self(line))
    }
}

impl<H> Drop for Requested<H> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::free_irq(self.0.irq, cookie(&self.0)) };
    }
}

fn cookie<H>(line: &Line<H>) -> *mut c_void {
    core::ptr::from_ref(line).cast_mut().cast()
}

/// Interrupts that come, until this is dropped.
pub struct Interrupts<H> {
    _lines: KVec<Requested<H>>,
    /// Freed after their handlers.
    _vectors: Option<PciVectors>,
}

impl<H: Handler> Interrupts<H> {
    pub(crate) fn new(vectors: Vectors, handler: Arc<H>, name: &CStr) -> Result<Self> {
        let mut lines = KVec::with_capacity(vectors.irqs.len(), GFP_KERNEL)?;
        for (index, irq) in vectors.irqs.iter().enumerate() {
            let source = vectors.source(index);
            let name = match &source {
                Source::Config => CString::try_from_fmt(fmt!("{name}-config"))?,
                Source::Queue(queue) => CString::try_from_fmt(fmt!("{name}-queue.{queue}"))?,
                Source::Queues(_) => CString::try_from_fmt(fmt!("{name}-queues"))?,
                Source::Line(..) => CString::try_from_fmt(fmt!("{name}"))?,
            };
            let line = Line {
                irq: *irq,
                source,
                handler: handler.clone(),
                name,
            };
            lines.push(Requested::new(line)?, GFP_KERNEL)?;
        }
        Ok(Self {
            _lines: lines,
            _vectors: vectors.owner,
        })
    }
}
