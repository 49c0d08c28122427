// SPDX-License-Identifier: GPL-2.0-only
#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/eventfd.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "registers.h"

struct shunt_registers {
	struct mm_struct *mm;
	void *start;
	int nr_pages;
	struct page *pages[] __counted_by(nr_pages);
};

static int map_pinned(struct shunt_registers *registers)
{
	int r;

	r = account_locked_vm(registers->mm, registers->nr_pages, true);
	if (r)
		return r;

	registers->start = vmap(registers->pages, registers->nr_pages, VM_MAP, PAGE_KERNEL);
	if (registers->start)
		return 0;

	account_locked_vm(registers->mm, registers->nr_pages, false);
	return -ENOMEM;
}

/*
 * Pin and map the @size bytes of the caller's memory from @addr on, which is
 * at a page boundary. They count against RLIMIT_MEMLOCK.
 */
int shunt_registers_pin(u64 addr, size_t size, struct shunt_registers **result)
{
	int r, nr_pages = DIV_ROUND_UP(size, PAGE_SIZE);
	struct shunt_registers *registers;

	registers = kzalloc(struct_size(registers, pages, nr_pages), GFP_KERNEL_ACCOUNT);
	if (!registers)
		return -ENOMEM;

	registers->nr_pages = nr_pages;
	r = pin_user_pages_fast(addr, nr_pages, FOLL_WRITE | FOLL_LONGTERM, registers->pages);
	if (r != nr_pages) {
		if (r > 0)
			unpin_user_pages(registers->pages, r);
		kfree(registers);
		return r == -ENOMEM ? r : -EFAULT;
	}

	registers->mm = current->mm;
	r = map_pinned(registers);
	if (r) {
		unpin_user_pages(registers->pages, nr_pages);
		kfree(registers);
		return r;
	}

	mmgrab(registers->mm);
	*result = registers;
	return 0;
}

void shunt_registers_unpin(struct shunt_registers *registers)
{
	vunmap(registers->start);
	unpin_user_pages_dirty_lock(registers->pages, registers->nr_pages, true);
	account_locked_vm(registers->mm, registers->nr_pages, false);
	mmdrop(registers->mm);
	kfree(registers);
}

void *shunt_registers_start(struct shunt_registers *registers)
{
	return registers->start;
}

/* @at is a multiple of @size, which is 1, 2, 4 or 8, in these three. */
u64 shunt_register_load(const void *at, u32 size)
{
	switch (size) {
	case 1:
		return READ_ONCE(*(const u8 *)at);
	case 2:
		return READ_ONCE(*(const u16 *)at);
	case 4:
		return READ_ONCE(*(const u32 *)at);
	default:
		return READ_ONCE(*(const u64 *)at);
	}
}

void shunt_register_store(void *at, u32 size, u64 value)
{
	switch (size) {
	case 1:
		WRITE_ONCE(*(u8 *)at, value);
		break;
	case 2:
		WRITE_ONCE(*(u16 *)at, value);
		break;
	case 4:
		WRITE_ONCE(*(u32 *)at, value);
		break;
	default:
		WRITE_ONCE(*(u64 *)at, value);
	}
}

/*
 * Atomic against a device process that sets bits, and fully ordered. Bits of
 * less than a word are cleared in their word, which is little-endian.
 */
void shunt_register_clear(void *at, u32 size, u64 bits)
{
	unsigned long in_word = (unsigned long)at & 3;

	if (size == 8)
		atomic64_fetch_andnot(bits, (atomic64_t *)at);
	else
		atomic_fetch_andnot(bits << (8 * in_word), (atomic_t *)(at - in_word));
}

struct eventfd_ctx *shunt_eventfd_get(int fd, int *error)
{
	struct eventfd_ctx *eventfd = eventfd_ctx_fdget(fd);

	if (!IS_ERR(eventfd))
		return eventfd;
	*error = PTR_ERR(eventfd);
	return NULL;
}

void shunt_eventfd_put(struct eventfd_ctx *eventfd)
{
	eventfd_ctx_put(eventfd);
}

void shunt_eventfd_signal(struct eventfd_ctx *eventfd)
{
	eventfd_signal(eventfd);
}
