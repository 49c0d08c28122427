// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest in a direct run that keeps interrupts off keeps the host's off, too.
 * SVM has no preemption timer, but NMIs are intercepted: a timer of another CPU
 * sends one to a vCPU's CPU when it finds the same direct run twice.
 *
 * That other CPU must not be in the same situation. So one that has such a
 * timer is none for direct runs, and the other way round. Nor can it go
 * offline.
 */
#include <linux/cleanup.h>
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/cpumask.h>
#include <linux/hrtimer.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <asm/apic.h>
#include <asm/irq_vectors.h>
#include <asm/nmi.h>

#include "watchdog.h"

/* A direct run lasts twice that at most, if the guest keeps interrupts off. */
#define PERIOD	(5 * NSEC_PER_MSEC)

#define NAME	"exitless"

struct shunt_watchdog {
	struct hrtimer timer;
	u32 cpu;		/* the vCPU's */
	u32 host;		/* the timer's */
	u32 run;		/* odd in a direct run; another number in each */
	u32 seen;		/* that the timer found last */
	bool struck;		/* an NMI was sent, and nobody has asked since */
};

/* Protects the two that follow. */
static DEFINE_MUTEX(lock);
static struct cpumask watched;
static DEFINE_PER_CPU(u32, timers);

/* An NMI of ours is on its way. */
static DEFINE_PER_CPU(bool, sent);

static int handle_nmi(unsigned int type, struct pt_regs *regs)
{
	return xchg(this_cpu_ptr(&sent), false) ? NMI_HANDLED : NMI_DONE;
}

static int stay_online(unsigned int cpu)
{
	guard(mutex)(&lock);
	return per_cpu(timers, cpu) ? -EBUSY : 0;
}

/* Of stay_online(). */
static int hotplug_state;

int shunt_watchdog_init(void)
{
	int ret = register_nmi_handler(NMI_LOCAL, handle_nmi, 0, NAME);

	if (ret)
		return ret;

	hotplug_state = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, NAME, NULL, stay_online);
	if (hotplug_state >= 0)
		return 0;

	unregister_nmi_handler(NMI_LOCAL, NAME);
	return hotplug_state;
}

void shunt_watchdog_exit(void)
{
	cpuhp_remove_state_nocalls(hotplug_state);
	unregister_nmi_handler(NMI_LOCAL, NAME);
}

static enum hrtimer_restart look(struct hrtimer *timer)
{
	struct shunt_watchdog *watchdog = container_of(timer, struct shunt_watchdog, timer);
	u32 run = READ_ONCE(watchdog->run);

	if ((run & 1) && run == watchdog->seen && !xchg(per_cpu_ptr(&sent, watchdog->cpu), true)) {
		WRITE_ONCE(watchdog->struck, true);
		__apic_send_IPI_mask(cpumask_of(watchdog->cpu), NMI_VECTOR);
	}
	watchdog->seen = run;
	hrtimer_forward_now(timer, ns_to_ktime(PERIOD));
	return HRTIMER_RESTART;
}

static void start_timer(void *data)
{
	struct shunt_watchdog *watchdog = data;

	hrtimer_start(&watchdog->timer, ns_to_ktime(PERIOD), HRTIMER_MODE_REL_PINNED_HARD);
}

static int choose_host(struct shunt_watchdog *watchdog)
{
	u32 host;

	guard(mutex)(&lock);
	if (per_cpu(timers, watchdog->cpu))
		return -EBUSY;
	for_each_online_cpu(host) {
		if (host != watchdog->cpu && !cpumask_test_cpu(host, &watched)) {
			watchdog->host = host;
			per_cpu(timers, host)++;
			cpumask_set_cpu(watchdog->cpu, &watched);
			return 0;
		}
	}
	return -ENODEV;
}

/* The vCPU's CPU is not watched yet: -EBUSY if it watches another, -ENODEV if none can watch it. */
struct shunt_watchdog *shunt_watchdog_start(u32 cpu, int *error)
{
	struct shunt_watchdog *watchdog __free(kfree) = kzalloc(sizeof(*watchdog), GFP_KERNEL_ACCOUNT);

	*error = -ENOMEM;
	if (!watchdog)
		return NULL;

	watchdog->cpu = cpu;
	guard(cpus_read_lock)();
	*error = choose_host(watchdog);
	if (*error)
		return NULL;

	hrtimer_setup(&watchdog->timer, look, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	smp_call_function_single(watchdog->host, start_timer, watchdog, true);
	return no_free_ptr(watchdog);
}

/* The vCPU is not armed any more. */
void shunt_watchdog_stop(struct shunt_watchdog *watchdog)
{
	hrtimer_cancel(&watchdog->timer);
	scoped_guard(mutex, &lock) {
		per_cpu(timers, watchdog->host)--;
		cpumask_clear_cpu(watchdog->cpu, &watched);
	}
	kfree(watchdog);
}

/* A direct run begins, or it has ended. */
void shunt_watchdog_note(struct shunt_watchdog *watchdog)
{
	WRITE_ONCE(watchdog->run, watchdog->run + 1);
}

/* Whether it has sent an NMI since this was asked last. */
bool shunt_watchdog_struck(struct shunt_watchdog *watchdog)
{
	return READ_ONCE(watchdog->struck) && xchg(&watchdog->struck, false);
}
