/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What rust/netdev needs of C: the structures of network devices and packets, and inline
 * functions of the kernel. Rust sees every structure here as opaque, but for those whose layout
 * device.c and packet.c assert.
 */
#ifndef SHUNT_NETDEV_HELPERS_H
#define SHUNT_NETDEV_HELPERS_H

#include <linux/ethtool.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/virtio_net.h>

/* A network device of ours, with a receive queue, a transmit queue and a NAPI instance per pair. */
struct shunt_netdev;

/* Addresses of a kind that there is room for. If there are more, all of the kind are let through. */
#define SHUNT_MAX_ADDRESSES 64

/* What the receiver is to let through. */
struct shunt_rx_mode {
	const u8 (*unicast)[ETH_ALEN];
	const u8 (*multicast)[ETH_ALEN];
	u32 unicast_count;
	u32 multicast_count;
	bool promiscuous;
	bool all_multicast;
};

/* Totals since the device was made. */
struct shunt_stats {
	u64 rx_packets;
	u64 rx_bytes;
	u64 rx_dropped;
	u64 rx_errors;
	u64 tx_packets;
	u64 tx_bytes;
	u64 tx_dropped;
};

/* Speed in Mbit/s and duplex, or SPEED_UNKNOWN and DUPLEX_UNKNOWN. */
struct shunt_link {
	u32 speed;
	u8 duplex;
};

/* Rust's part. @data is what shunt_netdev_register() got. */
struct shunt_netdev_ops {
	int (*open)(void *data);
	void (*start_xmit)(void *data, u32 pair, struct sk_buff *skb, bool more);
	int (*poll)(void *data, u32 pair, int budget);
	int (*set_rx_mode)(void *data, const struct shunt_rx_mode *mode);
	int (*set_mac)(void *data, const u8 *mac);
	int (*set_pairs)(void *data, u32 pairs);
	void (*timed_out)(void *data, u32 pair);
	void (*stats)(void *data, struct shunt_stats *stats);
	void (*link)(void *data, struct shunt_link *link);
	u32 (*ring_size)(void *data, bool transmit);
	/* Per pair: so many names, and as many values. */
	const u8 (*counter_names)[ETH_GSTRING_LEN];
	u32 counters;
	void (*read_counters)(void *data, u32 pair, u64 *values);
};

/* Bits of shunt_netdev_settings.offloads. */
enum shunt_offload {
	SHUNT_TX_CSUM = 1,
	SHUNT_TX_TSO4 = 2,
	SHUNT_TX_TSO6 = 4,
	SHUNT_TX_TSO_ECN = 8,
	SHUNT_RX_CSUM = 16,
	/* Not an offload: the device filters unicast addresses. */
	SHUNT_UNICAST_FILTER = 32,
};

struct shunt_netdev_settings {
	u8 mac[ETH_ALEN];
	/* Whether @mac is the device's own; otherwise a random one is taken. */
	bool has_mac;
	u32 mtu;
	u32 max_mtu;
	u32 offloads;
	/* Pairs to begin with. */
	u32 pairs;
};

struct shunt_netdev *shunt_netdev_alloc(struct device *parent,
					const struct shunt_netdev_ops *ops, u32 pairs);
void shunt_netdev_free(struct shunt_netdev *device);
int shunt_netdev_register(struct shunt_netdev *device, void *data,
			  const struct shunt_netdev_settings *settings);
void shunt_netdev_unregister(struct shunt_netdev *device);

bool shunt_netdev_lock(struct shunt_netdev *device);
void shunt_netdev_unlock(void);
void shunt_netdev_pause(struct shunt_netdev *device);
void shunt_netdev_resume(struct shunt_netdev *device);
void shunt_netdev_set_carrier(struct shunt_netdev *device, bool up);
void shunt_netdev_mac(struct shunt_netdev *device, u8 *mac);
u32 shunt_netdev_pairs(struct shunt_netdev *device);
int shunt_netdev_repeat_rx_mode(struct shunt_netdev *device);

bool shunt_napi_claim(struct shunt_netdev *device, u32 pair);
void shunt_napi_schedule(struct shunt_netdev *device, u32 pair);
bool shunt_napi_done(struct shunt_netdev *device, u32 pair, int work);

void shunt_tx_lock(struct shunt_netdev *device, u32 pair);
void shunt_tx_unlock(struct shunt_netdev *device, u32 pair);
bool shunt_tx_borrow(struct shunt_netdev *device, u32 pair);
void shunt_tx_return(struct shunt_netdev *device, u32 pair);
void shunt_tx_stop(struct shunt_netdev *device, u32 pair);
void shunt_tx_wake(struct shunt_netdev *device, u32 pair);
bool shunt_tx_is_stopped(struct shunt_netdev *device, u32 pair);

/* A piece of a packet, as the device sees it. */
struct shunt_segment {
	u64 addr;
	u32 len;
};

/* All of a packet that has fragments, as long as the device has it. */
struct shunt_packet_map {
	u32 count;
	struct shunt_segment segments[MAX_SKB_FRAGS + 1];
};

int shunt_skb_take(struct sk_buff *skb, struct device *dev, struct shunt_segment *head);
int shunt_skb_map(struct sk_buff *skb, struct device *dev, const struct shunt_segment *head,
		  struct shunt_packet_map *map);
void shunt_skb_unmap(struct sk_buff *skb, struct device *dev, const struct shunt_packet_map *map);
void shunt_skb_consume(struct sk_buff *skb, int budget);
void shunt_skb_drop(struct sk_buff *skb);

struct page_pool *shunt_pool_create(struct shunt_netdev *device, u32 pair, struct device *dev,
				    u32 pages);
void *shunt_pool_alloc(struct page_pool *pool, u32 bytes, u64 *addr);
void shunt_fragment_free(void *start);
void shunt_fragment_receive(void *start, u32 offset, u32 len);

struct sk_buff *shunt_skb_build(void *start, u32 room, u32 offset, u32 len);
bool shunt_skb_append(struct sk_buff *skb, void *start, u32 room, u32 offset, u32 len);
bool shunt_skb_receive(struct shunt_netdev *device, u32 pair, struct sk_buff *skb,
		       const struct virtio_net_hdr *header);
u32 shunt_skb_room(u32 bytes);

#endif
