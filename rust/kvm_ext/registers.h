/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory of a VMM that the kernel accesses as registers, and eventfds that it
 * signals.
 */
#ifndef SHUNT_REGISTERS_H
#define SHUNT_REGISTERS_H

#include <linux/types.h>

struct eventfd_ctx;
struct shunt_registers;

int shunt_registers_pin(u64 addr, size_t size, struct shunt_registers **registers);
void shunt_registers_unpin(struct shunt_registers *registers);
void *shunt_registers_start(struct shunt_registers *registers);

u64 shunt_register_load(const void *at, u32 size);
void shunt_register_store(void *at, u32 size, u64 value);
void shunt_register_clear(void *at, u32 size, u64 bits);

struct eventfd_ctx *shunt_eventfd_get(int fd, int *error);
void shunt_eventfd_put(struct eventfd_ctx *eventfd);
void shunt_eventfd_signal(struct eventfd_ctx *eventfd);

#endif
