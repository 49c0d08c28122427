/* SPDX-License-Identifier: GPL-2.0-only */
/* A file in the directory that KVM has for each VM in debugfs. */
#ifndef SHUNT_DEBUGFS_H
#define SHUNT_DEBUGFS_H

struct kvm;
struct seq_file;

void shunt_vm_debugfs(struct kvm *kvm, const char *name, int (*show)(struct seq_file *, void *));

#endif
