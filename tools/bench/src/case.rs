// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a case is, and how it is measured.

use anyhow::Result;
use shunt::channel::Transport;

use crate::calibration::round_trip;
use crate::dispatch::{measure_loop, Dispatch};
use crate::module::{Module, Need};
use crate::sample::Figures;

/// One measurement.
pub(crate) struct Case {
    /// Which results it belongs to.
    pub(crate) suite: Suite,
    /// Unique name.
    pub(crate) name: &'static str,
    /// What the figures are for one of.
    pub(crate) per: &'static str,
    /// The case to compare it with.
    pub(crate) control: Option<&'static str>,
    /// What is measured, in a sentence.
    pub(crate) description: &'static str,
    module: Need,
    how: How,
}

/// A set of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// Guest accesses.
    Dispatch,
    /// Their parts, without KVM.
    Calibration,
}

/// How to measure it.
pub(crate) enum How {
    /// Guest accesses.
    Access(Dispatch),
    /// Turns of the guest's loop.
    GuestLoop,
    /// Calls, by a function of their own.
    Call(fn() -> Result<Figures>),
    /// Commands and replies between processes.
    RoundTrip(Transport),
}

impl Suite {
    /// Its name in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Calibration => "calibration",
        }
    }
}

impl Case {
    /// Measures it, with the module loaded or not as it needs.
    pub(crate) fn measure(&self, module: &Module) -> Result<Figures> {
        module.provide(self.module)?;
        match &self.how {
            How::Access(dispatch) => dispatch.measure(),
            How::GuestLoop => measure_loop(),
            How::Call(measure) => measure(),
            How::RoundTrip(transport) => round_trip(*transport),
        }
    }

    /// A case of dispatch, measured with the module loaded.
    pub(crate) const fn access(
        name: &'static str,
        control: Option<&'static str>,
        dispatch: Dispatch,
        description: &'static str,
    ) -> Self {
        let (suite, per) = (Suite::Dispatch, "access");
        let (module, how) = (Need::Loaded, How::Access(dispatch));
        Self {
            suite,
            name,
            per,
            control,
            description,
            module,
            how,
        }
    }

    /// A case of calibration.
    pub(crate) const fn part(
        name: &'static str,
        per: &'static str,
        how: How,
        description: &'static str,
    ) -> Self {
        let (suite, module, control) = (Suite::Calibration, Need::Any, None);
        Self {
            suite,
            name,
            per,
            control,
            description,
            module,
            how,
        }
    }

    /// The same case with the module not loaded.
    pub(crate) const fn without_module(self) -> Self {
        Self {
            module: Need::Absent,
            ..self
        }
    }
}
