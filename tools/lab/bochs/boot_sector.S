/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The boot sector of a disk that Bochs boots Linux from. It reads the parts of
 * the disk that the table at its end names to where they belong, by PIO (ATA-4,
 * 8.27 READ SECTOR(S)), and begins Linux at its 16-bit entry
 * (Documentation/arch/x86/boot.rst).
 *
 * Linux takes to x2APIC without a remapping IOMMU only if the firmware has. So
 * this does.
 */
	.code16

	.set COMMAND_BLOCK, 0x1f0
	.set SECTOR_COUNT, 0x1f2
	.set FIRST_DISK_LBA, 0xe0
	.set READ_SECTORS, 0x20
	.set BUSY_OR_REQUEST, 0x88
	.set REQUEST, 0x08
	.set APIC_BASE_MSR, 0x1b
	.set X2APIC, 0xc00
	.set LINUX, 0x1000		/* segment of what has the 16-bit entry */
	.set LINUX_STACK, 0xe000

	cli
	cld
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss

	/* ES with a limit of 4 GiB, which it keeps in real mode. */
	lgdt	gdt_pointer
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	movw	$8, %bx
	movw	%bx, %es
	andb	$0xfe, %al
	movl	%eax, %cr0

	movw	$parts, %si
next_part:
	movl	(%si), %ebx		/* sector */
	movl	4(%si), %ebp		/* how many */
	movl	8(%si), %edi		/* address */
	addw	$12, %si
	testl	%ebp, %ebp
	jz	start

next_sector:
	movw	$SECTOR_COUNT, %dx
	movb	$1, %al
	outb	%al, %dx
	movl	%ebx, %eax
	movw	$3, %cx
address:
	incw	%dx
	outb	%al, %dx
	shrl	$8, %eax
	loop	address
	orb	$FIRST_DISK_LBA, %al
	incw	%dx
	outb	%al, %dx
	movb	$READ_SECTORS, %al
	incw	%dx
	outb	%al, %dx
wait:
	inb	%dx, %al
	andb	$BUSY_OR_REQUEST, %al
	cmpb	$REQUEST, %al
	jne	wait
	movw	$COMMAND_BLOCK, %dx
	movl	$128, %ecx
	addr32 rep insl
	incl	%ebx
	decl	%ebp
	jnz	next_sector
	jmp	next_part

start:
	movl	$APIC_BASE_MSR, %ecx
	rdmsr
	orw	$X2APIC, %ax
	wrmsr

	movw	$LINUX, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %fs
	movw	%ax, %gs
	movw	%ax, %ss
	movw	$LINUX_STACK, %sp
	ljmp	$(LINUX + 0x20), $0

	.balign 8
gdt:
	.quad	0, 0x00cf93000000ffff
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt

	/* Sector, number of sectors and address of each part, then zeros. */
	.org	0x180
parts:
	.org	510
	.word	0xaa55
