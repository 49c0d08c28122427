/* SPDX-License-Identifier: GPL-2.0-only */

/* A driver that keeps a virtqueue of the kernel's busy. What src/c_ring.rs calls. */

#include <stdbool.h>
#include <stdint.h>

struct driver;

/* A virtqueue of so many descriptors, with buffers of segments of these lengths, of which the
 * device reads the first one. NULL if there is no memory. It is not freed. */
struct driver *driver_new(uint16_t size, uint64_t features, const uint32_t lengths[3]);

/* Where the descriptors, the driver's and the device's area are. */
void driver_areas(const struct driver *driver, void *areas[3]);

/* Adds buffers and publishes them. Whether all fitted in. */
bool driver_offer(struct driver *driver, unsigned int count);

/* Takes buffers back, as many as are there, at most so many: their number. */
unsigned int driver_collect(struct driver *driver, unsigned int count);
