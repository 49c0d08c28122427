// SPDX-License-Identifier: GPL-2.0-only
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#include "debugfs.h"

static int queues_open(struct inode *inode, struct file *file)
{
	const struct shunt_debugfs_ops *ops = debugfs_get_aux(file);

	return single_open(file, ops->show, inode->i_private);
}

/* An open file pins the module. */
static const struct file_operations queues_fops = {
	.owner = THIS_MODULE,
	.open = queues_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = single_release,
};

/* Whatever is written. */
static ssize_t reset_write(struct file *file, const char __user *text, size_t len, loff_t *pos)
{
	const struct shunt_debugfs_ops *ops = debugfs_get_aux(file);

	ops->reset(file_inode(file)->i_private);
	return len;
}

static const struct file_operations reset_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = reset_write,
	.llseek = noop_llseek,
};

/* Without debugfs there is no directory, which is NULL; nothing depends on it. */
struct dentry *shunt_debugfs_create(const char *name, const struct shunt_debugfs_ops *ops,
				    void *data)
{
	struct dentry *directory = debugfs_create_dir(name, NULL);

	if (IS_ERR(directory))
		return NULL;
	debugfs_create_file_aux("queues", 0444, directory, data, ops, &queues_fops);
	debugfs_create_file_aux("reset", 0200, directory, data, ops, &reset_fops);
	return directory;
}

/* Waits for those who use the files. */
void shunt_debugfs_remove(struct dentry *directory)
{
	debugfs_remove(directory);
}
