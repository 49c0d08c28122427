/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: what goes on between a driver and its device. Documentation/virtio_fe.md says what the
 * fields mean.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM virtio_fe
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace

#if !defined(SHUNT_VIRTIO_TRANSPORT_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define SHUNT_VIRTIO_TRANSPORT_TRACE_H

#include <linux/device.h>
#include <linux/tracepoint.h>

/* rust/virtio_transport/src/trace.rs has the same numbers. */
#define show_step(step)	__print_symbolic(step, { 0, "reset" }, { 1, "working" },	\
					 { 2, "asleep" }, { 3, "lost" })

TRACE_EVENT(virtio_fe_notify,
	TP_PROTO(struct device *dev, u16 queue, u32 data),
	TP_ARGS(dev, queue, data),

	TP_STRUCT__entry(
		__string(device, dev_name(dev))
		__field(u16, queue)
		__field(u32, data)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->queue = queue;
		__entry->data = data;
	),
	TP_printk("device=%s queue=%u data=0x%x", __get_str(device), __entry->queue,
		  __entry->data)
);

TRACE_EVENT(virtio_fe_used,
	TP_PROTO(struct device *dev, u16 queue, u32 count),
	TP_ARGS(dev, queue, count),

	TP_STRUCT__entry(
		__string(device, dev_name(dev))
		__field(u16, queue)
		__field(u32, count)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->queue = queue;
		__entry->count = count;
	),
	TP_printk("device=%s queue=%u count=%u", __get_str(device), __entry->queue,
		  __entry->count)
);

TRACE_EVENT(virtio_fe_recovery,
	TP_PROTO(struct device *dev, u8 step, int error),
	TP_ARGS(dev, step, error),

	TP_STRUCT__entry(
		__string(device, dev_name(dev))
		__field(u8, step)
		__field(int, error)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->step = step;
		__entry->error = error;
	),
	TP_printk("device=%s step=%s error=%d", __get_str(device), show_step(__entry->step),
		  __entry->error)
);

#endif

#include <trace/define_trace.h>
