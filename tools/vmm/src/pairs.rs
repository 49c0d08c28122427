// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `key=value` pairs, separated by commas.

use std::fmt;

/// Why a `--disk` is none. Displays the key or value that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadDisk {
    /// Not one of the keys.
    UnknownKey(String),
    /// A key without a value, or a flag with one.
    Value(String),
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
    /// A value that the key does not have: key, value, what there is.
    BadValue(&'static str, String, &'static str),
}

impl fmt::Display for BadDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey(key) => {
                write!(f, "unknown key '{key}'; there are {}", KEYS.join(", "))
            }
            Self::Value(key) if FLAGS.contains(&key.as_str()) => {
                write!(f, "'{key}' takes no value")
            }
            Self::Value(key) => write!(f, "'{key}' needs a value: {key}=..."),
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
            Self::BadValue(key, value, choices) => {
                write!(f, "{key}={value}: '{key}' is one of {choices}")
            }
        }
    }
}

impl std::error::Error for BadDisk {}

pub(super) const READONLY: &str = "readonly";
pub(super) const PACKED: &str = "packed";
pub(super) const IN_ORDER: &str = "in-order";
pub(super) const NOTIFICATION_DATA: &str = "notification-data";

/// Those without a value.
const FLAGS: [&str; 4] = [READONLY, PACKED, IN_ORDER, NOTIFICATION_DATA];
const KEYS: [&str; 14] = [
    "image",
    "socket",
    "dispatch",
    READONLY,
    PACKED,
    IN_ORDER,
    NOTIFICATION_DATA,
    "tier",
    "notify",
    "channel",
    "posted",
    "reads",
    "rules",
    "timeout",
];

/// The pairs of one option; taken out one by one, so that what is left does not belong there.
pub(super) struct Pairs(Vec<(&'static str, String)>);

impl Pairs {
    pub(super) fn parse(text: &str) -> Result<Self, BadDisk> {
        let mut pairs: Vec<(&'static str, String)> = Vec::new();
        for pair in text.split(',') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = KEYS
                .into_iter()
                .find(|key| *key == name)
                .ok_or_else(|| BadDisk::UnknownKey(name.to_owned()))?;
            if value.is_empty() != FLAGS.contains(&key) || pair.ends_with('=') {
                return Err(BadDisk::Value(key.to_owned()));
            }
            if pairs.iter().any(|(other, _)| *other == key) {
                return Err(BadDisk::Twice(key));
            }
            pairs.push((key, value.to_owned()));
        }
        Ok(Self(pairs))
    }

    pub(super) fn take(&mut self, key: &'static str) -> Option<String> {
        let at = self.0.iter().position(|(other, _)| *other == key)?;
        Some(self.0.swap_remove(at).1)
    }

    pub(super) fn need(
        &mut self,
        key: &'static str,
        dispatch: &'static str,
    ) -> Result<String, BadDisk> {
        self.take(key).ok_or(BadDisk::Needs(key, dispatch))
    }

    /// The choice that `key` names.
    pub(super) fn choose<T: Copy>(
        &mut self,
        key: &'static str,
        default: T,
        names: &'static str,
        choices: &[(&str, T)],
    ) -> Result<T, BadDisk> {
        let Some(value) = self.take(key) else {
            return Ok(default);
        };
        choices
            .iter()
            .find(|(name, _)| *name == value)
            .map(|(_, choice)| *choice)
            .ok_or(BadDisk::BadValue(key, value, names))
    }

    pub(super) fn none_left(self, dispatch: &'static str) -> Result<(), BadDisk> {
        match self.0.first() {
            Some((key, _)) => Err(BadDisk::NotWith(key, dispatch)),
            None => Ok(()),
        }
    }
}
