/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHUNT_DEADLINE_H
#define SHUNT_DEADLINE_H

#include <linux/jiffies.h>
#include <linux/sched.h>

/* No deadline; rust/kvm_ext/src/deadline.rs has the same number. */
#define SHUNT_NEVER	U64_MAX

/* For schedule_timeout(): how long until @deadline, in jiffies; 0 if it is over. */
static inline long shunt_time_left(u64 deadline)
{
	s64 left;

	if (deadline == SHUNT_NEVER)
		return MAX_SCHEDULE_TIMEOUT;

	left = deadline - get_jiffies_64();
	return max(left, 0);
}

static inline void shunt_schedule_until(u64 deadline)
{
	if (deadline == SHUNT_NEVER)
		schedule();
	else
		schedule_timeout(shunt_time_left(deadline));
}

#endif
