// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Reads KTAP (`Documentation/dev-tools/ktap.rst` of the kernel), strictly: a
//! missing plan, a wrong count, a number out of order or a bail-out is a failure.

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It did what it should.
    Passed,
    /// It did not, for this reason.
    Failed(String),
    /// It could not run, for this reason.
    Skipped(String),
}

/// One test without subtests, its parents' names before its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
}

/// Reads the whole output of a test program. What is wrong with the output itself is one
/// more failed test, called after `program`.
pub(crate) fn parse(program: &str, lines: &[String]) -> Vec<Test> {
    let mut reader = Reader {
        lines,
        next: 0,
        wrong: Vec::new(),
        notes: Vec::new(),
    };
    let mut tests = reader.block(0);
    if let Some(line) = reader
        .lines
        .iter()
        .find(|l| l.trim_start().starts_with("Bail out!"))
    {
        reader.wrong.push(line.trim().to_owned());
    }
    tests.extend(reader.wrong.into_iter().map(|what| Test {
        name: program.to_owned(),
        verdict: Verdict::Failed(what),
    }));
    tests
}

/// A line that says how a test ended.
struct ResultLine<'a> {
    passed: bool,
    number: u32,
    name: &'a str,
    directive: Option<(&'a str, &'a str)>,
}

impl<'a> ResultLine<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (passed, rest) = match text.strip_prefix("not ok ") {
            Some(rest) => (false, rest),
            None => (true, text.strip_prefix("ok ")?),
        };
        let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let (name, directive) = match rest.split_once('#') {
            Some((name, directive)) => {
                let directive = directive.trim();
                (
                    name,
                    Some(directive.split_once(' ').unwrap_or((directive, ""))),
                )
            }
            None => (rest, None),
        };
        let name = name.trim().trim_start_matches("- ");
        let number = number.parse().ok()?;
        Some(Self {
            passed,
            number,
            name,
            directive,
        })
    }

    fn verdict(&self, notes: &[String]) -> Verdict {
        match self.directive {
            Some((word, reason)) if self.passed && word.eq_ignore_ascii_case("skip") => {
                Verdict::Skipped(reason.to_owned())
            }
            _ if self.passed => Verdict::Passed,
            Some((word, reason)) => Verdict::Failed(format!("{word} {reason}").trim().to_owned()),
            None => Verdict::Failed(notes.join("; ")),
        }
    }
}

struct Reader<'a> {
    lines: &'a [String],
    next: usize,
    /// What is wrong with the output.
    wrong: Vec<String>,
    /// Diagnostic lines since the last result.
    notes: Vec<String>,
}

impl Reader<'_> {
    /// Reads the results at one depth of indentation, and the deeper ones among them.
    fn block(&mut self, depth: usize) -> Vec<Test> {
        let (mut tests, mut children) = (Vec::new(), Vec::new());
        let (mut plan, mut seen) = (None, 0);
        while let Some(line) = self.lines.get(self.next) {
            let text = line.trim_start();
            let indent = line.len() - text.len();
            let is_ours = indent == depth;
            if is_structure(text) && indent < depth {
                break;
            }
            if is_structure(text) && indent > depth {
                children.append(&mut self.block(indent));
                continue;
            }
            self.next += 1;
            if let Some(note) = text.strip_prefix('#') {
                self.notes.push(note.trim().to_owned());
            } else if let Some(count) = plan_of(text).filter(|_| is_ours) {
                plan = Some(count);
            } else if let Some(result) = ResultLine::parse(text).filter(|_| is_ours) {
                seen += 1;
                if result.number != seen {
                    self.wrong.push(format!(
                        "result {} of {:?} should be {seen}",
                        result.number, result.name
                    ));
                }
                tests.append(&mut self.conclude(&result, &mut children));
            }
        }
        match plan {
            None => self.wrong.push("there is no plan (1..N)".to_owned()),
            Some(plan) if plan != seen => {
                self.wrong
                    .push(format!("{plan} tests were planned, {seen} reported"));
            }
            Some(_) => (),
        }
        tests.append(&mut children);
        tests
    }

    /// A result is a test of its own, or the last word on those before it that were deeper.
    fn conclude(&mut self, result: &ResultLine<'_>, children: &mut Vec<Test>) -> Vec<Test> {
        let verdict = result.verdict(&self.notes);
        self.notes.clear();
        let own = Test {
            name: result.name.to_owned(),
            verdict,
        };
        if children.is_empty() {
            return vec![own];
        }
        let mut tests = std::mem::take(children);
        for test in &mut tests {
            test.name = format!("{}.{}", result.name, test.name);
        }
        let has_failed = |test: &Test| matches!(test.verdict, Verdict::Failed(_));
        if has_failed(&own) && !tests.iter().any(has_failed) {
            tests.push(own);
        }
        tests
    }
}

