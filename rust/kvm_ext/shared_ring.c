// SPDX-License-Identifier: GPL-2.0-only
#include <linux/anon_inodes.h>
#include <linux/cpumask.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/rcuwait.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>

#include "../../include/uapi/linux/ioregion.h"
#include "deadline.h"
#include "shared_ring.h"

/* rust/ioregion_ring/src/layout.rs has the same numbers. */
#define LINE		64
#define ROOM_WANTED_AT	64
#define CONSUMED_AT	0
#define WAKE_ME_AT	64

/*
 * @kernel_area is mapped read-only by userspace, @device_area is not: nothing
 * is taken from there without a check, but for how long to sleep.
 */
struct shunt_ring {
	struct kref refs;
	void *kernel_area;
	void *device_area;
	size_t kernel_size;
	size_t device_size;
	size_t first_slot;
	u32 slots;
	u32 nr_vcpus;
	atomic_t changes;
	bool device_gone;
	bool kernel_gone;
	unsigned long device_waits;	/* bit 0: a thread of the device is in IOREGION_CHANNEL_WAIT */
	bool device_woken;
	struct rcuwait device;
	wait_queue_head_t poll;
	wait_queue_head_t room;
	struct rcuwait vcpus[] __counted_by(nr_vcpus);
};

static void shunt_ring_free(struct kref *refs)
{
	struct shunt_ring *ring = container_of(refs, struct shunt_ring, refs);

	vfree(ring->kernel_area);
	vfree(ring->device_area);
	kvfree(ring);
}

