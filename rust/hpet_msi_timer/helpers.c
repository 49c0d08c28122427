// SPDX-License-Identifier: GPL-2.0-only
/*
 * A timer of the HPET as a device to assign (IA-PC HPET specification 1.0a,
 * 2.3.4 and 2.3.8): its interrupt is a message, as that of a PCI device, and
 * whoever has the registers mapped raises it. As VFIO's, it signals an eventfd
 * and is a producer of irqbypass.
 */
#include <linux/acpi.h>
#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/eventfd.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/irqbypass.h>
#include <linux/irqdomain.h>
#include <linux/mm.h>
#include <linux/msi.h>
#include <linux/slab.h>
#include <asm/hpet.h>
#include <asm/hw_irq.h>
#include <asm/irqdomain.h>

#include "helpers.h"

/* The kernel itself uses the first two, for ticks and as the RTC. */
#define TIMER	2

#define NAME	"hpet-msi"

struct shunt_hpet_msi {
	void __iomem *registers;
	struct fwnode_handle *fwnode;
	struct irq_domain *domain;
	struct eventfd_ctx *eventfd;
	struct irq_bypass_producer producer;
	int irq;
};

/* There is one timer. */
static atomic_t in_use = ATOMIC_INIT(0);

static phys_addr_t hpet_base(void)
{
	struct acpi_table_header *table;
	phys_addr_t base;

	if (ACPI_FAILURE(acpi_get_table(ACPI_SIG_HPET, 0, &table)))
		return 0;

	base = ((struct acpi_table_hpet *)table)->address.address;
	acpi_put_table(table);
	return base;
}

static void configure(struct irq_data *data, u32 clear, u32 set)
{
	struct shunt_hpet_msi *msi = irq_data_get_irq_chip_data(data);
	void __iomem *config = msi->registers + HPET_Tn_CFG(TIMER);

	writel((readl(config) & ~clear) | set, config);
}

static void mask(struct irq_data *data)
{
	configure(data, HPET_TN_ENABLE, 0);
}

static void unmask(struct irq_data *data)
{
	configure(data, HPET_TN_PERIODIC | HPET_TN_LEVEL | HPET_TN_32BIT,
		  HPET_TN_ENABLE | HPET_TN_FSB);
}

static void write_message(struct irq_data *data)
{
	struct shunt_hpet_msi *msi = irq_data_get_irq_chip_data(data);
	struct irq_data *parent = data->parent_data;
	struct msi_msg message = {};

	parent->chip->irq_compose_msi_msg(parent, &message);
	writel(message.data, msi->registers + HPET_Tn_ROUTE(TIMER));
	writel(message.address_lo, msi->registers + HPET_Tn_ROUTE(TIMER) + 4);
}

static int set_affinity(struct irq_data *data, const struct cpumask *cpus, bool force)
{
	int ret = irq_chip_set_affinity_parent(data, cpus, force);

	if (ret >= 0)
		write_message(data);
	return ret;
}

static struct irq_chip chip = {
	.name = NAME,
	.irq_mask = mask,
	.irq_unmask = unmask,
	.irq_ack = irq_chip_ack_parent,
	.irq_set_affinity = set_affinity,
	.irq_retrigger = irq_chip_retrigger_hierarchy,
};

static int allocate(struct irq_domain *domain, unsigned int irq, unsigned int count, void *info)
{
	int ret = irq_domain_alloc_irqs_parent(domain, irq, count, info);

	if (!ret)
		irq_domain_set_info(domain, irq, 0, &chip, domain->host_data, handle_edge_irq,
				    NULL, NULL);
	return ret;
}

static int activate(struct irq_domain *domain, struct irq_data *data, bool reserve)
{
	write_message(data);
	return 0;
}

static const struct irq_domain_ops domain_ops = {
	.alloc = allocate,
	.free = irq_domain_free_irqs_common,
	.activate = activate,
};

static irqreturn_t handle(int irq, void *data)
{
	struct shunt_hpet_msi *msi = data;

	eventfd_signal(msi->eventfd);
	return IRQ_HANDLED;
}

static int start_interrupt(struct shunt_hpet_msi *msi)
{
	struct irq_alloc_info info = { .type = X86_IRQ_ALLOC_TYPE_HPET };

	msi->fwnode = irq_domain_alloc_named_fwnode(NAME);
	if (!msi->fwnode)
		return -ENOMEM;
	msi->domain = irq_domain_create_hierarchy(x86_vector_domain, 0, 1, msi->fwnode,
						  &domain_ops, msi);
	if (!msi->domain)
		return -ENOMEM;
	msi->irq = irq_domain_alloc_irqs(msi->domain, 1, NUMA_NO_NODE, &info);
	if (msi->irq < 0)
		return msi->irq;
	return request_irq(msi->irq, handle, 0, NAME, msi);
}

static void release(struct shunt_hpet_msi *msi)
{
	if (msi->irq > 0)
		irq_domain_free_irqs(msi->irq, 1);
	if (msi->domain)
		irq_domain_remove(msi->domain);
	if (msi->fwnode)
		irq_domain_free_fwnode(msi->fwnode);
	if (msi->eventfd)
		eventfd_ctx_put(msi->eventfd);
	iounmap(msi->registers);
	kfree(msi);
	atomic_set(&in_use, 0);
}

static int start(struct shunt_hpet_msi *msi, int eventfd)
{
	struct eventfd_ctx *context = eventfd_ctx_fdget(eventfd);
	int ret;

	if (IS_ERR(context))
		return PTR_ERR(context);
	msi->eventfd = context;

	msi->registers = ioremap(hpet_base(), PAGE_SIZE);
	if (!msi->registers)
		return -ENODEV;

	ret = start_interrupt(msi);
	if (ret)
		return ret;

	ret = irq_bypass_register_producer(&msi->producer, msi->eventfd, msi->irq);
	if (ret)
		free_irq(msi->irq, msi);
	return ret;
}

/* -ENODEV if there is no HPET, -EBUSY if the timer is in use. */
struct shunt_hpet_msi *shunt_hpet_msi_start(int eventfd, int *error)
{
	struct shunt_hpet_msi *msi;

	*error = -EBUSY;
	if (atomic_xchg(&in_use, 1))
		return NULL;

	msi = kzalloc(sizeof(*msi), GFP_KERNEL);
	if (!msi) {
		atomic_set(&in_use, 0);
		*error = -ENOMEM;
		return NULL;
	}

	*error = start(msi, eventfd);
	if (!*error)
		return msi;
	release(msi);
	return NULL;
}

void shunt_hpet_msi_stop(struct shunt_hpet_msi *msi)
{
	irq_bypass_unregister_producer(&msi->producer);
	free_irq(msi->irq, msi);
	release(msi);
}

/* Puts the page of the HPET's registers into a struct vm_area_struct. */
int shunt_hpet_msi_map(void *area)
{
	struct vm_area_struct *vma = area;
	phys_addr_t base = hpet_base();

	if (!base)
		return -ENODEV;

	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	return vm_iomap_memory(vma, base, PAGE_SIZE);
}
