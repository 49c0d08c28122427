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
    /// What drives the guest's interface.
    drivers: Vec<String>,
    ring: Vec<Ring>,
    mode: Vec<Mode>,
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
        for driver in &self.drivers {
            for ring in &self.ring {
                for mode in &self.mode {
                    guests.push(self.guest(driver, ring, mode));
                }
            }
        }
        guests
    }

    fn guest(&self, driver: &str, ring: &Ring, mode: &Mode) -> Guest {
        Guest {
            name: format!("{driver}-{}-{}", ring.name, mode.name),
            mode: mode.name.clone(),
            ring: ring.name.clone(),
            stalls: ring.stalls.clone(),
            series: Series {
                dispatch: mode.dispatch.clone(),
                driver: driver.to_owned(),
                options: mode.options.clone(),
                device: ring.device.clone(),
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
