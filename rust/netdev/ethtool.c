// SPDX-License-Identifier: GPL-2.0-only
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>

#include "device.h"
#include "helpers.h"

static int sset_count(struct net_device *dev, int set)
{
	struct shunt_netdev *device = netdev_priv(dev);

	return set == ETH_SS_STATS ? device->ops->counters * dev->real_num_rx_queues : -EOPNOTSUPP;
}

static void strings(struct net_device *dev, u32 set, u8 *data)
{
	struct shunt_netdev *device = netdev_priv(dev);
	u32 pair, i;

	for (pair = 0; set == ETH_SS_STATS && pair < dev->real_num_rx_queues; pair++)
		for (i = 0; i < device->ops->counters; i++)
			ethtool_sprintf(&data, "queue%u_%s", pair, device->ops->counter_names[i]);
}

static void statistics(struct net_device *dev, struct ethtool_stats *stats, u64 *data)
{
	struct shunt_netdev *device = netdev_priv(dev);
	u32 pair;

	for (pair = 0; pair < dev->real_num_rx_queues; pair++)
		device->ops->read_counters(device->data, pair,
					   data + pair * device->ops->counters);
}

static void ringparam(struct net_device *dev, struct ethtool_ringparam *ring,
		      struct kernel_ethtool_ringparam *kernel_ring,
		      struct netlink_ext_ack *extack)
{
	struct shunt_netdev *device = netdev_priv(dev);

	ring->rx_pending = device->ops->ring_size(device->data, false);
	ring->tx_pending = device->ops->ring_size(device->data, true);
	ring->rx_max_pending = ring->rx_pending;
	ring->tx_max_pending = ring->tx_pending;
}

static void get_channels(struct net_device *dev, struct ethtool_channels *channels)
{
	struct shunt_netdev *device = netdev_priv(dev);

	channels->max_combined = device->pairs;
	channels->combined_count = dev->real_num_tx_queues;
}

static int set_channels(struct net_device *dev, struct ethtool_channels *channels)
{
	struct shunt_netdev *device = netdev_priv(dev);
	u32 pairs = channels->combined_count;
	int r;

	if (!pairs || channels->rx_count || channels->tx_count || channels->other_count)
		return -EINVAL;
	r = device->ops->set_pairs(device->data, pairs);
	return r ? r : netif_set_real_num_queues(dev, pairs, pairs);
}

static int link_ksettings(struct net_device *dev, struct ethtool_link_ksettings *settings)
{
	struct shunt_netdev *device = netdev_priv(dev);
	struct shunt_link link = { .speed = SPEED_UNKNOWN, .duplex = DUPLEX_UNKNOWN };

	device->ops->link(device->data, &link);
	settings->base.speed = link.speed;
	settings->base.duplex = link.duplex;
	settings->base.port = PORT_OTHER;
	return 0;
}

const struct ethtool_ops shunt_ethtool_ops = {
	.get_link = ethtool_op_get_link,
	.get_link_ksettings = link_ksettings,
	.get_ts_info = ethtool_op_get_ts_info,
	.get_ringparam = ringparam,
	.get_channels = get_channels,
	.set_channels = set_channels,
	.get_sset_count = sset_count,
	.get_strings = strings,
	.get_ethtool_stats = statistics,
};
