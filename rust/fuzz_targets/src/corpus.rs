// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Saved inputs of a target: a line of hexadecimal digits for each. A line that begins with `#` is
//! a remark about the next one, which is then kept when the others are minimised.

use crate::{
    outcome::{
        Broken,
        Digest, //
    },
    Target, //
};

/// Most bytes of a saved input.
pub const MAX_INPUT: usize = 256;

/// The saved inputs of a target.
#[derive(Clone, Copy, Debug)]
pub struct Corpus {
    text: &'static str,
}

/// Why an input does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A line is not an even number of digits, [`MAX_INPUT`] bytes at most.
    Line,
    /// A promise is broken.
    Broken(Broken),
}

/// An input that does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Line of the corpus, from 1.
    pub line: usize,
    /// What is wrong.
    pub flaw: Flaw,
}

/// What a corpus led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Inputs.
    pub inputs: usize,
    /// Everything that the target saw.
    pub digest: Digest,
}

/// An input with the bytes in it.
struct Saved {
    bytes: [u8; MAX_INPUT],
    length: usize,
}

impl Corpus {
    /// The corpus in a text.
    pub const fn new(text: &'static str) -> Self {
        Self { text }
    }

    /// Its lines that hold inputs, with their numbers from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &'static str)> {
        (1..)
            .zip(self.text.lines())
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
    }
}

/// Runs a target on each input of its corpus.
///
/// # Errors
///
/// The first input that does not pass.
pub fn replay(target: &Target) -> Result<Summary, Failure> {
    replay_lines(target, target.corpus.lines())
}

fn replay_lines(
    target: &Target,
    lines: impl Iterator<Item = (usize, &'static str)>,
) -> Result<Summary, Failure> {
    let mut summary = Summary {
        inputs: 0,
        digest: Digest::default(),
    };
    for (line, text) in lines {
        let fail = |flaw| Failure { line, flaw };
        let saved = Saved::parse(text).ok_or(fail(Flaw::Line))?;
        target
            .run(&saved.bytes[..saved.length], &mut summary.digest)
            .map_err(|broken| fail(Flaw::Broken(broken)))?;
        summary.inputs += 1;
    }
    Ok(summary)
}

impl Saved {
    fn parse(text: &str) -> Option<Self> {
        let pairs = text.as_bytes().chunks_exact(2);
        let mut saved = Self {
            bytes: [0; MAX_INPUT],
            length: text.len() / 2,
        };
        if !pairs.remainder().is_empty() || saved.length > MAX_INPUT {
            return None;
        }
        for (byte, pair) in saved.bytes.iter_mut().zip(pairs) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(saved)
    }
}

fn digit(letter: u8) -> Option<u8> {
    let value = char::from(letter).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TARGETS;

    #[test]
    fn every_saved_input_passes() {
        // Miri takes a second for an input.
        let step = if cfg!(miri) { 8 } else { 1 };
        for target in &TARGETS {
            let lines = target.corpus.lines().step_by(step);
            let summary = replay_lines(target, lines).unwrap_or_else(|failure| {
                panic!("{}, line {}: {:?}", target.name, failure.line, failure.flaw)
            });
            assert!(summary.inputs > 0, "{} has no corpus", target.name);
        }
    }

    #[test]
    fn all_corpora_are_small() {
        let sizes = TARGETS.iter().map(|target| target.corpus.text.len());
        assert!(sizes.sum::<usize>() <= 300_000);
    }

    #[test]
    fn what_breaks_a_promise_is_named_by_its_line() {
        let target = Target {
            name: "odd",
            run: |input, _| crate::outcome::hold(input.u8() % 2 == 0, "even"),
            corpus: Corpus::new("# a remark\n02\n03ff\n04"),
        };
        let flaw = Flaw::Broken(Broken("even"));
        assert_eq!(replay(&target), Err(Failure { line: 3, flaw }));
    }

    #[test]
    fn what_is_no_input_is_refused() {
        assert!(Saved::parse("").is_some());
        assert!(Saved::parse(&"00".repeat(MAX_INPUT)).is_some());
        for text in ["0", "0g", "é", &"00".repeat(MAX_INPUT + 1)] {
            assert!(Saved::parse(text).is_none(), "{text}");
        }
    }
}
