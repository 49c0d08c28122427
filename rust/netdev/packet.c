// SPDX-License-Identifier: GPL-2.0-only
#include <linux/dma-mapping.h>
#include <net/page_pool/helpers.h>
#include <net/sock.h>

#include "device.h"
#include "helpers.h"

/* rust/netdev/src/ffi.rs asserts the same numbers. */
static_assert(sizeof(struct shunt_segment) == 16);
static_assert(offsetof(struct shunt_segment, len) == 8);
static_assert(offsetof(struct shunt_packet_map, segments) == 8);
static_assert(sizeof(struct virtio_net_hdr) == 10);
static_assert(sizeof(struct virtio_net_hdr_v1) == 12);

static int map_page(struct device *dev, struct page *page, u32 offset, u32 len,
		    struct shunt_segment *segment)
{
	segment->len = len;
	if (!dev) {
		segment->addr = page_to_phys(page) + offset;
		return 0;
	}
	segment->addr = dma_map_page(dev, page, offset, len, DMA_TO_DEVICE);
	return dma_mapping_error(dev, segment->addr);
}

/* Where the head of a packet is mapped: the control block is ours while we have the packet. */
static dma_addr_t *head_addr(struct sk_buff *skb)
{
	return (dma_addr_t *)skb->cb;
}

static int map_head(struct sk_buff *skb, struct device *dev, struct shunt_segment *head)
{
	head->len = skb_headlen(skb);
	if (!dev) {
		head->addr = virt_to_phys(skb->data);
		return 0;
	}
	head->addr = dma_map_single(dev, skb->data, head->len, DMA_TO_DEVICE);
	*head_addr(skb) = head->addr;
	return dma_mapping_error(dev, head->addr);
}

/*
 * Make the packet one that can wait for long: the ring is looked at when there is something to
 * send or to receive, and its sender must not wait for that. TCP's data do wait, as TCP collects in
 * the meantime what it sends next (tcp_small_queue_check()): then it is 1, otherwise 0. Describe
 * before its data what the device is to do with it, and map all but its fragments: with @dev, for
 * it; without, the device uses physical addresses.
 */
int shunt_skb_take(struct sk_buff *skb, struct device *dev, struct shunt_segment *head)
{
	bool is_awaited = skb->destructor == tcp_wfree;
	struct virtio_net_hdr_v1 *header;
	int r = skb_orphan_frags(skb, GFP_ATOMIC);

	/* There is room, and it is the packet's own, unless somebody watches or has copies. */
	if (!r)
		r = skb_cow_head(skb, sizeof(*header));
	if (r)
		return r;
	/* Data may begin anywhere; x86 does not mind. */
	header = (void *)(skb->data - sizeof(*header));
	header->num_buffers = 0;
	r = virtio_net_hdr_from_skb(skb, (struct virtio_net_hdr *)header, true, false, 0);
	if (r)
		return r;
	skb_tx_timestamp(skb);
	if (!is_awaited)
		skb_orphan(skb);
	nf_reset_ct(skb);
	__skb_push(skb, sizeof(*header));
	r = map_head(skb, dev, head);
	return r ? r : is_awaited;
}

static void unmap_fragments(struct device *dev, const struct shunt_packet_map *map)
{
	u32 i;

	for (i = 1; dev && i < map->count; i++)
		dma_unmap_page(dev, map->segments[i].addr, map->segments[i].len, DMA_TO_DEVICE);
}

/* Map the fragments of a packet that was taken, behind its @head. */
int shunt_skb_map(struct sk_buff *skb, struct device *dev, const struct shunt_segment *head,
		  struct shunt_packet_map *map)
{
	struct skb_shared_info *info = skb_shinfo(skb);
	int i, r;

	map->segments[0] = *head;
	map->count = 1;
	for (i = 0; i < info->nr_frags; i++) {
		const skb_frag_t *frag = &info->frags[i];

		r = map_page(dev, skb_frag_page(frag), skb_frag_off(frag), skb_frag_size(frag),
			     &map->segments[map->count]);
		if (r) {
			unmap_fragments(dev, map);
			map->count = 0;
			return r;
		}
		map->count++;
	}
	return 0;
}

