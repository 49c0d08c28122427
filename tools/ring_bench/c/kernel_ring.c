// SPDX-License-Identifier: GPL-2.0-only

/*
 * The kernel's virtqueues, in a process. A file of its own, so that the compiler does not adapt
 * them to their only user.
 */

#include <linux/kernel.h>

/* As the kernel's allocator gives them: from a page boundary on, and cleared. */
static void *pages(size_t bytes, gfp_t flags)
{
	void *start = aligned_alloc(PAGE_SIZE, bytes);

	return start ? memset(start, 0, bytes) : NULL;
}

#define alloc_pages_exact pages

#include "drivers/virtio/virtio_ring.c"