struct shunt_ring *shunt_ring_alloc(size_t kernel_size, size_t device_size, u32 slots,
				    size_t first_slot, u32 vcpus)
{
	struct shunt_ring *ring;
	u32 i;

	ring = kvzalloc(struct_size(ring, vcpus, vcpus), GFP_KERNEL_ACCOUNT);
	if (!ring)
		return NULL;

	kref_init(&ring->refs);
	ring->nr_vcpus = vcpus;
	ring->slots = slots;
	ring->first_slot = first_slot;
	ring->kernel_size = kernel_size;
	ring->device_size = device_size;
	rcuwait_init(&ring->device);
	init_waitqueue_head(&ring->poll);
	init_waitqueue_head(&ring->room);
	for (i = 0; i < vcpus; i++)
		rcuwait_init(&ring->vcpus[i]);

	ring->kernel_area = __vmalloc(kernel_size, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	ring->device_area = __vmalloc(device_size, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!ring->kernel_area || !ring->device_area) {
		shunt_ring_put(ring);
		return NULL;
	}
	return ring;
}

void shunt_ring_put(struct shunt_ring *ring)
{
	kref_put(&ring->refs, shunt_ring_free);
}

void *shunt_ring_kernel_area(struct shunt_ring *ring)
{
	return ring->kernel_area;
}

void *shunt_ring_device_area(struct shunt_ring *ring)
{
	return ring->device_area;
}

/* To be read with READ_ONCE. */
const bool *shunt_ring_device_is_gone(struct shunt_ring *ring)
{
	return &ring->device_gone;
}

u32 shunt_ring_changes(struct shunt_ring *ring)
{
	return atomic_read_acquire(&ring->changes);
}

/* Whatever a vCPU waits for, it has to look again. */
void shunt_ring_announce(struct shunt_ring *ring)
{
	u32 i;

	smp_mb__before_atomic();
	atomic_inc(&ring->changes);
	wake_up_all(&ring->room);
	for (i = 0; i < ring->nr_vcpus; i++)
		rcuwait_wake_up(&ring->vcpus[i]);
}

/* There will be no more accesses. */
void shunt_ring_close(struct shunt_ring *ring)
{
	WRITE_ONCE(ring->kernel_gone, true);
	rcuwait_wake_up(&ring->device);
	wake_up_all(&ring->poll);
}

/*
 * Once woken, the device stays marked as asleep until it runs: spare the rest
 * of a burst. Who follows relies on the one who found it asleep to wake it
 * soon, so that one is not preempted.
 */
static void wake_waiter(struct shunt_ring *ring)
{
	guard(preempt)();

	/* After the full barrier that follows a post; pairs with wait_for_access(). */
	if (!READ_ONCE(ring->device_woken)) {
		WRITE_ONCE(ring->device_woken, true);
		rcuwait_wake_up(&ring->device);
	}
}

void shunt_ring_wake_device(struct shunt_ring *ring)
{
	wake_waiter(ring);
	if (wq_has_sleeper(&ring->poll))
		wake_up_interruptible_poll(&ring->poll, EPOLLIN);
}

static u64 *word(void *area, size_t at)
{
	return area + at;
}

/*
 * Wait without sleeping for a device that is not asleep: it answers soon, or
 * its CPU is needed. False if that was in vain.
 */
bool shunt_ring_spin(struct shunt_ring *ring, size_t line, u64 request, u64 ns)
{
	u64 *answer = word(ring->device_area, line);
	u64 end;

	if (!ns || num_online_cpus() == 1)
		return false;

	end = local_clock() + ns;
	do {
		if (READ_ONCE(*answer) == request)
			return true;
		if (READ_ONCE(*word(ring->device_area, WAKE_ME_AT)))
			return false;
		cpu_relax();
	} while (!need_resched() && !signal_pending(current) && local_clock() < end);
	return false;
}

/* The only sleeper of a vCPU's line is the thread that holds the vCPU's mutex. */
int shunt_ring_sleep(struct shunt_ring *ring, u32 vcpu, size_t line, u64 request, u32 seen,
		     u64 deadline)
{
	u64 *answer = word(ring->device_area, line);
	struct rcuwait *wait = &ring->vcpus[vcpu];
	int r = 0;

	prepare_to_rcuwait(wait);
	for (;;) {
		/* Pairs with the barrier of rcuwait_wake_up(). */
		set_current_state(TASK_INTERRUPTIBLE);
		if (READ_ONCE(*answer) == request || shunt_ring_changes(ring) != seen)
			break;
		if (signal_pending(current))
			r = -EINTR;
		else if (!shunt_time_left(deadline))
			r = -ETIMEDOUT;
		if (r)
			break;
		shunt_schedule_until(deadline);
	}
	finish_rcuwait(wait);
	return r;
}

int shunt_ring_wait_for_room(struct shunt_ring *ring, u32 seen, u64 deadline)
{
	long r;

	do {
		r = wait_event_interruptible_timeout(ring->room, shunt_ring_changes(ring) != seen,
						     shunt_time_left(deadline));
	} while (!r && shunt_time_left(deadline));

	if (r < 0)
		return -EINTR;
	return r ? 0 : -ETIMEDOUT;
}

static bool has_access(struct shunt_ring *ring)
{
	u64 consumed = READ_ONCE(*word(ring->device_area, CONSUMED_AT));
	size_t slot = ring->first_slot + (consumed & (ring->slots - 1)) * LINE;

	return smp_load_acquire(word(ring->kernel_area, slot)) == consumed + 1;
}

/* The device may have consumed something: whoever found the ring full may try again. */
static void tell_of_room(struct shunt_ring *ring)
{
	/* Hardly ever does anybody want it: that is not worth a call. */
	if (!READ_ONCE(*word(ring->kernel_area, ROOM_WANTED_AT)))
		return;
	if (!shunt_ring_stop_wanting_room(ring->kernel_area, ring->kernel_size))
		return;

	atomic_inc(&ring->changes);
	wake_up_all(&ring->room);
}

static int wait_for_access(struct shunt_ring *ring)
{
	int r;

	if (test_and_set_bit_lock(0, &ring->device_waits))
		return -EBUSY;

	prepare_to_rcuwait(&ring->device);
	for (;;) {
		r = 0;
		WRITE_ONCE(ring->device_woken, false);
		/* The look comes after both stores; pairs with wake_waiter(). */
		set_current_state(TASK_INTERRUPTIBLE);
		if (has_access(ring))
			break;
		r = -EPIPE;
		if (READ_ONCE(ring->kernel_gone))
			break;
		r = -EINTR;
		if (signal_pending(current))
			break;
		schedule();
	}
	finish_rcuwait(&ring->device);
	clear_bit_unlock(0, &ring->device_waits);
	return r;
}

static long shunt_ring_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct shunt_ring *ring = file->private_data;

	if (cmd != IOREGION_CHANNEL_WAIT && cmd != IOREGION_CHANNEL_WAKE)
		return -ENOTTY;
	if (arg != IOREGION_CHANNEL_NO_VCPU && arg >= ring->nr_vcpus)
		return -EINVAL;

	tell_of_room(ring);
	if (arg != IOREGION_CHANNEL_NO_VCPU)
		rcuwait_wake_up(&ring->vcpus[array_index_nospec(arg, ring->nr_vcpus)]);
	if (cmd == IOREGION_CHANNEL_WAKE)
		return 0;

	return wait_for_access(ring);
}

