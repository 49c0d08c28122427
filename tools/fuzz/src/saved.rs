// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The saved corpora: a text file in the repository for each target, a line for each input, and
//! the folders of one file for each input that libFuzzer wants.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where a target's corpus is.
pub(crate) fn path(root: &Path, target: &str) -> PathBuf {
    root.join("rust/fuzz_targets/corpus")
        .join(format!("{target}.hex"))
}

/// An empty folder.
///
/// # Errors
///
/// It cannot be made.
pub(crate) fn fresh(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    Ok(folder.to_owned())
}

/// Makes a file in `folder` of each line that is an input. Tells how many there are.
///
/// # Errors
///
/// A line is not an input, or a file cannot be read or written.
pub(crate) fn unpack(corpus: &Path, folder: &Path) -> Result<usize> {
    let text = read(corpus)?;
    let lines: BTreeSet<&str> = inputs(&text).collect();
    for (number, line) in lines.iter().enumerate() {
        let bytes = bytes(line).with_context(|| format!("{}: {line}", corpus.display()))?;
        fs::write(folder.join(number.to_string()), bytes).context("unpacking a corpus")?;
    }
    Ok(lines.len())
}

/// Appends the inputs in `folder` that the corpus lacks. Tells how many it has now.
///
/// # Errors
///
/// A file cannot be read or written.
pub(crate) fn append(corpus: &Path, folder: &Path) -> Result<usize> {
    let mut text = read(corpus)?;
    let known: BTreeSet<String> = inputs(&text).map(str::to_owned).collect();
    let found = pack(folder)?;
    let new: Vec<&String> = found.iter().filter(|line| !known.contains(*line)).collect();
    for line in &new {
        text.push_str(line);
        text.push('\n');
    }
    fs::write(corpus, text).with_context(|| corpus.display().to_string())?;
    Ok(known.len() + new.len())
}

/// Makes the inputs in `folder` the corpus, beside those with a remark. Tells how many it has now.
///
/// # Errors
///
/// A file cannot be read or written.
pub(crate) fn replace(corpus: &Path, folder: &Path) -> Result<usize> {
    let text = read(corpus)?;
    let mut lines = remarked(&text);
    let found = pack(folder)?;
    let is_known = |line: &str| lines.contains(&line);
    let found_lines = found.iter().map(String::as_str);
    let new: Vec<&str> = found_lines.filter(|line| !is_known(line)).collect();
    lines.extend(new);
    let text = lines.join("\n") + "\n";
    fs::write(corpus, &text).with_context(|| corpus.display().to_string())?;
    Ok(inputs(&text).count())
}

/// The remarks, each with the input that it is about: the next line.
fn remarked(text: &str) -> Vec<&str> {
    let mut remark = false;
    let mut belongs = |line: &&str| {
        let was_remark = std::mem::replace(&mut remark, line.starts_with('#'));
        remark || was_remark
    };
    text.lines().filter(|line| belongs(line)).collect()
}

/// An input as a line.
pub(crate) fn line(bytes: &[u8]) -> String {
    let mut line = String::new();
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(line, "{byte:02x}");
    }
    line
}

fn bytes(line: &str) -> Result<Vec<u8>> {
    let pairs = line.as_bytes().chunks(2);
    let byte = |pair: &[u8]| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
    pairs.map(byte).collect()
}

fn inputs(text: &str) -> impl Iterator<Item = &str> {
    let is_input = |line: &&str| !line.is_empty() && !line.starts_with('#');
    text.lines().filter(is_input)
}

/// The files in `folder` as lines, short ones first. An empty one is no line.
fn pack(folder: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        lines.push(line(&fs::read(entry?.path())?));
    }
    lines.retain(|line| !line.is_empty());
    lines.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    lines.dedup();
    Ok(lines)
}

fn read(corpus: &Path) -> Result<String> {
    fs::read_to_string(corpus).with_context(|| corpus.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(text: &str, files: &[&[u8]]) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let (corpus, folder) = (directory.path().join("a.hex"), directory.path().join("a"));
        fs::write(&corpus, text).unwrap();
        fs::create_dir(&folder).unwrap();
        for (number, bytes) in files.iter().enumerate() {
            fs::write(folder.join(format!("f{number}")), bytes).unwrap();
        }
        (directory, corpus, folder)
    }

    #[test]
    fn what_was_unpacked_is_not_new() {
        let text = "# remark\n\n00ff\n01\n";
        let (_directory, corpus, folder) = setting(text, &[]);
        assert_eq!(unpack(&corpus, &folder).unwrap(), 2);
        assert_eq!(append(&corpus, &folder).unwrap(), 2);
        assert_eq!(fs::read_to_string(&corpus).unwrap(), text);
    }

    #[test]
    fn new_inputs_come_last_and_short_ones_first() {
        let (_directory, corpus, folder) = setting("# remark\n00ff\n", &[&[2, 3], &[], &[9]]);
        assert_eq!(append(&corpus, &folder).unwrap(), 3);
        let text = fs::read_to_string(&corpus).unwrap();
        assert_eq!(text, "# remark\n00ff\n09\n0203\n");
    }

    #[test]
    fn what_is_remarked_on_outlives_a_replacement() {
        let text = "01\n# one\n# two\n00ff\n02\n";
        let (_directory, corpus, folder) = setting(text, &[&[7], &[0, 0xff]]);
        assert_eq!(replace(&corpus, &folder).unwrap(), 2);
        let text = fs::read_to_string(&corpus).unwrap();
        assert_eq!(text, "# one\n# two\n00ff\n07\n");
    }

    #[test]
    fn a_line_that_is_no_input_is_named() {
        let (_directory, corpus, folder) = setting("0g\n", &[]);
        let error = unpack(&corpus, &folder).unwrap_err();
        assert!(format!("{error:#}").contains("0g"));
    }
}
