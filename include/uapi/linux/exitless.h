/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Exitless interrupts: those of an assigned device go through the guest's own
 * IDT, and the guest's EOI to the local APIC of the CPU.
 *
 * An open file of /dev/exitless is that of one VM. When it is closed, nothing
 * is delivered directly any more. rust/exitless_vectors mirrors this file; a
 * test compares the two.
 */
#ifndef _UAPI_LINUX_EXITLESS_H
#define _UAPI_LINUX_EXITLESS_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * Make the file that of a VM: the argument is the VM's descriptor. EBUSY if
 * the file has one, or the VM another file.
 */
#define EXITLESS_ATTACH		_IOW(0xe1, 0, __s32)

/*
 * Deliver an interrupt directly, whenever that is possible, until it is
 * disarmed. EOPNOTSUPP if it is not possible now, with the reason in `refusal`;
 * EEXIST if its GSI is armed.
 */
#define EXITLESS_ARM		_IOWR(0xe1, 1, struct exitless_arm)

/* No longer deliver the interrupt of a GSI directly. ENOENT if it is not armed. */
#define EXITLESS_DISARM		_IOW(0xe1, 2, __u32)

/* The guest exits for each EOI, as without us. Of the whole vCPU; for comparison. */
#define EXITLESS_DELIVERY_ONLY	(1U << 0)

/*
 * No other CPU need end runs in which the guest keeps interrupts off: for a
 * host with one CPU, and for guests that are trusted with theirs.
 */
#define EXITLESS_UNWATCHED	(1U << 1)

struct exitless_arm {
	__s32 eventfd;		/* the device's interrupt signals it; irqfd of the VM */
	__u32 gsi;		/* out: that the irqfd raises */
	__u32 flags;
	__u32 refusal;		/* out: enum exitless_refusal */
};

enum exitless_refusal {
	EXITLESS_NO_HOST_X2APIC = 1,
	EXITLESS_NO_GUEST_X2APIC = 2,
	EXITLESS_APICV = 3,		/* AVIC or APICv is on */
	EXITLESS_PROTECTED = 4,		/* the guest's registers are encrypted */
	EXITLESS_FRED = 5,		/* the guest may use FRED */
	EXITLESS_NOT_PINNED = 6,	/* the vCPU's thread, to one CPU */
	EXITLESS_NOT_ASSIGNED = 7,	/* no device signals the eventfd */
	EXITLESS_NO_ROUTE = 8,		/* not an edge-triggered MSI to one vCPU */
	EXITLESS_VECTOR = 9,		/* the guest's is not of 0x20 to 0x2f */
	EXITLESS_VECTOR_TAKEN = 10,	/* on that CPU */
	EXITLESS_CPU_TAKEN = 11,	/* by another vCPU */
	EXITLESS_NOT_MOVABLE = 12,	/* the interrupt is not remapped */
	EXITLESS_NO_MEMORY = 13,
	EXITLESS_NO_WATCHDOG = 14,	/* there is no other CPU for it */
	EXITLESS_INTERRUPTS_OFF = 15,	/* the guest keeps them off, again and again */
	EXITLESS_MOVING = 16,		/* no refusal: direct when its last move is over */
	EXITLESS_NO_IRQFD = 17,		/* of the VM has the eventfd */
};

#endif
