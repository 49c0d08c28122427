/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's part of a channel in shared memory that is not the ring itself:
 * the two areas, the file that a device process maps them from, and who sleeps
 * on them. rust/ioregion_ring says what is in the areas.
 */
#ifndef SHUNT_SHARED_RING_H
#define SHUNT_SHARED_RING_H

#include <linux/types.h>

struct shunt_ring;

struct shunt_ring *shunt_ring_alloc(size_t kernel_size, size_t device_size, u32 slots,
				    size_t first_slot, u32 vcpus);
void shunt_ring_put(struct shunt_ring *ring);
int shunt_ring_open(struct shunt_ring *ring);
struct shunt_ring *shunt_ring_get(int fd);

void *shunt_ring_kernel_area(struct shunt_ring *ring);
void *shunt_ring_device_area(struct shunt_ring *ring);
const bool *shunt_ring_device_is_gone(struct shunt_ring *ring);
void shunt_ring_close(struct shunt_ring *ring);

u32 shunt_ring_changes(struct shunt_ring *ring);
void shunt_ring_announce(struct shunt_ring *ring);
void shunt_ring_wake_device(struct shunt_ring *ring);
bool shunt_ring_spin(struct shunt_ring *ring, size_t line, u64 request, u64 ns);
int shunt_ring_sleep(struct shunt_ring *ring, u32 vcpu, size_t line, u64 request, u32 seen,
		     u64 deadline);
int shunt_ring_wait_for_room(struct shunt_ring *ring, u32 seen, u64 deadline);

/* In src/shared_ring.rs. */
bool shunt_ring_stop_wanting_room(u64 *kernel_area, size_t size);

#endif
