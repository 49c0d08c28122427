// SPDX-License-Identifier: GPL-2.0-only
#include <linux/rtnetlink.h>

#include "device.h"
#include "helpers.h"

/* rust/netdev/src/ffi.rs asserts the same numbers. */
static_assert(sizeof(struct shunt_rx_mode) == 32);
static_assert(offsetof(struct shunt_rx_mode, unicast_count) == 16);
static_assert(offsetof(struct shunt_rx_mode, promiscuous) == 24);
static_assert(sizeof(struct shunt_stats) == 56);
static_assert(sizeof(struct shunt_link) == 8);
static_assert(sizeof(struct shunt_netdev_ops) == 104);
static_assert(offsetof(struct shunt_netdev_ops, poll) == 16);
static_assert(offsetof(struct shunt_netdev_ops, counter_names) == 80);
static_assert(offsetof(struct shunt_netdev_ops, read_counters) == 96);
static_assert(sizeof(struct shunt_netdev_settings) == 24);
static_assert(offsetof(struct shunt_netdev_settings, mtu) == 8);

/* All of them: those that are not in use have empty rings. */
static void enable_napi(struct shunt_netdev *device)
{
	u32 i;

	for (i = 0; i < device->pairs; i++) {
		napi_enable(&device->pair[i].napi);
		/* The device may have used buffers for which no interrupt comes any more. */
		local_bh_disable();
		napi_schedule(&device->pair[i].napi);
		local_bh_enable();
	}
}

static void disable_napi(struct shunt_netdev *device)
{
	u32 i;

	for (i = 0; i < device->pairs; i++)
		napi_disable(&device->pair[i].napi);
}

static int shunt_open(struct net_device *dev)
{
	struct shunt_netdev *device = netdev_priv(dev);
	int r = device->ops->open(device->data);

	if (r)
		return r;
	enable_napi(device);
	netif_tx_start_all_queues(dev);
	return 0;
}

static int shunt_stop(struct net_device *dev)
{
	struct shunt_netdev *device = netdev_priv(dev);

	/* First NAPI, which wakes queues that have room again. */
	if (!device->is_paused)
		disable_napi(device);
	netif_tx_disable(dev);
	device->is_paused = false;
	return 0;
}

static netdev_tx_t shunt_start_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct shunt_netdev *device = netdev_priv(dev);

	device->ops->start_xmit(device->data, skb_get_queue_mapping(skb), skb, netdev_xmit_more());
	return NETDEV_TX_OK;
}

static int shunt_poll(struct napi_struct *napi, int budget)
{
	struct shunt_pair *pair = container_of(napi, struct shunt_pair, napi);

	return pair->device->ops->poll(pair->device->data, pair->index, budget);
}

/* Whether there is room for all of them. */
static bool copy_addresses(const struct netdev_hw_addr_list *list, u8 (*copy)[ETH_ALEN],
			   u32 *count)
{
	struct netdev_hw_addr *address;

	*count = 0;
	if (netdev_hw_addr_list_count(list) > SHUNT_MAX_ADDRESSES)
		return false;
	netdev_hw_addr_list_for_each(address, list)
		ether_addr_copy(copy[(*count)++], address->addr);
	return true;
}

/*
 * Under RTNL. The addresses are in the device's own memory, so that a device that was reset can be
 * told of them whether there is memory or not.
 */
static void collect_rx_mode(struct shunt_netdev *device, const struct netdev_hw_addr_list *uc,
			    const struct netdev_hw_addr_list *mc, struct shunt_rx_mode *mode)
{
	bool all_unicast = !copy_addresses(uc, device->unicast, &mode->unicast_count);
	bool all_multicast = !copy_addresses(mc, device->multicast, &mode->multicast_count);

	mode->unicast = device->unicast;
	mode->multicast = device->multicast;
	mode->promiscuous = all_unicast || device->dev->flags & IFF_PROMISC;
	mode->all_multicast = all_multicast || device->dev->flags & IFF_ALLMULTI;
}

static int set_rx_mode(struct net_device *dev, struct netdev_hw_addr_list *uc,
		       struct netdev_hw_addr_list *mc)
{
	struct shunt_netdev *device = netdev_priv(dev);
	struct shunt_rx_mode mode;

	ASSERT_RTNL();
	collect_rx_mode(device, uc, mc, &mode);
	return device->ops->set_rx_mode(device->data, &mode);
}