fn plan_of(text: &str) -> Option<u32> {
    text.strip_prefix("1..")?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Whether this line belongs to the structure, in which indentation counts.
fn is_structure(text: &str) -> bool {
    text.starts_with("KTAP version ")
        || text.starts_with("TAP version ")
        || plan_of(text).is_some()
        || ResultLine::parse(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<Test> {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        parse("program", &lines)
    }

    fn test(name: &str, verdict: Verdict) -> Test {
        let name = name.to_owned();
        Test { name, verdict }
    }

    fn failed(reason: &str) -> Verdict {
        Verdict::Failed(reason.to_owned())
    }

    #[test]
    fn results_skips_and_reasons() {
        let text = "KTAP version 1\n1..4\nok 1 mmio\n# expected 4 bytes\n# found 3\nnot ok 2 pio\n\
                    ok 3 two # SKIP needs two CPUs\nnot ok 4 slow # TIMEOUT 60 s\n";
        let expected = [
            test("mmio", Verdict::Passed),
            test("pio", failed("expected 4 bytes; found 3")),
            test("two", Verdict::Skipped("needs two CPUs".to_owned())),
            test("slow", failed("TIMEOUT 60 s")),
        ];
        assert_eq!(parsed(text), expected);
    }

    #[test]
    fn subtests_bear_their_parents_name() {
        let text =
            "KTAP version 1\n1..2\n  KTAP version 1\n  # Subtest: api\n  1..2\n  ok 1 errors\n\
                    \x20 not ok 2 overlap\nnot ok 1 api\nok 2 - load\n";
        let expected = [
            test("api.errors", Verdict::Passed),
            test("api.overlap", failed("")),
            test("load", Verdict::Passed),
        ];
        assert_eq!(parsed(text), expected);
    }

    #[test]
    fn a_failed_parent_of_passed_subtests_is_a_failure() {
        let text = "1..1\n  1..1\n  ok 1 child\nnot ok 1 parent\n";
        let expected = [
            test("parent.child", Verdict::Passed),
            test("parent", failed("")),
        ];
        assert_eq!(parsed(text), expected);
    }

    #[test]
    fn output_that_breaks_the_rules_fails() {
        for (text, why) in [
            ("", "there is no plan (1..N)"),
            ("ok 1 a\n", "there is no plan (1..N)"),
            ("1..2\nok 1 a\n", "2 tests were planned, 1 reported"),
            ("1..1\nok 2 a\n", "result 2 of \"a\" should be 1"),
            (
                "1..1\nok 1 a\nBail out! no /dev/kvm\n",
                "Bail out! no /dev/kvm",
            ),
            (
                "1..1\n  1..2\n  ok 1 b\nok 1 a\n",
                "2 tests were planned, 1 reported",
            ),
        ] {
            assert!(
                parsed(text).contains(&test("program", failed(why))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn noise_between_results_is_no_result() {
        let text = "KTAP version 1\n1..1\nok, let us begin\nok 1 a\n";
        assert_eq!(parsed(text), [test("a", Verdict::Passed)]);
    }
}
