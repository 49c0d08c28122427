/* SPDX-License-Identifier: GPL-2.0-only */
/* What rust/hpet_msi_timer needs of C. Rust sees the structure as opaque. */
#ifndef SHUNT_HPET_MSI_TIMER_HELPERS_H
#define SHUNT_HPET_MSI_TIMER_HELPERS_H

struct shunt_hpet_msi;

struct shunt_hpet_msi *shunt_hpet_msi_start(int eventfd, int *error);
void shunt_hpet_msi_stop(struct shunt_hpet_msi *msi);
int shunt_hpet_msi_map(void *area);

#endif