/* Locked. For a device that has forgotten. */
int shunt_netdev_repeat_rx_mode(struct shunt_netdev *device)
{
	struct net_device *dev = device->dev;
	struct shunt_rx_mode mode;

	netif_addr_lock_bh(dev);
	collect_rx_mode(device, &dev->uc, &dev->mc, &mode);
	netif_addr_unlock_bh(dev);
	return device->ops->set_rx_mode(device->data, &mode);
}

static int set_mac(struct net_device *dev, void *address)
{
	struct shunt_netdev *device = netdev_priv(dev);
	struct sockaddr *sockaddr = address;
	int r = eth_prepare_mac_addr_change(dev, address);

	if (!r)
		r = device->ops->set_mac(device->data, sockaddr->sa_data);
	if (!r)
		eth_commit_mac_addr_change(dev, address);
	return r;
}

static void timed_out(struct net_device *dev, unsigned int queue)
{
	struct shunt_netdev *device = netdev_priv(dev);

	device->ops->timed_out(device->data, queue);
}

static void get_stats64(struct net_device *dev, struct rtnl_link_stats64 *total)
{
	struct shunt_netdev *device = netdev_priv(dev);
	struct shunt_stats stats = {};

	device->ops->stats(device->data, &stats);
	total->rx_packets = stats.rx_packets;
	total->rx_bytes = stats.rx_bytes;
	total->rx_dropped = stats.rx_dropped;
	total->rx_errors = stats.rx_errors;
	total->tx_packets = stats.tx_packets;
	total->tx_bytes = stats.tx_bytes;
	total->tx_dropped = stats.tx_dropped;
}

static const struct net_device_ops shunt_net_device_ops = {
	.ndo_open = shunt_open,
	.ndo_stop = shunt_stop,
	.ndo_start_xmit = shunt_start_xmit,
	.ndo_features_check = passthru_features_check,
	.ndo_set_rx_mode_async = set_rx_mode,
	.ndo_set_mac_address = set_mac,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_tx_timeout = timed_out,
	.ndo_get_stats64 = get_stats64,
};

struct shunt_netdev *shunt_netdev_alloc(struct device *parent,
					const struct shunt_netdev_ops *ops, u32 pairs)
{
	struct shunt_netdev *device;
	struct net_device *dev;
	u32 i;

	dev = alloc_etherdev_mqs(struct_size(device, pair, pairs), pairs, pairs);
	if (!dev)
		return NULL;
	SET_NETDEV_DEV(dev, parent);
	dev->netdev_ops = &shunt_net_device_ops;
	dev->ethtool_ops = &shunt_ethtool_ops;
	device = netdev_priv(dev);
	device->dev = dev;
	device->ops = ops;
	device->pairs = pairs;
	for (i = 0; i < pairs; i++) {
		device->pair[i].device = device;
		device->pair[i].index = i;
		netif_napi_add(dev, &device->pair[i].napi, shunt_poll);
	}
	return device;
}

void shunt_netdev_free(struct shunt_netdev *device)
{
	free_netdev(device->dev);
}

static netdev_features_t tx_features(u32 offloads)
{
	netdev_features_t features = 0;

	if (offloads & SHUNT_TX_CSUM)
		features |= NETIF_F_HW_CSUM | NETIF_F_SG;
	if (offloads & SHUNT_TX_TSO4)
		features |= NETIF_F_TSO;
	if (offloads & SHUNT_TX_TSO6)
		features |= NETIF_F_TSO6;
	if (offloads & SHUNT_TX_TSO_ECN)
		features |= NETIF_F_TSO_ECN;
	return features;
}

/* A device that can be registered, as @settings say. */
static void apply(struct net_device *dev, const struct shunt_netdev_settings *settings)
{
	if (settings->has_mac)
		eth_hw_addr_set(dev, settings->mac);
	else
		eth_hw_addr_random(dev);
	dev->min_mtu = ETH_MIN_MTU;
	dev->needed_headroom = sizeof(struct virtio_net_hdr_v1);
	dev->max_mtu = settings->max_mtu;
	dev->mtu = settings->mtu;
	dev->hw_features = tx_features(settings->offloads);
	dev->features = dev->hw_features | NETIF_F_HIGHDMA;
	if (settings->offloads & SHUNT_RX_CSUM)
		dev->features |= NETIF_F_RXCSUM;
	dev->vlan_features = dev->features;
	dev->priv_flags |= IFF_LIVE_ADDR_CHANGE;
	/* A packet's header is written before its data, so that it is sent once at a time. */
	dev->priv_flags &= ~IFF_TX_SKB_SHARING;
	if (settings->offloads & SHUNT_UNICAST_FILTER)
		dev->priv_flags |= IFF_UNICAST_FLT;
	netif_carrier_off(dev);
}