/* What was mapped for @dev. Without fragments, @map is NULL. */
void shunt_skb_unmap(struct sk_buff *skb, struct device *dev, const struct shunt_packet_map *map)
{
	dma_unmap_single(dev, *head_addr(skb), skb_headlen(skb), DMA_TO_DEVICE);
	if (map)
		unmap_fragments(dev, map);
}

/* @budget is 0 outside of NAPI. */
void shunt_skb_consume(struct sk_buff *skb, int budget)
{
	napi_consume_skb(skb, budget);
}

void shunt_skb_drop(struct sk_buff *skb)
{
	dev_kfree_skb_any(skb);
}

/* With @dev, pages stay mapped for it as long as they are in the pool. */
struct page_pool *shunt_pool_create(struct shunt_netdev *device, u32 pair, struct device *dev,
				    u32 pages)
{
	struct page_pool_params params = {
		.pool_size = pages,
		.nid = NUMA_NO_NODE,
		.dev = dev,
		.napi = &device->pair[pair].napi,
		.netdev = device->dev,
		.dma_dir = DMA_FROM_DEVICE,
		.max_len = PAGE_SIZE,
		.flags = dev ? PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV : 0,
	};
	struct page_pool *pool = page_pool_create(&params);

	return IS_ERR(pool) ? NULL : pool;
}

/* A fragment of a page, of exactly @bytes if those divide the page. */
void *shunt_pool_alloc(struct page_pool *pool, u32 bytes, u64 *addr)
{
	u32 offset, size = bytes;
	struct page *page = page_pool_dev_alloc(pool, &offset, &size);

	if (!page)
		return NULL;
	*addr = pool->p.dev ? page_pool_get_dma_addr(page) + offset : page_to_phys(page) + offset;
	return page_address(page) + offset;
}

void shunt_fragment_free(void *start)
{
	struct page *page = virt_to_head_page(start);

	page_pool_put_full_page(pp_page_to_nmdesc(page)->pp, page, false);
}

/* The CPU is to see what the device wrote there, @len bytes from @offset on. */
void shunt_fragment_receive(void *start, u32 offset, u32 len)
{
	struct page *page = virt_to_head_page(start);
	struct page_pool *pool = pp_page_to_nmdesc(page)->pp;

	if (pool->p.dev)
		page_pool_dma_sync_for_cpu(pool, page, offset_in_page(start) + offset, len);
}

/* How much of a fragment of so many bytes can be the data of an skb that is built on it. */
u32 shunt_skb_room(u32 bytes)
{
	return SKB_WITH_OVERHEAD(bytes);
}

/* NULL if there is no memory; else the fragment is the skb's. */
struct sk_buff *shunt_skb_build(void *start, u32 room, u32 offset, u32 len)
{
	struct sk_buff *skb = napi_build_skb(start, room);

	if (!skb)
		return NULL;
	skb_reserve(skb, offset);
	__skb_put(skb, len);
	skb_mark_for_recycle(skb);
	return skb;
}

/* False if the skb has no room for more; else the fragment is the skb's. */
bool shunt_skb_append(struct sk_buff *skb, void *start, u32 room, u32 offset, u32 len)
{
	u32 index = skb_shinfo(skb)->nr_frags;

	if (index == MAX_SKB_FRAGS)
		return false;
	skb_add_rx_frag(skb, index, virt_to_head_page(start), offset_in_page(start) + offset, len,
			room);
	return true;
}

/*
 * Hand a packet up, from NAPI. False, and the packet is gone, if @header, a copy of what the
 * device wrote, contradicts the packet.
 */
bool shunt_skb_receive(struct shunt_netdev *device, u32 pair, struct sk_buff *skb,
		       const struct virtio_net_hdr *header)
{
	if (header->flags & VIRTIO_NET_HDR_F_DATA_VALID)
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	if ((header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ||
	     header->gso_type != VIRTIO_NET_HDR_GSO_NONE) &&
	    virtio_net_hdr_to_skb(skb, header, true)) {
		dev_kfree_skb_any(skb);
		return false;
	}
	skb_record_rx_queue(skb, pair);
	skb->protocol = eth_type_trans(skb, device->dev);
	napi_gro_receive(&device->pair[pair].napi, skb);
	return true;
}
