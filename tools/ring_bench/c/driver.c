// SPDX-License-Identifier: GPL-2.0-only

#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <linux/scatterlist.h>

#include "driver.h"

#define SEGMENTS 3

struct driver {
	struct virtio_device device;
	struct virtqueue *queue;
	struct scatterlist segments[SEGMENTS];
	struct scatterlist *lists[SEGMENTS];
};

/* Never set: the headers' allocator takes it for a wish. */
void *__kmalloc_fake, *__kfree_ignore_start, *__kfree_ignore_end;

static bool notify(struct virtqueue *queue)
{
	return true;
}

static void callback(struct virtqueue *queue)
{
}

struct driver *driver_new(uint16_t size, uint64_t features, const uint32_t lengths[SEGMENTS])
{
	struct driver *driver = kzalloc(sizeof(*driver), GFP_KERNEL);
	int i;

	if (!driver)
		return NULL;
	driver->device.features = features;
	INIT_LIST_HEAD(&driver->device.vqs);
	spin_lock_init(&driver->device.vqs_list_lock);
	driver->queue = vring_create_virtqueue(0, size, 64, &driver->device, true, false, false,
					       notify, callback, "ring_bench");
	if (!driver->queue)
		return NULL;
	for (i = 0; i < SEGMENTS; i++) {
		void *memory = aligned_alloc(PAGE_SIZE, PAGE_ALIGN(lengths[i]));

		if (!memory)
			return NULL;
		sg_init_one(&driver->segments[i], memory, lengths[i]);
		driver->lists[i] = &driver->segments[i];
	}
	virtqueue_disable_cb(driver->queue);
	return driver;
}

void driver_areas(const struct driver *driver, void *areas[3])
{
	areas[0] = phys_to_virt(virtqueue_get_desc_addr(driver->queue));
	areas[1] = phys_to_virt(virtqueue_get_avail_addr(driver->queue));
	areas[2] = phys_to_virt(virtqueue_get_used_addr(driver->queue));
}

bool driver_offer(struct driver *driver, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (virtqueue_add_sgs(driver->queue, driver->lists, 1, SEGMENTS - 1, driver,
				      GFP_ATOMIC))
			return false;
	/* The device polls. */
	virtqueue_kick_prepare(driver->queue);
	return true;
}

unsigned int driver_collect(struct driver *driver, unsigned int count)
{
	unsigned int length, i;

	for (i = 0; i < count; i++)
		if (!virtqueue_get_buf(driver->queue, &length))
			break;
	return i;
}
