// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a test is, and which there are.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use ioregion_wire::uapi::KVM_CAP_IOREGIONFD;
use kvm_ioctls::Kvm;
use module_tests::verdict::Skip;

use crate::cases;

/// What the tests are given.
pub(crate) struct Context {
    /// File of ioregion.ko.
    pub(crate) module: Option<PathBuf>,
    /// How many times as slow as an ordinary kernel this one is.
    pub(crate) slower: u32,
}

impl Context {
    /// How often to repeat what takes an ordinary kernel `count` times to be worth it.
    pub(crate) fn times(&self, count: u32) -> u32 {
        count / self.slower
    }

    /// How long a vCPU is left alone in a storm of signals: long enough to get into the module and
    /// sleep there.
    pub(crate) fn between_signals(&self) -> Duration {
        Duration::from_millis(2) * self.slower
    }
}

/// What a test cannot do without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// A KVM that makes VMs.
    Kvm,
    /// ioregion.ko, loaded.
    Ioregion,
}

/// One test.
pub(crate) struct Test {
    /// `theme.name`.
    pub(crate) name: &'static str,
    /// Checked before it runs.
    pub(crate) needs: Needs,
    /// Succeeds, fails with the reason, or fails with [`Skip`].
    pub(crate) run: fn(&Context) -> Result<()>,
}

/// The tests of a theme: `tests!("api", Ioregion, [name, name])` names functions in scope.
macro_rules! tests {
    ($theme:literal, $needs:ident, [$($name:ident),+ $(,)?]) => {
        /// The tests of this theme.
        pub(crate) const TESTS: &[$crate::suite::Test] = &[$(
            $crate::suite::Test {
                name: concat!($theme, ".", stringify!($name)),
                needs: $crate::suite::Needs::$needs,
                run: $name,
            }
        ),+];
    };
}
pub(crate) use tests;

/// All tests, in the order in which they run.
pub(crate) fn all() -> impl Iterator<Item = &'static Test> {
    cases::THEMES.iter().copied().flatten()
}

/// The tests whose name contains one of the filters; all when there is none.
pub(crate) fn select(filters: &[String]) -> Vec<&'static Test> {
    let wanted = |test: &&Test| {
        filters.is_empty()
            || filters
                .iter()
                .any(|filter| test.name.contains(filter.as_str()))
    };
    all().filter(wanted).collect()
}

impl Test {
    /// Runs it, if the machine has what it needs.
    pub(crate) fn attempt(&self, context: &Context) -> Result<()> {
        let missing = |what: String| Err(Skip(what).into());
        let vm = match Kvm::new().and_then(|kvm| kvm.create_vm()) {
            Ok(vm) => vm,
            Err(error) => return missing(format!("KVM makes no VM: {error}")),
        };
        if self.needs == Needs::Ioregion && vm.check_extension_raw(KVM_CAP_IOREGIONFD.into()) <= 0 {
            return missing("KVM has no ioregionfd: is ioregion.ko loaded?".into());
        }
        drop(vm);
        (self.run)(context)
    }
}