static __poll_t shunt_ring_poll(struct file *file, poll_table *table)
{
	struct shunt_ring *ring = file->private_data;

	poll_wait(file, &ring->poll, table);
	return (has_access(ring) ? EPOLLIN : 0) |
	       (READ_ONCE(ring->kernel_gone) ? EPOLLHUP : 0);
}

/* As remap_vmalloc_range(), which is for vmalloc_user() only; that is not accounted. */
static int map_area(struct vm_area_struct *vma, void *area, size_t size)
{
	unsigned long len = vma_pages(vma) << PAGE_SHIFT;
	unsigned long at;
	int r = 0;

	if (len > size)
		return -EINVAL;

	for (at = 0; !r && at < len; at += PAGE_SIZE)
		r = vm_insert_page(vma, vma->vm_start + at, vmalloc_to_page(area + at));
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	return r;
}

static int shunt_ring_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct shunt_ring *ring = file->private_data;

	if (vma->vm_pgoff == IOREGION_CHANNEL_DEVICE_AREA >> PAGE_SHIFT)
		return map_area(vma, ring->device_area, ring->device_size);
	if (vma->vm_pgoff)
		return -EINVAL;
	if (vma->vm_flags & VM_WRITE)
		return -EPERM;
	vm_flags_clear(vma, VM_MAYWRITE);
	return map_area(vma, ring->kernel_area, ring->kernel_size);
}

static int shunt_ring_release(struct inode *inode, struct file *file)
{
	struct shunt_ring *ring = file->private_data;

	WRITE_ONCE(ring->device_gone, true);
	shunt_ring_announce(ring);
	shunt_ring_put(ring);
	return 0;
}

static const struct file_operations shunt_ring_fops = {
	.owner = THIS_MODULE,
	.mmap = shunt_ring_mmap,
	.poll = shunt_ring_poll,
	.unlocked_ioctl = shunt_ring_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.release = shunt_ring_release,
};

/* A descriptor of the one file of @ring. Its release says that the device is gone. */
int shunt_ring_open(struct shunt_ring *ring)
{
	int fd;

	kref_get(&ring->refs);
	fd = anon_inode_getfd("[ioregion-channel]", &shunt_ring_fops, ring, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		shunt_ring_put(ring);
	return fd;
}

/* The ring behind a descriptor, with a reference to it, but not to the file; else NULL. */
struct shunt_ring *shunt_ring_get(int fd)
{
	struct file *file = fget(fd);
	struct shunt_ring *ring = NULL;

	if (!file)
		return NULL;
	if (file->f_op == &shunt_ring_fops) {
		ring = file->private_data;
		kref_get(&ring->refs);
	}
	fput(file);
	return ring;
}
