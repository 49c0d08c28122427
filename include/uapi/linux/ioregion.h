/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * ioregionfd: guest MMIO and PIO accesses go from KVM to a device process.
 *
 * The structures, flags and the wire protocol are those of the ioregionfd RFC
 * v3 (Elena Afanasova, KVM list, February 2021). The ioctl and capability
 * numbers are new, because KVM has since given the RFC's away; they lie far
 * above KVM's own. rust/ioregion_wire mirrors this file; a test compares the
 * two by size and offset.
 */
#ifndef _UAPI_LINUX_IOREGION_H
#define _UAPI_LINUX_IOREGION_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* KVM_CHECK_EXTENSION on a VM: IOREGIONFD_API_VERSION when ioregion.ko is loaded, else 0. */
#define KVM_CAP_IOREGIONFD		0x10f8
#define IOREGIONFD_API_VERSION		2

/* VM ioctl: add a region, or remove it with KVM_IOREGION_DEASSIGN. */
#define KVM_SET_IOREGION		_IOW(0xAE, 0xf8, struct kvm_ioregion)

#define KVM_IOREGION_PIO		(1U << 0)	/* port I/O instead of MMIO */
#define KVM_IOREGION_POSTED_WRITES	(1U << 1)	/* writes do not wait for a reply */
#define KVM_IOREGION_DEASSIGN		(1U << 2)	/* remove the region of this address and size */
#define KVM_IOREGION_CHANNEL		(1U << 3)	/* write_fd is a channel; no read_fd */

/* Most regions that one bus (MMIO or PIO) of a VM takes. */
#define KVM_IOREGION_MAX		1000

struct kvm_ioregion {
	__u64 guest_paddr;	/* guest physical address, or port */
	__u64 memory_size;	/* bytes; 0: a doorbell, any write to exactly this address */
	__u64 user_data;	/* handed back in every command */
	__s32 read_fd;		/* KVM reads replies here */
	__s32 write_fd;		/* KVM writes commands here */
	__u32 flags;
	__u32 timeout_ms;	/* a device that takes longer has failed; 0: it may take for ever */
	__u8 pad[24];		/* zero */
};

/*
 * VM ioctl: rules for a region that is there, in place of those that it has.
 *
 * An access that a rule matches is complete without the device: at exactly the
 * rule's offset, of exactly its size, in a direction of its flags, and with its
 * datamatch. Any other goes to the device. A doorbell region takes no rules.
 */
#define KVM_SET_IOREGION_RULES		_IOW(0xAE, 0xfc, struct kvm_ioregion_rules)

/* Most rules of a region, and most bytes of a region with registers. */
#define KVM_IOREGION_MAX_RULES		64
#define KVM_IOREGION_MAX_REGISTERS	65536

/* A read loads the register at `offset`, a write stores it. */
#define KVM_IOREGION_RULE_PLAIN		0
/* A write clears the bits that are set in its data in the register at `target`. */
#define KVM_IOREGION_RULE_W1C		1
/* A write signals the eventfd `fd`; or, if `fd` is -1, goes to the device as a posted write. */
#define KVM_IOREGION_RULE_DOORBELL	2

#define KVM_IOREGION_RULE_READ		(1U << 0)	/* matches reads; plain only */
#define KVM_IOREGION_RULE_WRITE		(1U << 1)	/* matches writes */
#define KVM_IOREGION_RULE_DATAMATCH	(1U << 2)	/* only writes of `datamatch`; doorbell only */

struct kvm_ioregion_rule {
	__u32 offset;		/* in the region, a multiple of size */
	__u32 size;		/* bytes: 1, 2, 4 or 8 */
	__u32 kind;		/* KVM_IOREGION_RULE_PLAIN, _W1C, _DOORBELL */
	__u32 flags;		/* KVM_IOREGION_RULE_READ, _WRITE, _DATAMATCH */
	__u32 target;		/* W1C: offset of the register, a multiple of size; else 0 */
	__s32 fd;		/* doorbell: an eventfd, or -1; else -1 */
	__u64 datamatch;	/* 0 without KVM_IOREGION_RULE_DATAMATCH */
};

