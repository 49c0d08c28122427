// SPDX-License-Identifier: GPL-2.0-only
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kvm_host.h>
#include <linux/math64.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/wait.h>
#include <net/sock.h>
#include <asm/tsc.h>

#include "deadline.h"
#include "helpers.h"

/* rust/kvm_ext/src/ffi.rs asserts the same numbers. */
static_assert(sizeof(struct kvm_ext_io) == 32);
static_assert(offsetof(struct kvm_ext_io, data) == 8);
static_assert(offsetof(struct kvm_ext_io, size) == 16);
static_assert(offsetof(struct kvm_ext_io, count) == 20);
static_assert(offsetof(struct kvm_ext_io, is_pio) == 24);
static_assert(offsetof(struct kvm_ext_io, is_write) == 25);
static_assert(offsetof(struct kvm_ext_io, resumed) == 26);
static_assert(sizeof(struct kvm_ext_ops) == 72);
static_assert(offsetof(struct kvm_ext_ops, check_extension) == 8);
static_assert(offsetof(struct kvm_ext_ops, owns_ioctl) == 16);
static_assert(offsetof(struct kvm_ext_ops, vm_create) == 24);
static_assert(offsetof(struct kvm_ext_ops, vm_ioctl) == 32);
static_assert(offsetof(struct kvm_ext_ops, vm_destroy) == 40);
static_assert(offsetof(struct kvm_ext_ops, vcpu_try_io) == 48);
static_assert(offsetof(struct kvm_ext_ops, vcpu_io) == 56);
static_assert(offsetof(struct kvm_ext_ops, vcpu_destroy) == 64);

static_assert(sizeof(struct shunt_vcpu) == 24);
static_assert(offsetof(struct shunt_vcpu, vm_data) == 8);
static_assert(offsetof(struct shunt_vcpu, index) == 16);

/* The part of kvm_run's union that describes an I/O exit, and what follows it. */
#define EXIT_TAIL_OFFSET	(offsetof(struct kvm_run, mmio) + 32)
static_assert(offsetof(struct kvm_run, mmio) == offsetof(struct kvm_run, io));
static_assert(sizeof_field(struct kvm_run, mmio) <= 32 && sizeof_field(struct kvm_run, io) <= 32);

void *shunt_vm_data(struct kvm *kvm)
{
	return kvm->ext.data;
}

void shunt_set_vm_data(struct kvm *kvm, void *data)
{
	kvm->ext.data = data;
}

void *shunt_vcpu_data(struct kvm_vcpu *vcpu)
{
	return vcpu->ext.data;
}

void shunt_set_vcpu_data(struct kvm_vcpu *vcpu, void *data)
{
	vcpu->ext.data = data;
}

struct shunt_vcpu shunt_vcpu(struct kvm_vcpu *vcpu)
{
	return (struct shunt_vcpu) {
		.kvm = vcpu->kvm,
		.vm_data = vcpu->kvm->ext.data,
		.index = vcpu->vcpu_idx,
	};
}

/* Wait for whoever reads with kvm->srcu held, as KVM does after a change of its I/O buses. */
void shunt_synchronize(struct kvm *kvm)
{
	synchronize_srcu_expedited(&kvm->srcu);
}

/* Turn the I/O exit that kvm_run describes into @reason, with @tail behind the description. */
void shunt_describe_exit(struct kvm_vcpu *vcpu, u32 reason, const void *tail, size_t len)
{
	size_t room = offsetof(struct kvm_run, kvm_valid_regs) - EXIT_TAIL_OFFSET;

	memcpy((void *)vcpu->run + EXIT_TAIL_OFFSET, tail, min(len, room));
	vcpu->run->exit_reason = reason;
}

/*
 * Whether @file can carry frames: open for the direction, a pipe or a socket,
 * and without O_NONBLOCK, since a full or an empty one is no error here.
 */
int shunt_file_check(struct file *file, bool write)
{
	if (!(file->f_mode & (write ? FMODE_WRITE : FMODE_READ)))
		return -EBADF;
	if (!(write ? file->f_op->write_iter : file->f_op->read_iter))
		return -EINVAL;
	if (!(file->f_mode & FMODE_STREAM) || !file_can_poll(file))
		return -EINVAL;
	if (file->f_flags & O_NONBLOCK)
		return -EINVAL;
	return 0;
}

bool shunt_file_keeps_messages(struct file *file)
{
	struct socket *sock = sock_from_file(file);

	return sock && sock->type != SOCK_STREAM;
}

