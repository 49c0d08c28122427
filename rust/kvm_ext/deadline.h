/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHUNT_DEADLINE_H
#define SHUNT_DEADLINE_H

#include <linux/jiffies.h>
#include <linux/sched.h>
#include <linux/timekeeping.h>

/* No deadline; rust/kvm_ext/src/deadline.rs has the same number. */
#define SHUNT_NEVER	U64_MAX

/*
 * For schedule_timeout(): how long until @deadline, in jiffies; 0 if it is over. A wait of so
 * many jiffies may end too early: where ticks come late, in a virtual machine for one, jiffies
 * lag behind when it begins, and catch up. So look again after it.
 */
static inline long shunt_time_left(u64 deadline)
{
	s64 left;

	if (deadline == SHUNT_NEVER)
		return MAX_SCHEDULE_TIMEOUT;

	left = deadline - ktime_get_ns();
	return left > 0 ? nsecs_to_jiffies(left) + 1 : 0;
}

static inline void shunt_schedule_until(u64 deadline)
{
	if (deadline == SHUNT_NEVER)
		schedule();
	else
		schedule_timeout(shunt_time_left(deadline));
}

#endif
