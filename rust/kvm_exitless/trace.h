/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints: how vCPUs run, and where interrupts go. Documentation/exitless.md has the fields. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM exitless
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace

#if !defined(SHUNT_KVM_EXITLESS_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define SHUNT_KVM_EXITLESS_TRACE_H

#include <linux/kvm_exitless.h>
#include <linux/tracepoint.h>

#define show_event(event)	__print_symbolic(event, { KVM_EXITLESS_NONE, "none" },		\
						 { KVM_EXITLESS_INTERRUPT, "interrupt" },	\
						 { KVM_EXITLESS_SOFTWARE, "software" },		\
						 { KVM_EXITLESS_OTHER, "other" })

TRACE_EVENT(exitless_place,
	TP_PROTO(u32 gsi, u8 vector, u32 vcpu, u32 cpu, u32 refusal),
	TP_ARGS(gsi, vector, vcpu, cpu, refusal),

	TP_STRUCT__entry(
		__field(u32, gsi)
		__field(u8, vector)
		__field(u32, vcpu)
		__field(u32, cpu)
		__field(u32, refusal)
	),
	TP_fast_assign(
		__entry->gsi = gsi;
		__entry->vector = vector;
		__entry->vcpu = vcpu;
		__entry->cpu = cpu;
		__entry->refusal = refusal;
	),
	TP_printk("gsi=%u vector=0x%x vcpu=%u cpu=%u refusal=%u", __entry->gsi, __entry->vector,
		  __entry->vcpu, __entry->cpu, __entry->refusal)
);

TRACE_EVENT(exitless_mode,
	TP_PROTO(u32 vcpu, bool direct, bool possible, bool at_home),
	TP_ARGS(vcpu, direct, possible, at_home),

	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(bool, direct)
		__field(bool, possible)
		__field(bool, at_home)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->direct = direct;
		__entry->possible = possible;
		__entry->at_home = at_home;
	),
	TP_printk("vcpu=%u direct=%d possible=%d at_home=%d", __entry->vcpu, __entry->direct,
		  __entry->possible, __entry->at_home)
);

TRACE_EVENT(exitless_exit,
	TP_PROTO(u32 vcpu, const struct kvm_exitless_exit *exit,
		 const struct kvm_exitless_verdict *verdict, bool overlong),
	TP_ARGS(vcpu, exit, verdict, overlong),

	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u8, event)
		__field(u8, vector)
		__field(bool, nmi)
		__field(bool, overlong)
		__field(u8, host)
		__field(u16, pending)
		__field(u16, in_service)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->event = exit->event;
		__entry->vector = exit->vector;
		__entry->nmi = exit->nmi;
		__entry->overlong = overlong;
		__entry->host = verdict->host;
		__entry->pending = verdict->pending;
		__entry->in_service = verdict->in_service;
	),
	TP_printk("vcpu=%u event=%s vector=0x%x nmi=%d overlong=%d host=0x%x pending=0x%x in_service=0x%x",
		  __entry->vcpu, show_event(__entry->event), __entry->vector, __entry->nmi,
		  __entry->overlong, __entry->host, __entry->pending, __entry->in_service)
);

#endif

#include <trace/define_trace.h>
