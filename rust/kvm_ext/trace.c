// SPDX-License-Identifier: GPL-2.0-only
#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include "trace.h"

static_assert(sizeof(struct shunt_access_event) == 48);
static_assert(offsetof(struct shunt_access_event, wait_ns) == 24);
static_assert(offsetof(struct shunt_access_event, error) == 40);
static_assert(offsetof(struct shunt_access_event, is_pio) == 44);
static_assert(offsetof(struct shunt_access_event, how) == 47);
