// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Context switches of this process and of another.

use std::fs;

use anyhow::{Context, Result};

/// How often this process and the process `companion` have been switched out so far,
/// voluntarily or not.
///
/// # Errors
///
/// `/proc` is not mounted, or the process is gone.
pub(crate) fn total(companion: Option<u32>) -> Result<u64> {
    let own = of("self")?;
    let other = companion.map(|pid| of(&pid.to_string())).transpose()?;
    Ok(own + other.unwrap_or(0))
}

fn of(process: &str) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    parse(&status).with_context(|| format!("{path} has no count of context switches"))
}

fn parse(status: &str) -> Option<u64> {
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    Some(field("voluntary_ctxt_switches:")? + field("nonvoluntary_ctxt_switches:")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_count() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t40\nnonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(parse(status), Some(42));
        assert_eq!(parse("Name:\tx\n"), None);
    }
}
