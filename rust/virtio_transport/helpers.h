/* SPDX-License-Identifier: GPL-2.0-only */
/* What rust/virtio_transport needs of C: macros and inline functions. */
#ifndef SHUNT_VIRTIO_TRANSPORT_HELPERS_H
#define SHUNT_VIRTIO_TRANSPORT_HELPERS_H

#include <linux/types.h>

void *shunt_pages_alloc(size_t bytes);
void shunt_pages_free(void *start, size_t bytes);
u64 shunt_pages_address(void *start);

bool shunt_irq_is_level(unsigned int irq);

#endif