int shunt_netdev_register(struct shunt_netdev *device, void *data,
			  const struct shunt_netdev_settings *settings)
{
	struct net_device *dev = device->dev;
	int r;

	device->data = data;
	apply(dev, settings);
	rtnl_lock();
	r = netif_set_real_num_queues(dev, settings->pairs, settings->pairs);
	if (!r)
		r = register_netdevice(dev);
	rtnl_unlock();
	return r;
}

void shunt_netdev_unregister(struct shunt_netdev *device)
{
	unregister_netdev(device->dev);
}

/* False, and no lock, if the device is not registered. */
bool shunt_netdev_lock(struct shunt_netdev *device)
{
	rtnl_lock();
	if (device->dev->reg_state == NETREG_REGISTERED)
		return true;
	rtnl_unlock();
	return false;
}

void shunt_netdev_unlock(void)
{
	rtnl_unlock();
}

/* Locked. No queue moves from now on, and nobody may use the device; but it can still be stopped. */
void shunt_netdev_pause(struct shunt_netdev *device)
{
	netif_device_detach(device->dev);
	if (!netif_running(device->dev) || device->is_paused)
		return;
	/* First NAPI, which wakes queues that have room again. */
	disable_napi(device);
	netif_tx_disable(device->dev);
	device->is_paused = true;
}

/* Locked. */
void shunt_netdev_resume(struct shunt_netdev *device)
{
	if (device->is_paused)
		enable_napi(device);
	device->is_paused = false;
	netif_device_attach(device->dev);
}

void shunt_netdev_set_carrier(struct shunt_netdev *device, bool up)
{
	if (up)
		netif_carrier_on(device->dev);
	else
		netif_carrier_off(device->dev);
}

void shunt_netdev_mac(struct shunt_netdev *device, u8 *mac)
{
	ether_addr_copy(mac, device->dev->dev_addr);
}

u32 shunt_netdev_pairs(struct shunt_netdev *device)
{
	return device->dev->real_num_tx_queues;
}

/* Whether the caller may now use the receive queue; it has to schedule then. */
bool shunt_napi_claim(struct shunt_netdev *device, u32 pair)
{
	return napi_schedule_prep(&device->pair[pair].napi);
}

void shunt_napi_schedule(struct shunt_netdev *device, u32 pair)
{
	__napi_schedule(&device->pair[pair].napi);
}

bool shunt_napi_done(struct shunt_netdev *device, u32 pair, int work)
{
	return napi_complete_done(&device->pair[pair].napi, work);
}

/* From NAPI. Whoever transmits may not see what there was an interrupt for, so it is waited for. */
void shunt_tx_lock(struct shunt_netdev *device, u32 pair)
{
	__netif_tx_lock(netdev_get_tx_queue(device->dev, pair), smp_processor_id());
}

void shunt_tx_unlock(struct shunt_netdev *device, u32 pair)
{
	__netif_tx_unlock(netdev_get_tx_queue(device->dev, pair));
}

/* Locked. False, and nothing is borrowed, if the device is down. */
bool shunt_tx_borrow(struct shunt_netdev *device, u32 pair)
{
	if (!netif_running(device->dev))
		return false;
	__netif_tx_lock_bh(netdev_get_tx_queue(device->dev, pair));
	return true;
}

void shunt_tx_return(struct shunt_netdev *device, u32 pair)
{
	__netif_tx_unlock_bh(netdev_get_tx_queue(device->dev, pair));
}

void shunt_tx_stop(struct shunt_netdev *device, u32 pair)
{
	netif_tx_stop_queue(netdev_get_tx_queue(device->dev, pair));
}

void shunt_tx_wake(struct shunt_netdev *device, u32 pair)
{
	netif_tx_wake_queue(netdev_get_tx_queue(device->dev, pair));
}

bool shunt_tx_is_stopped(struct shunt_netdev *device, u32 pair)
{
	return netif_tx_queue_stopped(netdev_get_tx_queue(device->dev, pair));
}
