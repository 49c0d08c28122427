// SPDX-License-Identifier: GPL-2.0-only
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/irq.h>

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

/* Whether @irq comes as long as its line is raised, and not only when that begins. */
bool shunt_irq_is_level(unsigned int irq)
{
	struct irq_data *data = irq_get_irq_data(irq);

	return data && irqd_is_level_type(data);
}
