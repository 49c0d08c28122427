#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Says what is missing before anything of ours can be compiled. Everything else is the
# business of the program that is compiled then.

need_major=1
need_minor=85
failed=0

complain() {
	echo "$1" >&2
	failed=1
}

for tool in cargo rustc; do
	if ! command -v "$tool" >/dev/null 2>&1; then
		complain "$tool is missing: install Rust $need_major.$need_minor or newer (rustup, or your distribution's packages cargo and rustc)"
	fi
done

if [ "$failed" = 0 ]; then
	version=$(rustc --version | cut -d ' ' -f 2)
	major=${version%%.*}
	rest=${version#*.}
	minor=${rest%%.*}
	if [ "$major" -lt "$need_major" ] ||
		{ [ "$major" = "$need_major" ] && [ "$minor" -lt "$need_minor" ]; }; then
		complain "rustc $version is too old: $need_major.$need_minor or newer is needed (rustup update, or a newer package)"
	fi
fi

if ! command -v cc >/dev/null 2>&1; then
	complain "cc is missing, which links every Rust program: on Debian, apt-get install gcc libc6-dev"
fi

exit "$failed"
