// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The machine's package sources, read from both formats apt has.
//!
//! From them we learn where the Debian archive is and which key signs it, so that no
//! host name stands in our code. Format: sources.list(5).

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// One binary source: archives times suites times components.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// Where the archive is; several mean mirrors of the same content.
    pub(crate) uris: Vec<String>,
    /// Releases, such as `bookworm` or `bookworm-updates`.
    pub(crate) suites: Vec<String>,
    /// Parts of a release, such as `main`.
    pub(crate) components: Vec<String>,
    /// Further fields under their deb822 names, values verbatim (a key may span lines).
    pub(crate) options: Vec<(String, String)>,
}

impl Entry {
    /// This entry as a deb822 stanza, of binary packages (`deb`) or sources (`deb-src`).
    pub(crate) fn stanza(&self, types: &str) -> String {
        let mut text = format!(
            "Types: {types}\nURIs: {}\nSuites: {}\nComponents: {}\n",
            self.uris.join(" "),
            self.suites.join(" "),
            self.components.join(" ")
        );
        for (name, value) in &self.options {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text
    }

    /// The same archive and key with other suites, of which only `main` is wanted.
    pub(crate) fn with_suites(&self, suites: &[&str]) -> Self {
        Self {
            suites: suites.iter().map(ToString::to_string).collect(),
            components: vec!["main".into()],
            ..self.clone()
        }
    }
}

/// Reads every source below an apt configuration directory (`/etc/apt`).
///
/// # Errors
///
/// A file is there and cannot be read.
pub(crate) fn read_all(etc: &Path) -> Result<Vec<Entry>> {
    let mut files = vec![etc.join("sources.list")];
    if let Ok(directory) = fs::read_dir(etc.join("sources.list.d")) {
        files.extend(directory.flatten().map(|file| file.path()));
    }
    files.sort();
    let mut entries = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let read = || fs::read_to_string(file).with_context(|| format!("{}", file.display()));
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => entries.extend(parse_lines(&read()?)),
            Some("sources") => entries.extend(parse_deb822(&read()?)),
            _ => {}
        }
    }
    Ok(entries)
}

/// The sources for a private look-up: what the machine has of its own release, and
/// `extra` suites from the archive of that release.
///
/// `None` means that no entry carries `main` of the release, so we do not know where the
/// archive is.
pub(crate) fn widen(entries: &[Entry], codename: &str, extra: &[&str]) -> Option<Vec<Entry>> {
    let archive = archive(entries, codename)?;
    let of_release = |suite: &String| suite.starts_with(codename);
    let mut wide: Vec<Entry> = entries
        .iter()
        .filter(|entry| entry.suites.iter().any(of_release))
        .cloned()
        .collect();
    wide.push(archive.with_suites(extra));
    Some(wide)
}

/// The entry with `main` of the release.
pub(crate) fn archive<'a>(entries: &'a [Entry], codename: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| {
        entry.suites.iter().any(|suite| suite == codename)
            && entry.components.iter().any(|part| part == "main")
    })
}

/// Parses the deb822 format (`*.sources`).
fn parse_deb822(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            entries.extend(entry_of(std::mem::take(&mut fields)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.to_string(), value.trim().to_string()));
        }
    }
    entries
}

/// Makes an entry of a stanza's fields, unless it is switched off or not for binaries.
fn entry_of(fields: Vec<(String, String)>) -> Option<Entry> {
    let words = |wanted: &str| -> Vec<String> {
        fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .flat_map(|(_, value)| value.split_whitespace().map(String::from))
            .collect()
    };
    let off = words("Enabled").iter().any(|word| word == "no");
    if off || !words("Types").iter().any(|word| word == "deb") {
        return None;
    }
    let basic = ["types", "uris", "suites", "components", "enabled"];
    Some(Entry {
        uris: words("URIs"),
        suites: words("Suites"),
        components: words("Components"),
        options: fields
            .into_iter()
            .filter(|(name, _)| !basic.contains(&name.to_ascii_lowercase().as_str()))
            .collect(),
    })
}

/// Parses the one-line format (`sources.list`, `*.list`).
fn parse_lines(text: &str) -> Vec<Entry> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(String::from);
    Some(Entry {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        options: options
            .split_whitespace()
            .filter_map(|option| option.split_once('='))
            .map(|(name, value)| (field_name(name), value.replace(',', " ")))
            .collect(),
    })
}

/// The deb822 name of a one-line option. apt does not care about capitals.
fn field_name(option: &str) -> String {
    match option {
        "arch" => "Architectures".into(),
        "lang" => "Languages".into(),
        "target" => "Targets".into(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb deb-src
# a comment within a stanza
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://other.example/x
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://other.example/y
Suites: bookworm
Components: main
";

    #[test]
    fn deb822_takes_enabled_binary_stanzas() {
        let entries = parse_deb822(DEB822);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].uris, ["http://mirror.example/debian"]);
        assert_eq!(entries[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(
            entries[0].options,
            [("Signed-By".into(), "/usr/share/keyrings/archive.gpg".into())]
        );
    }

    #[test]
    fn deb822_keeps_a_key_that_spans_lines() {
        let text =
            "Types: deb\nURIs: u\nSuites: s\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n";
        let entries = parse_deb822(text);
        assert_eq!(entries[0].options[0].1, "\n -----BEGIN\n .\n abc");
        assert_eq!(parse_deb822(&entries[0].stanza("deb")), entries);
    }

    #[test]
    fn one_line_format_with_and_without_options() {
        let entries = parse_lines(
            "# deb http://off.example/ x main\n\
             deb-src http://src.example/ bookworm main\n\
             deb [arch=amd64,arm64 signed-by=/k.gpg] http://m.example/debian bookworm main contrib # end\n\
             deb\thttp://n.example/debian trixie main\n\
             debris http://no.example x main\n",
        );
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].components, ["main", "contrib"]);
        assert_eq!(
            entries[0].options,
            [
                ("Architectures".to_string(), "amd64 arm64".to_string()),
                ("signed-by".to_string(), "/k.gpg".to_string())
            ]
        );
        assert_eq!(entries[1].uris, ["http://n.example/debian"]);
    }

    #[test]
    fn widening_takes_mirror_and_key_from_the_release_entry() {
        let entries = parse_lines(
            "deb http://third.example/ nodistro main\n\
             deb [signed-by=/k.gpg] http://m.example/debian bookworm main contrib\n\
             deb [signed-by=/k.gpg] http://s.example/ bookworm-security main\n",
        );
        let wide = widen(&entries, "bookworm", &["bookworm-backports"]).unwrap();
        assert_eq!(wide.len(), 3);
        let extra = wide.last().unwrap();
        assert_eq!(extra.uris, ["http://m.example/debian"]);
        assert_eq!(extra.suites, ["bookworm-backports"]);
        assert_eq!(extra.components, ["main"]);
        assert_eq!(extra.options[0].1, "/k.gpg");
        assert!(widen(&entries, "trixie", &["trixie-backports"]).is_none());
    }
}
