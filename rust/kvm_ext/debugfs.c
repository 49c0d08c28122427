// SPDX-License-Identifier: GPL-2.0-only
#include <linux/debugfs.h>
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#include "debugfs.h"

static int shunt_debugfs_open(struct inode *inode, struct file *file)
{
	return single_open(file, debugfs_get_aux(file), inode->i_private);
}

static const struct file_operations shunt_debugfs_fops = {
	.owner = THIS_MODULE,
	.open = shunt_debugfs_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = single_release,
};

/*
 * @show gets @kvm as the private data of its seq_file. KVM removes the file
 * with its directory, before it ends the VM's extension: that waits for readers,
 * and a file that is still open then answers EIO. An open file pins the module.
 */
void shunt_vm_debugfs(struct kvm *kvm, const char *name, int (*show)(struct seq_file *, void *))
{
	/* Without debugfs or a directory there is no file; nothing depends on it. */
	debugfs_create_file_aux(name, 0444, kvm->debugfs_dentry, kvm, show, &shunt_debugfs_fops);
}