/*
 * __uninitialized here and below: kernels that clear automatic variables would
 * spend more on that than on the rest of the function, and each is initialised
 * in full by its own function.
 */

/* Never sleeps for data: -EAGAIN. */
ssize_t shunt_file_read(struct file *file, void *buf, size_t len)
{
	struct kvec vec = { .iov_base = buf, .iov_len = len };
	struct iov_iter iter __uninitialized;
	struct kiocb iocb __uninitialized;

	init_sync_kiocb(&iocb, file);
	iocb.ki_flags |= IOCB_NOWAIT;
	iov_iter_kvec(&iter, ITER_DEST, &vec, 1, len);
	return vfs_iocb_iter_read(file, &iocb, &iter);
}

/* Never sleeps for room: -EAGAIN. Never raises SIGPIPE in the vCPU thread. */
ssize_t shunt_file_write(struct file *file, const void *buf, size_t len)
{
	struct kvec vec = { .iov_base = (void *)buf, .iov_len = len };
	struct iov_iter iter __uninitialized;
	struct kiocb iocb __uninitialized;

	init_sync_kiocb(&iocb, file);
	iocb.ki_flags |= IOCB_NOWAIT | IOCB_NOSIGNAL;
	iov_iter_kvec(&iter, ITER_SOURCE, &vec, 1, len);
	return vfs_iocb_iter_write(file, &iocb, &iter);
}

/* Data, an end of file or an error is there to be read. */
bool shunt_file_readable(struct file *file)
{
	return vfs_poll(file, NULL) & (EPOLLIN | EPOLLHUP | EPOLLERR);
}

/* A count that only grows, and whoever waits for it to. */
struct shunt_changes {
	wait_queue_head_t waiters;
	u32 count;
};

struct shunt_changes *shunt_changes_alloc(void)
{
	struct shunt_changes *changes = kzalloc(sizeof(*changes), GFP_KERNEL_ACCOUNT);

	if (changes)
		init_waitqueue_head(&changes->waiters);
	return changes;
}

void shunt_changes_free(struct shunt_changes *changes)
{
	kfree(changes);
}

u32 shunt_changes_count(const struct shunt_changes *changes)
{
	return READ_ONCE(changes->count);
}

/* Callers exclude each other. */
void shunt_changes_announce(struct shunt_changes *changes)
{
	WRITE_ONCE(changes->count, changes->count + 1);
	/* Pairs with the barrier of poll_wait() in shunt_wait(). */
	if (wq_has_sleeper(&changes->waiters))
		wake_up_all(&changes->waiters);
}

u64 shunt_deadline(u32 ms)
{
	return ktime_get_ns() + ms * (u64)NSEC_PER_MSEC;
}

/* Cycles of the time-stamp counter. */
u64 shunt_cycles_to_ns(u64 cycles)
{
	return mul_u64_u32_div(cycles, USEC_PER_SEC, max(tsc_khz, 1));
}

bool shunt_is_over(u64 deadline)
{
	return !shunt_time_left(deadline);
}

/*
 * Sleep until the count is no longer @seen, or @file is ready, or a signal
 * comes (-EINTR), or the deadline (-ETIMEDOUT).
 *
 * This is what poll() does for two files. A wake-up between the look and the
 * sleep is not lost: it sets table.triggered, which is cleared before the look.
 */
int shunt_wait(struct shunt_changes *changes, u32 seen, struct file *file, bool write,
	       u64 deadline)
{
	__poll_t events = (write ? EPOLLOUT : EPOLLIN) | EPOLLERR | EPOLLHUP;
	struct poll_wqueues table __uninitialized;
	__poll_t ready;
	int r = 0;

	poll_initwait(&table);
	table.pt._key = events;
	poll_wait(file, &changes->waiters, &table.pt);
	ready = vfs_poll(file, &table.pt);
	table.pt._qproc = NULL;

	while (!(ready & events) && shunt_changes_count(changes) == seen && !table.error) {
		long left = shunt_time_left(deadline);

		set_current_state(TASK_INTERRUPTIBLE);
		if (signal_pending(current)) {
			r = -EINTR;
			break;
		}
		if (!left) {
			r = -ETIMEDOUT;
			break;
		}
		if (!READ_ONCE(table.triggered))
			schedule_timeout(left);
		__set_current_state(TASK_RUNNING);
		smp_store_mb(table.triggered, 0);
		ready = vfs_poll(file, &table.pt);
	}
	__set_current_state(TASK_RUNNING);

	if (!r)
		r = table.error;
	poll_freewait(&table);
	return r;
}
