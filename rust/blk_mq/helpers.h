/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What rust/blk_mq needs of C: inline functions and macros of the block layer, and a table of
 * functions that holds this module. helpers.c asserts what Rust repeats of this.
 */
#ifndef SHUNT_BLK_MQ_HELPERS_H
#define SHUNT_BLK_MQ_HELPERS_H

#include <linux/dma-mapping.h>
#include <linux/types.h>

struct block_device_operations;
struct device;
struct gendisk;
struct request;

/* A piece of memory in one request, as the device sees it. */
struct shunt_segment {
	u64 addr;
	u32 len;
	u32 unused;
};

/*
 * Where a request is, as long as the device has it: first and last a segment of the driver's own,
 * and between them @count segments. Of these, @mapped are the request's data, or none is.
 */
struct shunt_mapping {
	struct dma_iova_state iova;
	u32 room;
	u32 mapped;
	u32 count;
	u32 bytes;
	struct shunt_segment segments[];
};

int shunt_request_map(struct request *rq, struct device *dev, struct shunt_mapping *mapping);
void shunt_request_unmap(struct request *rq, struct device *dev, struct shunt_mapping *mapping);

/* Bytes of a serial number. */
#define SHUNT_SERIAL 20

int shunt_disk_add(struct gendisk *disk, struct device *parent);

int shunt_disk_index(void);
void shunt_disk_index_free(int index);

const struct block_device_operations *shunt_disk_operations(void);

#endif
