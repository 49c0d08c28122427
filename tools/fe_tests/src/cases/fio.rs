// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! fio writes with a checksum in each block, and reads all that it has written again.

use std::os::unix::fs::FileExt;
use std::process::Command;

use anyhow::{ensure, Result};
use fe_tests::buffer::Buffer;
use fe_tests::plan;
use fe_tests::serial;

use super::open;
use fe_tests::program::run;

/// Requests that are under way at a time.
const DEPTHS: &[u32] = &[1, 8, 32];

/// Bytes of a request, and how much of them is written and read.
const SIZES: &[(&str, &str)] = &[
    ("--bs=4k", "1m"),
    ("--bs=64k", "4m"),
    ("--bsrange=4k-64k", "4m"),
];

/// Reads and writes at random, of each depth and size.
pub(super) fn mixed(plan: &plan::Disk) -> Result<()> {
    let mut fio = Fio::on(plan)?;
    for depth in DEPTHS {
        for (size, amount) in SIZES {
            fio.job(&format!(
                "--rw=randrw --rwmixread=40 {size} --iodepth={depth} --size=32m --io_size={amount}"
            ));
        }
    }
    fio.run()
}

/// Writes that are made durable now and then, in each way that there is.
pub(super) fn durable(plan: &plan::Disk) -> Result<()> {
    let mut fio = Fio::on(plan)?;
    for way in ["--fsync=4", "--fdatasync=8", "--sync=1", "--end_fsync=1"] {
        fio.job(&format!(
            "--rw=randwrite --bs=4k --iodepth=8 --size=8m --io_size=512k {way}"
        ));
    }
    fio.run()
}

/// Blocks that are discarded are zero, and can be written again.
pub(super) fn trim(plan: &plan::Disk) -> Result<()> {
    let mut fio = Fio::on(plan)?;
    for way in [
        "--rw=randtrimwrite",
        "--rw=randtrim --verify=0",
        "--rw=randread --verify=pattern --verify_pattern=0x00",
    ] {
        fio.job(&format!("{way} --bs=16k --iodepth=8 --size=2m"));
    }
    fio.run()
}

/// Four threads with a part of the disk each.
pub(super) fn threads(plan: &plan::Disk) -> Result<()> {
    let mut fio = Fio::on(plan)?;
    fio.job(
        "--rw=randrw --bsrange=4k-32k --iodepth=16 --size=8m --io_size=2m \
         --numjobs=4 --offset_increment=8m --thread",
    );
    fio.run()
}

/// It fails if a bit is not as it was written, or none of this would mean anything.
pub(super) fn notices(plan: &plan::Disk) -> Result<()> {
    let job = "--rw=write --bs=4k --size=256k";
    let mut fio = Fio::on(plan)?;
    fio.job(job);
    fio.run()?;
    flip_a_bit(plan)?;
    let mut fio = Fio::on(plan)?;
    fio.job(&format!("{job} --verify_only=1"));
    let error = fio.run().err().map(|error| format!("{error:#}"));
    ensure!(
        error
            .as_ref()
            .is_some_and(|text| text.contains("crc32c: verify failed")),
        "it says of a wrong bit: {error:?}"
    );
    Ok(())
}

fn flip_a_bit(plan: &plan::Disk) -> Result<()> {
    let disk = open(plan)?;
    let mut block = Buffer::new(8);
    let at = 128 << 10;
    disk.file().read_exact_at(block.bytes_mut(), at)?;
    block.bytes_mut()[2048] ^= 1;
    Ok(disk.file().write_all_at(block.bytes(), at)?)
}

/// A run of fio's.
struct Fio {
    command: Command,
    jobs: u32,
}

impl Fio {
    /// On this disk, past the page cache. What fails ends it.
    fn on(plan: &plan::Disk) -> Result<Self> {
        let mut command = Command::new("/bin/fio");
        command
            .arg("--name=global")
            .arg(format!("--filename={}", serial::node(plan.name)?.display()))
            .args(["--direct=1", "--ioengine=io_uring", "--group_reporting"])
            .args(["--verify=crc32c", "--verify_fatal=1", "--exitall_on_error"]);
        Ok(Self { command, jobs: 0 })
    }

    /// One more job, when those before it have ended.
    fn job(&mut self, words: &str) {
        self.jobs += 1;
        self.command.arg(format!("--name=job{}", self.jobs));
        self.command.arg("--stonewall");
        self.command.args(words.split_whitespace());
    }

    fn run(mut self) -> Result<()> {
        run(&mut self.command).map(drop)
    }
}
