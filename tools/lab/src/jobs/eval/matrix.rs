// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What is measured: every combination of what a file names.

use std::fs;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use l1::series::Series;
use serde::Deserialize;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Matrix {
    /// Frames of each load.
    pub(super) frames: usize,
    /// Bytes of a frame.
    pub(super) sizes: Vec<usize>,
    /// In per cent of the capacity.
    pub(super) rates: Vec<u64>,
    interface: Vec<Interface>,
    ring: Vec<Ring>,
    mode: Vec<Mode>,
}

/// What the guest has, and by which rings and modes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Interface {
    name: String,
    /// The module in the guest.
    driver: String,
    /// Words for the VMM.
    #[serde(default)]
    options: Vec<String>,
    /// Words for the device process.
    #[serde(default)]
    device: Vec<String>,
    /// Names of them; each one, if there are none here.
    #[serde(default)]
    rings: Vec<String>,
    #[serde(default)]
    modes: Vec<String>,
}

impl Interface {
    fn has(&self, ring: &Ring, mode: &Mode) -> bool {
        let is_among = |names: &[String], name| names.is_empty() || names.contains(name);
        is_among(&self.rings, &ring.name) && is_among(&self.modes, &mode.name)
    }
}

/// A kind of ring: words for the device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ring {
    name: String,
    device: Vec<String>,
    /// Where its device loses frames on purpose.
    #[serde(default)]
    stalls: Option<String>,
}

/// A way to dispatch: words for the VMM.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mode {
    name: String,
    dispatch: String,
    options: Vec<String>,
}

/// One guest of the matrix.
#[derive(Debug)]
pub(super) struct Guest {
    /// Of its parts; unique, and the name of a file.
    pub(super) name: String,
    pub(super) interface: String,
    pub(super) mode: String,
    pub(super) ring: String,
    /// Where frames are to be lost; else none may be, below capacity.
    pub(super) stalls: Option<String>,
    pub(super) series: Series,
}

impl Matrix {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It is not there, or not a matrix; a rate or a number of frames is zero.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let matrix: Self = toml::from_str(text)?;
        ensure!(
            matrix.frames > 0 && !matrix.rates.contains(&0),
            "a load of no frames"
        );
        for guest in matrix.guests() {
            guest.series.scenario().map_err(anyhow::Error::msg)?;
        }
        Ok(matrix)
    }

    /// All its guests.
    pub(super) fn guests(&self) -> Vec<Guest> {
        let mut guests = Vec::new();
        for interface in &self.interface {
            for ring in &self.ring {
                let modes = self.mode.iter().filter(|mode| interface.has(ring, mode));
                guests.extend(modes.map(|mode| self.guest(interface, ring, mode)));
            }
        }
        guests
    }

    fn guest(&self, interface: &Interface, ring: &Ring, mode: &Mode) -> Guest {
        // The VMM knows by its own options what it serves itself.
        let model = match mode.dispatch.as_str() {
            "exit" => &[][..],
            _ => &interface.device,
        };
        Guest {
            name: format!("{}-{}-{}", interface.name, ring.name, mode.name),
            interface: interface.name.clone(),
            mode: mode.name.clone(),
            ring: ring.name.clone(),
            stalls: ring.stalls.clone(),
            series: Series {
                dispatch: mode.dispatch.clone(),
                driver: interface.driver.clone(),
                options: [&interface.options[..], &mode.options].concat(),
                device: [model, &ring.device].concat(),
                sizes: self.sizes.clone(),
                rates: self.rates.clone(),
                frames: self.frames,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_matrices_make_sense() {
        for text in [
            include_str!("../../../eval/reduced.toml"),
            include_str!("../../../eval/full.toml"),
            include_str!("../../../eval/faults.toml"),
        ] {
            let guests = Matrix::parse(text).unwrap().guests();
            let names: HashSet<_> = guests.iter().map(|guest| &guest.name).collect();
            assert_eq!(names.len(), guests.len());
        }
    }

    #[test]
    fn a_matrix_says_what_it_does_not_know() {
        let text = include_str!("../../../eval/reduced.toml");
        assert!(Matrix::parse(&text.replace("rates", "rate")).is_err());
        assert!(Matrix::parse(&text.replace("\"ioregion\"", "\"ioregio\"")).is_err());
        assert!(Matrix::parse(&text.replace("frames = 3000", "frames = 0")).is_err());
    }
}
