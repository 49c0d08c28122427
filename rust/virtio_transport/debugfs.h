/* SPDX-License-Identifier: GPL-2.0-only */
/* A directory in debugfs for each device. */
#ifndef SHUNT_VIRTIO_DEBUGFS_H
#define SHUNT_VIRTIO_DEBUGFS_H

struct dentry;
struct seq_file;

/* Called with what the directory was made with. */
struct shunt_debugfs_ops {
	int (*show)(struct seq_file *file, void *unused);
	void (*reset)(void *data);
};

struct dentry *shunt_debugfs_create(const char *name, const struct shunt_debugfs_ops *ops,
				    void *data);
void shunt_debugfs_remove(struct dentry *directory);

#endif
