/* SPDX-License-Identifier: GPL-2.0-only */
/* Ends direct runs that last too long. Rust sees the structure as opaque. */
#ifndef SHUNT_KVM_EXITLESS_WATCHDOG_H
#define SHUNT_KVM_EXITLESS_WATCHDOG_H

#include <linux/types.h>

struct shunt_watchdog;

int shunt_watchdog_init(void);
void shunt_watchdog_exit(void);
struct shunt_watchdog *shunt_watchdog_start(u32 cpu, int *error);
void shunt_watchdog_stop(struct shunt_watchdog *watchdog);
void shunt_watchdog_note(struct shunt_watchdog *watchdog);
bool shunt_watchdog_struck(struct shunt_watchdog *watchdog);

#endif
