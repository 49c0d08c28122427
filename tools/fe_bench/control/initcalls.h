/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/module.h>

/* As <linux/module.h> has it, but for functions whose names are macros. */
#undef module_init
#define module_init(initfn)						\
	int init_module(void) __copy(initfn)				\
		__attribute__((alias(__stringify(initfn))));		\
	___ADDRESSABLE(init_module, __initdata)

#undef core_initcall
#define core_initcall(initfn) module_init(initfn)