struct kvm_ioregion_rules {
	__u64 guest_paddr;	/* the region, as it was set */
	__u64 memory_size;
	/*
	 * The registers of plain and W1C rules: memory of the caller, memory_size
	 * bytes from a page boundary on, shared with the device process. KVM pins
	 * its pages. 0 if no rule needs it.
	 */
	__u64 registers;
	__u64 rules;		/* address of nr_rules struct kvm_ioregion_rule */
	__u32 nr_rules;		/* 0 removes all rules */
	__u32 flags;		/* KVM_IOREGION_PIO as of the region, else zero */
	__u8 pad[24];		/* zero */
};

#define IOREGIONFD_CMD_READ		0
#define IOREGIONFD_CMD_WRITE		1

#define IOREGIONFD_SIZE_8BIT		0
#define IOREGIONFD_SIZE_16BIT		1
#define IOREGIONFD_SIZE_32BIT		2
#define IOREGIONFD_SIZE_64BIT		3

/* KVM to device. Host byte order. */
struct ioregionfd_cmd {
	__u8 cmd;			/* IOREGIONFD_CMD_* */
	__u8 size_exponent : 4;		/* IOREGIONFD_SIZE_*; 0 for a doorbell */
	__u8 resp : 1;			/* a reply is expected */
	__u8 padding[6];		/* zero */
	__u64 user_data;		/* of the region */
	__u64 offset;			/* from the start of the region */
	__u64 data;			/* of a write, zero-extended */
};

/* Device to KVM: one for each command with resp set, in the order of the commands. */
struct ioregionfd_resp {
	__u64 data;			/* of a read; the command's size counts, higher bytes are ignored */
	__u8 pad[24];
};

/*
 * VM ioctl: create a channel in shared memory, for regions with
 * KVM_IOREGION_CHANNEL. Returns its file descriptor, to be passed to the device
 * process. When no process has it open or mapped any more, the device is gone.
 */
#define KVM_CREATE_IOREGION_CHANNEL	_IOW(0xAE, 0xf9, struct kvm_ioregion_channel)

struct kvm_ioregion_channel {
	__u32 slots;		/* of the ring: a power of two, up to 4096 */
	__u32 vcpus;		/* vCPUs 0 to vcpus - 1 may use it, up to 1024 */
	__u32 flags;		/* zero */
	__u32 pad;		/* zero */
};

/*
 * mmap() of a channel: the kernel's area at offset 0, read-only; the device's
 * area at this offset. Documentation/channel.md says what is in them.
 */
#define IOREGION_CHANNEL_DEVICE_AREA	(1UL << 30)

/*
 * ioctl() of a channel. Both wake the vCPU that the argument names, and who
 * waits for room in the ring; WAIT then sleeps until an access is in the ring.
 */
#define IOREGION_CHANNEL_WAIT		_IO(0xAE, 0xfa)
#define IOREGION_CHANNEL_WAKE		_IO(0xAE, 0xfb)
#define IOREGION_CHANNEL_NO_VCPU	0xffffffffUL

/*
 * kvm_run.exit_reason: a region's device did not complete an access.
 *
 * kvm_run.mmio (or kvm_run.io, with KVM_IOREGION_PIO in flags) describes the
 * whole access, exactly as KVM_EXIT_MMIO (KVM_EXIT_IO) would. Its first `done`
 * bytes are complete. The VMM completes the rest as it would for that exit:
 * for a read it stores the data in kvm_run.mmio.data (or in the PIO page);
 * the next KVM_RUN finishes the instruction.
 */
#define KVM_EXIT_IOREGIONFD_FAILURE	0x10f8

/* The device may have seen the access: it was sent, and no reply came. */
#define IOREGIONFD_FAILURE_SENT		(1U << 31)

struct kvm_ioregionfd_failure {		/* at kvm_run.mmio, kvm_run.io */
	__u8 access[32];		/* kvm_run.mmio or kvm_run.io */
	__u64 guest_paddr;		/* the region, as it was set */
	__u64 memory_size;
	__u64 user_data;
	__u64 offset;			/* of the failed piece in the region */
	__u64 data;			/* of a write */
	__u32 size;			/* bytes of the failed piece: 1, 2, 4 or 8; 0 for a doorbell */
	__u32 is_write;
	__u32 done;			/* bytes of the access that are complete */
	__s32 error;			/* errno, positive; see Documentation/ioregion.md */
	__u32 flags;			/* the region's KVM_IOREGION_*, IOREGIONFD_FAILURE_SENT */
	__u32 reserved;
};

#endif /* _UAPI_LINUX_IOREGION_H */
