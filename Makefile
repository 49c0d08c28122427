# SPDX-License-Identifier: GPL-2.0-only
#
# The front door. What is done where: tools/setup gets the machine, the kernel and the
# modules ready and checks the code; tools/lab builds images, boots and judges.
#
#   DEBUG=1        with the kernel's sanitizers and lock checking
#   REFRESH=1      ask for a newer kernel source although one is cached
#   KERNEL_SRC=    another Linux 7.3 tree or tarball
#   MATRIX=        of eval: full, faults, or a file like those in tools/lab/eval [reduced]
#   LAB=bochs      `make test` in an emulator of Intel's processors, and nothing else
#   FOR=           seconds of fuzzing in all [120]
#   SHUNT_CACHE=   where results outlive the checkout [~/.cache/shunt]

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

cargo := cargo
built := $(or $(CARGO_TARGET_DIR),tools/target)/release
setup := $(built)/setup
lab   := $(built)/lab
wish  := $(if $(DEBUG),--debug) $(if $(REFRESH),--refresh)

.PHONY: run test bench eval fuzz miri shell guest kernel modules check fmt host clean distclean help rust toolchain

run: modules ## Boot host, module, device process and a Linux guest; verify the guest's disk
	@$(lab) run

ifeq ($(LAB),bochs)
test: modules
	@$(setup) bochs
	@$(lab) test --only bochs
else
test: rust ## Run every check and test; the last line sums up
	@$(setup) test $(wish)
endif

bench: modules ## Count instructions per access into out/bench/results.json
	@$(setup) control
	@$(setup) mended-qemu
	@$(lab) bench

eval: modules ## Load, latency and loss of network devices into out/eval
	@$(setup) mended-qemu
	@$(lab) eval $(if $(MATRIX),--matrix $(MATRIX))

fuzz: toolchain ## Fuzz the pure crates for FOR=120 seconds; keep new inputs
	@$(cargo) run --release --quiet --manifest-path tools/Cargo.toml --package fuzz -- $(if $(FOR),--seconds $(FOR))

miri: rust ## Test the pure crates under Miri, where nightly Rust has it
	@$(setup) miri

shell: modules ## A shell in the host under test (L1)
	@$(lab) shell

guest: modules ## The console of a Linux guest (L2)
	@$(lab) guest

kernel: host ## Get, patch and build the kernel; link it as out/kernel
	@$(setup) kernel $(wish)

modules: kernel ## Build the kernel modules into out/modules
	@$(setup) modules

check: kernel ## Formatting, lints, patch series, layer fences
	@$(setup) check

fmt: rust ## Format all Rust code
	@$(cargo) fmt --manifest-path tools/Cargo.toml --all
	@$(setup) format

host: rust ## Install what the machine lacks
	@$(setup) host $(if $(DEBUG),--debug)

# Compiles what the other targets run, both at once, so that what they share is shared.
rust: toolchain
	@$(cargo) build --release --manifest-path tools/Cargo.toml --package setup --package lab

toolchain:
	@tools/setup/bootstrap.sh

clean: ## Remove what was built in the checkout
	rm -rf out
	$(cargo) clean --quiet --manifest-path tools/Cargo.toml

distclean: rust ## Remove that and our cache outside the checkout
	@$(setup) purge
	@$(MAKE) clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12
