/* SPDX-License-Identifier: GPL-2.0-only */
/* The structures behind a network device of ours, for the C files of this folder. */
#ifndef SHUNT_NETDEV_DEVICE_H
#define SHUNT_NETDEV_DEVICE_H

#include <linux/etherdevice.h>
#include <linux/netdevice.h>

#include "helpers.h"

struct shunt_pair {
	struct napi_struct napi;
	struct shunt_netdev *device;
	u32 index;
};

/* The private part of a net_device. */
struct shunt_netdev {
	struct net_device *dev;
	const struct shunt_netdev_ops *ops;
	void *data;
	u32 pairs;
	/* NAPI is off although the device runs; under RTNL. */
	bool is_paused;
	/* For struct shunt_rx_mode; under RTNL. */
	u8 unicast[SHUNT_MAX_ADDRESSES][ETH_ALEN];
	u8 multicast[SHUNT_MAX_ADDRESSES][ETH_ALEN];
	struct shunt_pair pair[] __counted_by(pairs);
};

extern const struct ethtool_ops shunt_ethtool_ops;

#endif
