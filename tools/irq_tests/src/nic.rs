// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A network interface that works on demand, on whatever machine it is: in L1, or in a guest that it is
//! assigned to.

use std::fs;
use std::io::{self, BufRead};
use std::net::Ipv4Addr;

use anyhow::{bail, Context, Result};
use fe_tests::network::ip;

use crate::asker::{timestamp, Answer, TIMER};
use crate::host::{handled, vectors};
use crate::interface::{await_carrier, pci_name};
use crate::traffic::Work;

/// Lines of L1's that are no work: take the interface down and up again; say how many of its vectors
/// have interrupted.
pub(crate) const ANEW: &str = "anew";
pub(crate) const VECTORS: &str = "vectors";

/// The only interface of a guest.
const NAME: &str = "eth0";

/// Has no piece of a packet be larger than a page. QEMU's e1000e drops a packet, as often as it is sent,
/// with one that the IOMMU scatters over L1's memory.
const SMALL_PIECES: &str = "/proc/sys/net/core/high_order_alloc_disable";

/// The interface.
pub(crate) struct Nic {
    name: String,
    /// What its interrupts are called: the PCI device's name.
    device: String,
}

impl Nic {
    /// The one of this name, which is up.
    pub(crate) fn new(name: &str) -> Result<Self> {
        fs::write(SMALL_PIECES, "1").context(SMALL_PIECES)?;
        Ok(Self {
            name: name.to_owned(),
            device: pci_name(name)?,
        })
    }

    /// Does some work; what is seen are interrupts of the device.
    pub(crate) fn work(&self, work: Work, peer: Ipv4Addr, count: u32) -> Result<Answer> {
        let (seen, ticks) = (self.interrupts()?, handled(TIMER)?);
        let begin = timestamp();
        work.run(peer, count)?;
        let timestamps = timestamp() - begin;
        Ok(Answer {
            seen: self.interrupts()? - seen,
            ticks: handled(TIMER)? - ticks,
            timestamps,
        })
    }

    fn interrupts(&self) -> Result<u64> {
        Ok(vectors(&self.device)?.iter().sum())
    }

    fn answer(&self, line: &str) -> Result<Answer> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [ANEW] => {
                ip(&format!("link set {} down", self.name))?;
                ip(&format!("link set {} up", self.name))?;
                await_carrier(&self.name)?;
                Ok(Answer::default())
            }
            [VECTORS] => {
                let used = vectors(&self.device)?
                    .into_iter()
                    .filter(|&count| count > 0);
                Ok(Answer {
                    seen: used.count() as u64,
                    ..Answer::default()
                })
            }
            [work, peer, count] => self.work(work.parse()?, peer.parse()?, count.parse()?),
            _ => bail!("{line:?}"),
        }
    }
}

/// Answers each line of standard input until its end.
pub(crate) fn answer() -> Result<()> {
    let nic = Nic::new(NAME)?;
    println!("{}", Answer::default());
    for line in io::stdin().lock().lines() {
        println!("{}", nic.answer(&line?)?);
    }
    Ok(())
}
