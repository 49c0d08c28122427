// SPDX-License-Identifier: GPL-2.0-only

//! The end of delayed work, which the kernel's own abstraction does not have.

use kernel::{
    bindings,
    container_of,
    sync::Arc,
    workqueue::{
        HasDelayedWork,
        Work,
        WorkItem, //
    }, //
};

/// Takes the delayed work item of `target` out of its queue, and waits if it is running.
pub fn cancel<T>(target: &Arc<T>)
where
    T: WorkItem<Pointer = Arc<T>> + HasDelayedWork<T>,
{
    let pointer = Arc::as_ptr(target);
    // SAFETY: `target` is not dangling, and so is its work item, which is that of a
    // `struct delayed_work` and was initialized with it.
    let was_queued = unsafe {
        let work = Work::raw_get(T::raw_get_work(pointer.cast_mut()));
        bindings::cancel_delayed_work_sync(container_of!(work, bindings::delayed_work, work))
    };
    if was_queued {
        // SAFETY: The queue owned a reference, which `run` would have got.
        drop(unsafe { Arc::from_raw(pointer) });
    }
}
