/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A whole device in C, from Documentation/channel.md: each read yields the sum
 * of all that was written. Standard input is a channel in shared memory. The
 * selftests serve a guest with it.
 */
#include <linux/ioregion.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

typedef _Atomic uint64_t word;

enum { PAGE = 4096, LINE = 64, IS_WRITE = 1, EXPECTS_COMPLETION = 1 << 16 };

static const char magic[8] = "ioring\0\1";

static word *map(int fd, size_t size, int protection, off_t at)
{
	return mmap(0, size, protection, MAP_SHARED, fd, at);
}

static word *at(word *area, uint64_t offset)
{
	return area + offset / sizeof(word);
}

int adder(int channel)
{
	uint64_t slots, ring, lines, found = 0, consumed = 0, sum = 0;
	unsigned long answered = IOREGION_CHANNEL_NO_VCPU;
	word *kernel = map(channel, PAGE, PROT_READ, 0), *own;

	if (kernel == MAP_FAILED)
		return 1;
	for (int i = 0; i < 8; i++)
		found = found << 8 | (unsigned char)magic[i];
	if (*kernel != found)
		return 1;
	slots = *at(kernel, 8);
	lines = (*at(kernel, 16) * LINE + PAGE - 1) / PAGE * PAGE;
	ring = PAGE + lines;
	kernel = map(channel, ring + slots * LINE, PROT_READ, 0);
	own = map(channel, PAGE + lines, PROT_READ | PROT_WRITE, IOREGION_CHANNEL_DEVICE_AREA);
	if (kernel == MAP_FAILED || own == MAP_FAILED)
		return 1;

	for (;;) {
		word *slot = at(kernel, ring + consumed % slots * LINE), *line;
		uint64_t kind, vcpu, request, data;

		if (atomic_load_explicit(slot, memory_order_acquire) != consumed + 1) {
			*at(own, LINE) = 1; /* wake me; a sequentially consistent store */
			atomic_thread_fence(memory_order_seq_cst);
			if (*slot != consumed + 1 && ioctl(channel, IOREGION_CHANNEL_WAIT, answered))
				return 0; /* no more accesses */
			answered = IOREGION_CHANNEL_NO_VCPU;
			continue;
		}
		if (answered != IOREGION_CHANNEL_NO_VCPU) /* does not wait for this access */
			ioctl(channel, IOREGION_CHANNEL_WAKE, answered);
		answered = IOREGION_CHANNEL_NO_VCPU;
		kind = slot[1], request = slot[2], data = slot[5];
		vcpu = kind >> 32;
		atomic_store_explicit(own, ++consumed, memory_order_release);
		if ((kind & 0xff) == IS_WRITE)
			sum += data;
		if (!(kind & EXPECTS_COMPLETION))
			continue;
		line = at(own, PAGE + vcpu * LINE);
		line[1] = sum;
		atomic_store_explicit(line, request, memory_order_release);
		atomic_thread_fence(memory_order_seq_cst);
		if (*at(kernel, PAGE + vcpu * LINE))
			answered = vcpu; /* asleep: the next wait wakes it */
	}
}
