// SPDX-License-Identifier: GPL-2.0-only
#include <linux/blk-mq-dma.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/idr.h>
#include <linux/module.h>

#include "helpers.h"

/* What ../src repeats. */
static_assert(sizeof(struct shunt_segment) == 16);
static_assert(offsetof(struct shunt_mapping, segments) == 32);
static_assert(offsetof(struct shunt_mapping, room) == 16);
static_assert(offsetof(struct shunt_mapping, mapped) == 20);
static_assert(offsetof(struct shunt_mapping, count) == 24);
static_assert((__force u8)BLK_STS_OK == 0);
static_assert((__force u8)BLK_STS_NOTSUPP == 1);
static_assert((__force u8)BLK_STS_RESOURCE == 9);
static_assert((__force u8)BLK_STS_IOERR == 10);
static_assert((__force u8)BLK_STS_DEV_RESOURCE == 13);
static_assert((__force u32)BLK_FEAT_WRITE_CACHE == 1 << 0);

/* Adds memory to the last segment if it follows it, as the block layer has counted. */
static bool shunt_extend(struct shunt_mapping *mapping, phys_addr_t addr, u32 len, u32 most)
{
	struct shunt_segment *last = &mapping->segments[mapping->mapped];

	if (!mapping->mapped)
		return false;
	if (last->addr + last->len != addr || len > most - last->len)
		return false;
	last->len += len;
	return true;
}

/* Adds a segment, behind the driver's first one. */
static bool shunt_add(struct shunt_mapping *mapping, u64 addr, u32 len)
{
	if (mapping->mapped == mapping->room)
		return false;
	mapping->segments[++mapping->mapped] = (struct shunt_segment){ addr, len };
	return true;
}

/* Most requests are one piece, which needs no loop. */
static bool shunt_map_one(struct request *rq, struct shunt_mapping *mapping)
{
	const struct bio *bio = rq->bio;
	struct bio_vec bv;

	if (!bio)
		return false;
	bv = mp_bvec_iter_bvec(bio->bi_io_vec, bio->bi_iter);
	if (bv.bv_len != rq->__data_len || bv.bv_len > queue_max_segment_size(rq->q))
		return false;
	return shunt_add(mapping, bvec_phys(&bv), bv.bv_len);
}

/* For a device that sees memory as this CPU does. */
static noinline int shunt_map_all(struct request *rq, struct shunt_mapping *mapping)
{
	u32 most = queue_max_segment_size(rq->q);
	struct req_iterator iter;
	struct bio_vec bv;

	rq_for_each_bvec(bv, rq, iter) {
		phys_addr_t addr = bvec_phys(&bv);
		u32 rest = bv.bv_len;

		while (rest && !shunt_extend(mapping, addr, rest, most)) {
			u32 len = min(rest, most);

			if (!shunt_add(mapping, addr, len))
				return -EIO;
			addr += len;
			rest -= len;
		}
	}
	return 0;
}

static noinline int shunt_map_dma(struct request *rq, struct device *dev,
				  struct shunt_mapping *mapping)
{
	struct blk_dma_iter iter;

	if (!blk_rq_dma_map_iter_start(rq, dev, &mapping->iova, &iter))
		return blk_status_to_errno(iter.status);
	mapping->bytes = blk_rq_payload_bytes(rq);
	do {
		if (!shunt_add(mapping, iter.addr, iter.len)) {
			/* One too many, which is in no table yet. */
			dma_unmap_phys(dev, iter.addr, iter.len, rq_dma_dir(rq), 0);
			iter.status = BLK_STS_IOERR;
			break;
		}
	} while (!blk_rq_dma_map_coalesce(&mapping->iova) &&
		 blk_rq_dma_map_iter_next(rq, dev, &iter));
	if (iter.status)
		shunt_request_unmap(rq, dev, mapping);
	return blk_status_to_errno(iter.status);
}

/*
 * Writes where the data of @rq is: for @dev, or if that is NULL, physical addresses. What fails
 * leaves nothing mapped.
 */
int shunt_request_map(struct request *rq, struct device *dev, struct shunt_mapping *mapping)
{
	mapping->mapped = 0;
	if (dev)
		return shunt_map_dma(rq, dev, mapping);
	return shunt_map_one(rq, mapping) ? 0 : shunt_map_all(rq, mapping);
}

void shunt_request_unmap(struct request *rq, struct device *dev, struct shunt_mapping *mapping)
{
	struct shunt_segment *segment = &mapping->segments[1];

	if (!dev || !mapping->mapped)
		return;
	if (!blk_rq_dma_unmap(rq, dev, &mapping->iova, mapping->bytes, PCI_P2PDMA_MAP_NONE))
		for (; mapping->mapped; mapping->mapped--, segment++)
			dma_unmap_phys(dev, segment->addr, segment->len, rq_dma_dir(rq), 0);
	mapping->mapped = 0;
}

/* Fills @buffer by a request of the driver's own, which knows what for. */
static int shunt_disk_read(struct gendisk *disk, void *buffer, u32 len)
{
	struct request *rq = blk_mq_alloc_request(disk->queue, REQ_OP_DRV_IN, 0);
	int err;

	if (IS_ERR(rq))
		return PTR_ERR(rq);
	err = blk_rq_map_kern(rq, buffer, len, GFP_KERNEL);
	if (!err)
		err = blk_status_to_errno(blk_execute_rq(rq, false));
	blk_mq_free_request(rq);
	return err;
}

/* /sys/block/<disk>/serial, as virtio_blk has it; the string need not end with a zero. */
static ssize_t serial_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	int err = shunt_disk_read(dev_to_disk(dev), buf, SHUNT_SERIAL);

	return err ? err : strnlen(buf, SHUNT_SERIAL);
}

static DEVICE_ATTR_RO(serial);

static struct attribute *shunt_attrs[] = {
	&dev_attr_serial.attr,
	NULL,
};

ATTRIBUTE_GROUPS(shunt);

/* Lets user space see @disk, as a child of @parent. */
int shunt_disk_add(struct gendisk *disk, struct device *parent)
{
	return device_add_disk(parent, disk, shunt_groups);
}

static DEFINE_IDA(shunt_indices);

/* The lowest number that no disk of this module has. */
int shunt_disk_index(void)
{
	return ida_alloc(&shunt_indices, GFP_KERNEL);
}

void shunt_disk_index_free(int index)
{
	ida_free(&shunt_indices, index);
}

/* An open disk holds the module: the table is in it. */
static const struct block_device_operations shunt_operations = {
	.owner = THIS_MODULE,
};

const struct block_device_operations *shunt_disk_operations(void)
{
	return &shunt_operations;
}
