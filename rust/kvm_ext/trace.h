/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: what the guest does to a region, and what becomes of it.
 * Documentation/observability.md says what the fields mean.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ioregion
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace

#if !defined(SHUNT_KVM_EXT_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define SHUNT_KVM_EXT_TRACE_H

#include <linux/tracepoint.h>
#include <linux/types.h>

#ifndef SHUNT_ACCESS_EVENT
#define SHUNT_ACCESS_EVENT
/* rust/kvm_ext/src/trace.rs has the same. */
struct shunt_access_event {
	u64 region;
	u64 addr;
	u64 data;
	u64 wait_ns;
	u32 vcpu;
	u32 size;
	s32 error;
	u8 is_pio;
	u8 kind;
	u8 by;
	u8 how;
};
#endif

#define show_bus(is_pio)	((is_pio) ? "pio" : "mmio")
#define show_kind(kind)		__print_symbolic(kind, { 0, "read" }, { 1, "write" }, { 2, "posted" })
#define show_by(by)		__print_symbolic(by, { 0, "rule" }, { 1, "ring" }, { 2, "frames" })
#define show_how(how)		__print_symbolic(how,			\
				{ 0, "at-once" }, { 1, "ruled" }, { 2, "spun" },	\
				{ 3, "slept" }, { 4, "failed" }, { 5, "timed-out" })

TRACE_EVENT(ioregion_dispatch,
	TP_PROTO(const struct shunt_access_event *event),
	TP_ARGS(event),

	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u8, pio)
		__field(u8, write)
		__field(u8, kind)
		__field(u8, by)
		__field(u64, region)
		__field(u64, addr)
		__field(u64, data)
		__field(u32, size)
	),
	TP_fast_assign(
		__entry->vcpu = event->vcpu;
		__entry->pio = event->is_pio;
		__entry->write = event->kind != 0;
		__entry->kind = event->kind;
		__entry->by = event->by;
		__entry->region = event->region;
		__entry->addr = event->addr;
		__entry->data = event->data;
		__entry->size = event->size;
	),
	TP_printk("vcpu=%u bus=%s region=0x%llx addr=0x%llx size=%u kind=%s data=0x%llx by=%s",
		  __entry->vcpu, show_bus(__entry->pio), __entry->region, __entry->addr,
		  __entry->size, show_kind(__entry->kind), __entry->data, show_by(__entry->by))
);

TRACE_EVENT(ioregion_complete,
	TP_PROTO(const struct shunt_access_event *event),
	TP_ARGS(event),

	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u8, pio)
		__field(u8, write)
		__field(u8, kind)
		__field(u8, how)
		__field(u64, region)
		__field(u64, addr)
		__field(u64, data)
		__field(u64, wait_ns)
		__field(s32, error)
	),
	TP_fast_assign(
		__entry->vcpu = event->vcpu;
		__entry->pio = event->is_pio;
		__entry->write = event->kind != 0;
		__entry->kind = event->kind;
		__entry->how = event->how;
		__entry->region = event->region;
		__entry->addr = event->addr;
		__entry->data = event->data;
		__entry->wait_ns = event->wait_ns;
		__entry->error = event->error;
	),
	TP_printk("vcpu=%u bus=%s region=0x%llx addr=0x%llx kind=%s data=0x%llx how=%s wait_ns=%llu error=%d",
		  __entry->vcpu, show_bus(__entry->pio), __entry->region, __entry->addr,
		  show_kind(__entry->kind), __entry->data, show_how(__entry->how),
		  __entry->wait_ns, __entry->error)
);

#endif

#include <trace/define_trace.h>
