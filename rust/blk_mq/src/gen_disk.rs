// SPDX-License-Identifier: GPL-2.0-only

//! A disk.

use crate::{
    ffi,
    limits::Limits,
    operations::Operations,
    tag_set::TagSet, //
};
use core::ptr::{
    null_mut,
    NonNull, //
};
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::{
        from_err_ptr,
        to_result, //
    },
    fmt::Write,
    prelude::*,
    static_lock_class,
    str::NullTerminatedFormatter,
    sync::{
        atomic::{
            Atomic,
            Full,
            Release, //
        },
        Arc, //
    }, //
};

/// A number that no other disk of this module has.
struct Index(i32);

impl Index {
    fn new() -> Result<Self> {
        // SAFETY: It only allocates.
        let index = unsafe { ffi::shunt_disk_index() };
        to_result(index)?;
        Ok(Self(index))
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        // SAFETY: It was allocated.
        unsafe { ffi::shunt_disk_index_free(self.0) };
    }
}

/// A disk (`struct gendisk`).
///
/// # Invariants
///
/// `raw` is allocated; it is added if `is_added`.
pub struct GenDisk<T: Operations> {
    raw: NonNull<bindings::gendisk>,
    is_added: Atomic<bool>,
    _index: Index,
    /// The disk's requests are in it.
    tag_set: Arc<TagSet<T>>,
}

// SAFETY: All that can be done with it is thread-safe.
unsafe impl<T: Operations> Send for GenDisk<T> {}

// SAFETY: As above.
unsafe impl<T: Operations> Sync for GenDisk<T> {}

impl<T: Operations> GenDisk<T> {
    /// Makes a disk whose name is `prefix` and a number. User space sees it after [`Self::add`].
    ///
    /// # Errors
    ///
    /// No memory, the name is too long, or the limits contradict each other.
    pub fn new(tag_set: Arc<TagSet<T>>, limits: Limits, prefix: &str) -> Result<Self> {
        let index = Index::new()?;
        let mut limits = limits.into_raw();
        let class = static_lock_class!();
        // SAFETY: The tag set is initialized, and outlives the disk because that holds it.
        let raw = from_err_ptr(unsafe {
            bindings::__blk_mq_alloc_disk(
                tag_set.as_raw(),
                &raw mut limits,
                null_mut(),
                class.as_ptr(),
            )
        })?;
        let number = index.0;
        let disk = Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            is_added: Atomic::new(false),
            _index: index,
            tag_set,
        };
        // SAFETY: The disk is ours alone, and the operations are in this module, which they hold.
        let place = unsafe {
            (*raw).fops = ffi::shunt_disk_operations().cast();
            &mut (*raw).disk_name
        };
        let mut writer = NullTerminatedFormatter::new(place).ok_or(EINVAL)?;
        write!(writer, "{prefix}{number}").map_err(|_| EINVAL)?;
        Ok(disk)
    }

    /// Its requests.
    pub fn tag_set(&self) -> &TagSet<T> {
        &self.tag_set
    }

    /// Lets user space see it, as a child of `parent`, with `sectors` of 512 bytes. It may be
    /// read and written before this returns. To be called once. Its `serial` in sysfs is what
    /// [`Operation::DriverIn`](crate::Operation::DriverIn) reads, of up to 20 bytes.
    ///
    /// # Errors
    ///
    /// No memory, or the name is taken.
    pub fn add(&self, parent: &Device<Bound>, sectors: u64, is_read_only: bool) -> Result {
        let parent = core::ptr::from_ref(parent).cast_mut().cast();
        // SAFETY: The disk is complete and not yet added; `parent` is a transparent
        // `struct device`.
        to_result(unsafe {
            bindings::set_capacity(self.raw.as_ptr(), sectors);
            bindings::set_disk_ro(self.raw.as_ptr(), is_read_only);
            ffi::shunt_disk_add(self.raw.as_ptr().cast(), parent)
        })?;
        self.is_added.store(true, Release);
        Ok(())
    }

    /// Takes it from user space. Waits for its requests; there are none any more afterwards.
    pub fn remove(&self) {
        if self.is_added.xchg(false, Full) {
            // SAFETY: It was added.
            unsafe { bindings::del_gendisk(self.raw.as_ptr()) };
        }
    }

    /// Changes its size, in sectors of 512 bytes, and tells user space if that was another one.
    pub fn set_capacity(&self, sectors: u64) {
        // SAFETY: By the type invariant.
        unsafe { bindings::set_capacity_and_notify(self.raw.as_ptr(), sectors) };
    }

    /// The device has gone: new I/O fails, and user space is told.
    pub fn mark_dead(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::blk_mark_disk_dead(self.raw.as_ptr()) };
    }

    /// Waits until the driver has ended all requests; others wait until the result is dropped.
    pub fn drain(self: Arc<Self>) -> Drained<T> {
        // SAFETY: By the type invariant, a disk has a queue.
        unsafe { bindings::blk_mq_freeze_queue_nomemsave((*self.raw.as_ptr()).queue) };
        Drained(self)
    }

    /// Queues the requests that were [requeued](crate::Request::requeue).
    pub fn kick_requeued(&self) {
        // SAFETY: By the type invariant, a disk has a queue.
        unsafe { bindings::blk_mq_kick_requeue_list((*self.raw.as_ptr()).queue) };
    }
}

/// A disk whose driver has no requests, and gets none before this is dropped. Meanwhile the owner
/// allocates nothing: memory may have to be written to this disk before it is free.
///
/// # Invariants
///
/// We have frozen its queue.
pub struct Drained<T: Operations>(Arc<GenDisk<T>>);

impl<T: Operations> Drop for Drained<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, and that of the disk.
        unsafe { bindings::blk_mq_unfreeze_queue_nomemrestore((*self.0.raw.as_ptr()).queue) };
    }
}

impl<T: Operations> Drop for GenDisk<T> {
    fn drop(&mut self) {
        self.remove();
        // SAFETY: By the type invariant. Whoever has it open keeps the memory of the disk itself.
        unsafe { bindings::put_disk(self.raw.as_ptr()) };
    }
}
