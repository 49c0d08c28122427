/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What rust/kvm_exitless needs of C: the receiving end of an interrupt that is
 * bypassed. Rust sees the structure as opaque.
 */
#ifndef SHUNT_KVM_EXITLESS_HELPERS_H
#define SHUNT_KVM_EXITLESS_HELPERS_H

#include <linux/types.h>

struct kvm;
struct shunt_consumer;

struct shunt_consumer *shunt_consumer_register(int eventfd, void *data,
					       void (*changed)(void *data), int *error);
void shunt_consumer_unregister(struct shunt_consumer *consumer);
bool shunt_consumer_is_connected(struct shunt_consumer *consumer);
int shunt_consumer_gsi(struct shunt_consumer *consumer, struct kvm *kvm);
int shunt_consumer_choose_vector(struct shunt_consumer *consumer, u32 cpu, u32 vector);
void shunt_consumer_leave_vector(struct shunt_consumer *consumer, u32 cpu);

#endif
