/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What rust/kvm_ext needs of C: KVM's structures, and inline functions of the
 * kernel. Rust sees every structure here as opaque, but for those whose
 * layout helpers.c asserts.
 */
#ifndef SHUNT_KVM_EXT_HELPERS_H
#define SHUNT_KVM_EXT_HELPERS_H

#include <linux/types.h>

struct file;
struct kvm;
struct kvm_vcpu;
struct shunt_changes;

/* What calls for a vCPU need of it. */
struct shunt_vcpu {
	struct kvm *kvm;
	void *vm_data;
	u32 index;
};

struct shunt_vcpu shunt_vcpu(struct kvm_vcpu *vcpu);

void *shunt_vm_data(struct kvm *kvm);
void shunt_set_vm_data(struct kvm *kvm, void *data);
void *shunt_vcpu_data(struct kvm_vcpu *vcpu);
void shunt_set_vcpu_data(struct kvm_vcpu *vcpu, void *data);
void shunt_synchronize(struct kvm *kvm);
void shunt_describe_exit(struct kvm_vcpu *vcpu, u32 reason, const void *tail, size_t len);

int shunt_file_check(struct file *file, bool write);
bool shunt_file_keeps_messages(struct file *file);
ssize_t shunt_file_read(struct file *file, void *buf, size_t len);
ssize_t shunt_file_write(struct file *file, const void *buf, size_t len);
bool shunt_file_readable(struct file *file);

struct shunt_changes *shunt_changes_alloc(void);
void shunt_changes_free(struct shunt_changes *changes);
u32 shunt_changes_count(const struct shunt_changes *changes);
void shunt_changes_announce(struct shunt_changes *changes);
int shunt_wait(struct shunt_changes *changes, u32 seen, struct file *file, bool write,
	       u64 deadline);

u64 shunt_deadline(u32 ms);
u64 shunt_cycles_to_ns(u64 cycles);
bool shunt_is_over(u64 deadline);

#endif
