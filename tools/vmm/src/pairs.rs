// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `key=value` pairs, separated by commas: what the options for disks and devices are made of.

use std::fmt;

/// Why such an option is none. Displays the key or value that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadSpec {
    /// Not one of the keys: what there are.
    UnknownKey(String, &'static [&'static str]),
    /// A key without a value.
    NoValue(&'static str),
    /// A flag with a value.
    Value(&'static str),
    /// A key that is there twice.
    Twice(&'static str),
    /// A key that must be there.
    Missing(&'static str),
    /// A key that this dispatch must have.
    Needs(&'static str, &'static str),
    /// A key that this dispatch does not have.
    NotWith(&'static str, &'static str),
    /// `posted=on` beside rules, which have notifications posted or signalled.
    PostedWithRules,
    /// `reads=shadow` beside `pci`: registers that a memory slot cannot have.
    ShadowOnPci,
    /// A value that the key does not have: key, value, what there is.
    BadValue(&'static str, String, &'static str),
}

impl fmt::Display for BadSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey(key, keys) => {
                write!(f, "unknown key '{key}'; there are {}", keys.join(", "))
            }
            Self::NoValue(key) => write!(f, "'{key}' needs a value: {key}=..."),
            Self::Value(key) => write!(f, "'{key}' takes no value"),
            Self::Twice(key) => write!(f, "'{key}' is there twice"),
            Self::Missing(key) => write!(f, "'{key}=' is missing"),
            Self::Needs(key, dispatch) => write!(f, "dispatch={dispatch} needs '{key}='"),
            Self::NotWith(key, dispatch) => {
                write!(f, "'{key}' does not go with dispatch={dispatch}")
            }
            Self::PostedWithRules => {
                write!(
                    f,
                    "posted=on does not go with rules=on: by rule, no notification waits"
                )
            }
            Self::ShadowOnPci => write!(f, "reads=shadow does not go with 'pci'"),
            Self::BadValue(key, value, choices) => {
                write!(f, "{key}={value}: '{key}' is one of {choices}")
            }
        }
    }
}

impl std::error::Error for BadSpec {}

/// What an option is made of.
pub(crate) struct Keys {
    /// All of its keys.
    pub(crate) all: &'static [&'static str],
    /// Those of them without a value.
    pub(crate) flags: &'static [&'static str],
}

/// The pairs of one option; taken out one by one, so that what is left does not belong there.
pub(crate) struct Pairs(Vec<(&'static str, String)>);

impl Pairs {
    /// The pairs of `text`, each with one of `keys`.
    ///
    /// # Errors
    ///
    /// A key that is none of them, or is there twice, or has no value where one belongs.
    pub(crate) fn parse(text: &str, keys: &Keys) -> Result<Self, BadSpec> {
        let mut pairs: Vec<(&'static str, String)> = Vec::new();
        for pair in text.split(',') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let mut known = keys.all.iter().copied();
            let key = known
                .find(|key| *key == name)
                .ok_or_else(|| BadSpec::UnknownKey(name.to_owned(), keys.all))?;
            match (keys.flags.contains(&key), pair.contains('=')) {
                (true, true) => return Err(BadSpec::Value(key)),
                (false, _) if value.is_empty() => return Err(BadSpec::NoValue(key)),
                _ => {}
            }
            if pairs.iter().any(|(other, _)| *other == key) {
                return Err(BadSpec::Twice(key));
            }
            pairs.push((key, value.to_owned()));
        }
        Ok(Self(pairs))
    }

    /// The value of `key`, if it is there.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<String> {
        let at = self.0.iter().position(|(other, _)| *other == key)?;
        Some(self.0.swap_remove(at).1)
    }

    /// The value of `key`, which this dispatch must have.
    pub(crate) fn need(
        &mut self,
        key: &'static str,
        dispatch: &'static str,
    ) -> Result<String, BadSpec> {
        self.take(key).ok_or(BadSpec::Needs(key, dispatch))
    }

    /// The choice that `key` names.
    pub(crate) fn choose<T: Copy>(
        &mut self,
        key: &'static str,
        default: T,
        names: &'static str,
        choices: &[(&str, T)],
    ) -> Result<T, BadSpec> {
        let Some(value) = self.take(key) else {
            return Ok(default);
        };
        choices
            .iter()
            .find(|(name, _)| *name == value)
            .map(|(_, choice)| *choice)
            .ok_or(BadSpec::BadValue(key, value, names))
    }

    /// Whether all were taken; a key that was not does not go with this dispatch.
    pub(crate) fn none_left(self, dispatch: &'static str) -> Result<(), BadSpec> {
        match self.0.first() {
            Some((key, _)) => Err(BadSpec::NotWith(key, dispatch)),
            None => Ok(()),
        }
    }
}
