// SPDX-License-Identifier: GPL-2.0-only
#include <linux/cleanup.h>
#include <linux/eventfd.h>
#include <linux/irqbypass.h>
#include <linux/kvm_exitless.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <asm/chosen_vectors.h>

#include "helpers.h"

/* rust/kvm_exitless/src/ffi.rs asserts the same numbers. */
static_assert(sizeof(struct kvm_exitless_exit) == 8);
static_assert(offsetof(struct kvm_exitless_exit, vector) == 1);
static_assert(offsetof(struct kvm_exitless_exit, fault) == 2);
static_assert(offsetof(struct kvm_exitless_exit, nmi) == 3);
static_assert(offsetof(struct kvm_exitless_exit, masked) == 4);
static_assert(offsetof(struct kvm_exitless_exit, expired) == 5);
static_assert(offsetof(struct kvm_exitless_exit, in_service) == 6);
static_assert(sizeof(struct kvm_exitless_verdict) == 6);
static_assert(offsetof(struct kvm_exitless_verdict, pending) == 2);
static_assert(offsetof(struct kvm_exitless_verdict, in_service) == 4);
static_assert(sizeof(struct kvm_exitless_ops) == 24);
static_assert(offsetof(struct kvm_exitless_ops, enter) == 8);
static_assert(offsetof(struct kvm_exitless_ops, exit) == 16);

/* Receives the interrupts of whoever signals an eventfd. */
struct shunt_consumer {
	struct irq_bypass_consumer consumer;
	struct eventfd_ctx *eventfd;
	struct mutex lock;
	int irq;			/* -1 if no device signals it; protected by lock */
	void *data;
	void (*changed)(void *data);	/* a device is there, or no longer. May sleep. */
};

static void set_irq(struct shunt_consumer *consumer, int irq)
{
	scoped_guard(mutex, &consumer->lock)
		consumer->irq = irq;
	consumer->changed(consumer->data);
}

static int add_producer(struct irq_bypass_consumer *consumer, struct irq_bypass_producer *producer)
{
	set_irq(container_of(consumer, struct shunt_consumer, consumer), producer->irq);
	return 0;
}

static void del_producer(struct irq_bypass_consumer *consumer, struct irq_bypass_producer *producer)
{
	set_irq(container_of(consumer, struct shunt_consumer, consumer), -1);
}

/* An error is -EBUSY if KVM itself receives them. */
struct shunt_consumer *shunt_consumer_register(int eventfd, void *data,
					       void (*changed)(void *data), int *error)
{
	struct shunt_consumer *consumer __free(kfree) = kzalloc(sizeof(*consumer), GFP_KERNEL_ACCOUNT);

	*error = -ENOMEM;
	if (!consumer)
		return NULL;

	consumer->eventfd = eventfd_ctx_fdget(eventfd);
	*error = PTR_ERR_OR_ZERO(consumer->eventfd);
	if (*error)
		return NULL;

	mutex_init(&consumer->lock);
	consumer->irq = -1;
	consumer->data = data;
	consumer->changed = changed;
	consumer->consumer.add_producer = add_producer;
	consumer->consumer.del_producer = del_producer;
	*error = irq_bypass_register_consumer(&consumer->consumer, consumer->eventfd);
	if (*error) {
		eventfd_ctx_put(consumer->eventfd);
		return NULL;
	}
	return no_free_ptr(consumer);
}

/* @changed is not called any more after this, but may be called once more by it. */
void shunt_consumer_unregister(struct shunt_consumer *consumer)
{
	irq_bypass_unregister_consumer(&consumer->consumer);
	eventfd_ctx_put(consumer->eventfd);
	kfree(consumer);
}

bool shunt_consumer_is_connected(struct shunt_consumer *consumer)
{
	guard(mutex)(&consumer->lock);
	return consumer->irq >= 0;
}

/* -ENOENT if no irqfd of the VM has the eventfd. */
int shunt_consumer_gsi(struct shunt_consumer *consumer, struct kvm *kvm)
{
	return kvm_exitless_gsi(kvm, consumer->eventfd);
}

/* The interrupt does not go while the lock is held: whoever frees it waits for del_producer(). */
int shunt_consumer_choose_vector(struct shunt_consumer *consumer, u32 cpu, u32 vector)
{
	guard(mutex)(&consumer->lock);
	if (consumer->irq < 0)
		return -ENXIO;
	return irq_choose_vector(consumer->irq, cpu, vector);
}

/*
 * An earlier move ends with a clean-up a jiffy later. Who comes next to the CPU
 * must not find the interrupt there, so this waits for that.
 */
void shunt_consumer_leave_vector(struct shunt_consumer *consumer, u32 cpu)
{
	int ret = shunt_consumer_choose_vector(consumer, cpu, 0);
	int tries;

	for (tries = 0; ret == -EBUSY && tries < HZ; tries++) {
		schedule_timeout_uninterruptible(1);
		ret = shunt_consumer_choose_vector(consumer, cpu, 0);
	}
	WARN_ONCE(ret == -EBUSY, "exitless: an interrupt cannot leave its vector\n");
}
