// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A guest that reflects frames, and the loads that it gets, one after the other.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shunt_traffic::load::Outcome;

use crate::scenario::{Dispatch, Driver, Scenario, Task};

/// One guest and its loads. Its text form has no blanks and no commas: it is a word of L1's command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Who serves the registers: `exit`, `exit-ipc` or `ioregion`.
    pub dispatch: String,
    /// The module that drives the interface.
    pub driver: String,
    /// More words of the VMM's `--disk` option.
    pub options: Vec<String>,
    /// More words for the device process.
    pub device: Vec<String>,
    /// Bytes of the frames, without the frame check sequence.
    pub sizes: Vec<usize>,
    /// Rates, each in per cent of the guest's capacity for frames of that size.
    pub rates: Vec<u64>,
    /// Frames of each load.
    pub frames: usize,
}

/// What became of one load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Its number, which is also the label of the VMM's mark after it.
    pub load: u32,
    /// Bytes of a frame.
    pub size: usize,
    /// In per cent of the capacity; `None`: this is how the capacity was found.
    pub rate: Option<u64>,
    /// Nanoseconds between two frames that were sent.
    pub interval: Option<u64>,
    /// What the sender says.
    pub outcome: Outcome,
    /// What the host's interface counted meanwhile.
    pub host: HostCounts,
    /// What the guest counted meanwhile.
    pub guest: GuestCounts,
}

/// Counts of the host's tap interface. What it sends, the device reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // as in /sys/class/net/*/statistics
pub struct HostCounts {
    pub tx_packets: u64,
    pub tx_dropped: u64,
    pub rx_packets: u64,
    pub rx_dropped: u64,
}

/// Counts of the guest's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // as in /sys/class/net/*/statistics
pub struct GuestCounts {
    pub rx_packets: u64,
    pub rx_dropped: u64,
    pub rx_errors: u64,
    pub tx_packets: u64,
    pub tx_dropped: u64,
    pub tx_errors: u64,
    pub interrupts: u64,
}

macro_rules! since {
    ($type:ident, $($field:ident),*) => {
        impl $type {
            /// What was counted since `earlier`.
            #[must_use]
            pub fn since(self, earlier: Self) -> Self {
                Self { $($field: self.$field - earlier.$field),* }
            }
        }
    };
}

since!(HostCounts, tx_packets, tx_dropped, rx_packets, rx_dropped);
since!(
    GuestCounts,
    rx_packets,
    rx_dropped,
    rx_errors,
    tx_packets,
    tx_dropped,
    tx_errors,
    interrupts
);

impl Series {
    /// The guest. It is one of few in the life of L1, which keeps it.
    ///
    /// # Errors
    ///
    /// There is no such dispatch or driver.
    pub fn scenario(&self) -> Result<Scenario, String> {
        let dispatch = match self.dispatch.as_str() {
            "exit" => Dispatch::Exit,
            "exit-ipc" => Dispatch::ExitIpc,
            "ioregion" => Dispatch::Ioregion,
            other => return Err(format!("no series has the dispatch {other}")),
        };
        let drivers = [
            Driver::Kernel,
            Driver::VirtioFe,
            Driver::E1000,
            Driver::Rtl8139,
        ];
        let mut drivers = drivers.into_iter();
        let driver = drivers.find(|driver| driver.module() == self.driver);
        let driver = driver.ok_or_else(|| format!("no series has the driver {}", self.driver))?;
        Ok(Scenario {
            name: "series",
            task: Task::Reflection,
            driver,
            dispatch,
            options: leaked(&self.options),
            device: leaked(&self.device),
            kills: &[],
            cpus: 1,
            in_run: false,
            in_test: false,
        })
    }
}

fn leaked(words: &[String]) -> &'static [&'static str] {
    let words = words.iter().map(|word| &*word.clone().leak());
    words.collect::<Vec<_>>().leak()
}

/// Between the parts of a series' text, and between the words of a part.
const PARTS: char = ';';
const WORDS: char = '+';

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = |all: Vec<String>| all.join(&WORDS.to_string());
        let parts = [
            self.dispatch.clone(),
            self.driver.clone(),
            numbers(self.options.clone()),
            numbers(self.device.clone()),
            numbers(self.sizes.iter().map(usize::to_string).collect()),
            numbers(self.rates.iter().map(u64::to_string).collect()),
            self.frames.to_string(),
        ];
        f.write_str(&parts.join(&PARTS.to_string()))
    }
}

impl FromStr for Series {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(PARTS).collect();
        let [dispatch, driver, options, device, sizes, rates, frames] = parts[..] else {
            return Err(format!("{text:?} has not the seven parts of a series"));
        };
        Ok(Self {
            dispatch: dispatch.to_owned(),
            driver: driver.to_owned(),
            options: words(options).map(str::to_owned).collect(),
            device: words(device).map(str::to_owned).collect(),
            sizes: words(sizes).map(number).collect::<Result<_, _>>()?,
            rates: words(rates).map(number).collect::<Result<_, _>>()?,
            frames: number(frames)?,
        })
    }
}

fn words(part: &str) -> impl Iterator<Item = &str> {
    part.split(WORDS).filter(|word| !word.is_empty())
}

fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_survives_the_command_line() {
        let series = Series {
            dispatch: "ioregion".to_owned(),
            driver: "virtio_net".to_owned(),
            options: vec!["tier=rules".to_owned(), "notify=ioeventfd".to_owned()],
            device: Vec::new(),
            sizes: vec![60, 1020],
            rates: vec![50, 90],
            frames: 1000,
        };
        let text = series.to_string();
        assert!(!text.contains([',', ' ']));
        assert_eq!(text.parse(), Ok(series));
        assert!("ioregion;virtio_net".parse::<Series>().is_err());
    }
}
