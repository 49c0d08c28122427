// SPDX-License-Identifier: GPL-2.0-only
#include <linux/gfp.h>
#include <linux/io.h>

#include "helpers.h"

/* Zeroed pages that follow each other in physical memory; NULL if there are none. */
void *shunt_pages_alloc(size_t bytes)
{
	return alloc_pages_exact(bytes, GFP_KERNEL | __GFP_ZERO);
}

void shunt_pages_free(void *start, size_t bytes)
{
	free_pages_exact(start, bytes);
}

u64 shunt_pages_address(void *start)
{
	return virt_to_phys(start);
}
