// SPDX-License-Identifier: GPL-2.0-only

//! The end of deferred work, which the kernel's own abstraction does not have.

use kernel::{
    bindings,
    sync::Arc,
    workqueue::{
        HasWork,
        Work,
        WorkItem, //
    }, //
};

/// Takes the work item `ID` of `target` out of its queue, and waits if it is running.
pub fn cancel<T, const ID: u64>(target: &Arc<T>)
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasWork<T, ID>,
{
    let pointer = Arc::as_ptr(target);
    // SAFETY: `target` is not dangling, and so is its work item, which was initialized with it.
    let was_queued = unsafe {
        let work = T::raw_get_work(pointer.cast_mut());
        bindings::cancel_work_sync(Work::raw_get(work))
    };
    if was_queued {
        // SAFETY: The queue owned a reference, which `run` would have got.
        drop(unsafe { Arc::from_raw(pointer) });
    }
}
