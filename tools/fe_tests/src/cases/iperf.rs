// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! iperf3 sends as much as it can, and counts what arrives.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{ensure, Context, Result};
use serde_json::Value;

use super::wire::{ends, may_be_busy, Numbered};
use crate::driver::tell;
use fe_tests::network::End;

const IPERF: &str = "/bin/iperf3";

/// Seconds for a connection, and what ends it then.
const LIMIT: u32 = 30;
const BUSYBOX: &str = "/bin/busybox";

/// Bytes of a connection.
const STREAM: u64 = 2 << 20;

/// Bytes that all datagrams have together, and their number, at most.
const DATAGRAMS: u64 = 1 << 20;
const MOST: u64 = 500;

/// Datagrams wait in the receiver's socket for as long as it is not running.
const SOCKET: &str = "8388608";

/// What the protocols count of packets that are not as they were sent, or have no room.
const ERRORS: &[&str] = &[
    "IpInHdrErrors",
    "IcmpInCsumErrors",
    "TcpInCsumErrors",
    "UdpInErrors",
    "UdpInCsumErrors",
];

/// There, back, and both at once.
const WAYS: &[&str] = &["", "-R", "--bidir"];

/// Connections.
pub(super) fn tcp(wire: Numbered<'_>) -> Result<()> {
    may_be_busy(wire)?;
    let ends = ends(wire)?;
    for way in WAYS {
        let result = measure(&ends, &format!("-n {STREAM} {way}"))?;
        for sum in sums(&result, way, "sum_received") {
            ensure!(number(sum, "bytes")? > 0, "{way}: {sum}");
        }
    }
    nothing_lost(&ends)
}

/// Datagrams of one packet, and of several.
pub(super) fn udp(wire: Numbered<'_>) -> Result<()> {
    let ends = ends(wire)?;
    for size in [18, 1400, 8000] {
        for way in WAYS {
            datagrams(&ends, size, way).with_context(|| format!("{size} bytes, {way:?}"))?;
        }
    }
    nothing_lost(&ends)
}

/// At large MTUs and at the smallest one, which comes last: what the kernel has learnt of the path
/// then stays with it for minutes.
pub(super) fn mtu(wire: Numbered<'_>) -> Result<()> {
    let ends = ends(wire)?;
    let largest = wire.1.max_mtu.min(wire.1.carrier.max_mtu());
    for mtu in [largest, 9000, 576, 68] {
        at_mtu(wire, &ends, mtu).with_context(|| format!("at an MTU of {mtu}"))?;
    }
    Ok(())
}

fn at_mtu(wire: Numbered<'_>, ends: &[End; 2], mtu: u32) -> Result<()> {
    for end in ends {
        end.ip_with("link set", &format!("mtu {mtu}"))?;
    }
    for way in WAYS {
        datagrams(ends, mtu - 28, way)?;
        // The kernel's least segment does not fit into the least MTU.
        if mtu > 68 && !wire.1.forgets_packets() {
            measure(ends, &format!("-n {STREAM} {way}"))?;
        }
    }
    nothing_lost(ends)
}

/// Sends datagrams of this size. What iperf3 counts as lost may not have been read yet at the end.
fn datagrams(ends: &[End; 2], size: u32, way: &str) -> Result<()> {
    tell("/proc/sys/net/core/rmem_max", SOCKET)?;
    let bytes = DATAGRAMS.min(u64::from(size) * MOST);
    let words = format!("-u -b 20M -w {SOCKET} -l {size} -n {bytes} {way}");
    let result = measure(ends, &words)?;
    for sum in sums(&result, way, "sum") {
        let (sent, lost) = (number(sum, "packets")?, number(sum, "lost_packets")?);
        ensure!(lost < sent, "{sum}");
    }
    Ok(())
}

/// What iperf3 sums up: of one way, or of both.
fn sums<'a>(result: &'a Value, way: &str, name: &str) -> Vec<&'a Value> {
    let end = &result["end"];
    match way {
        "--bidir" => vec![&end[name], &end[format!("{name}_bidir_reverse")]],
        _ => vec![&end[name]],
    }
}

fn number(sum: &Value, name: &str) -> Result<u64> {
    sum[name]
        .as_u64()
        .with_context(|| format!("no {name} in {sum}"))
}

/// From one end to the other; what the client says.
fn measure([left, right]: &[End; 2], words: &str) -> Result<Value> {
    let server = Server::start(right)?;
    let words = format!(
        "timeout {LIMIT} {IPERF} -c {} --json {words}",
        right.address
    );
    let text = left
        .program(BUSYBOX, &words)
        .with_context(|| format!("{:?}, {:?}", left.counters(), right.counters()))?;
    server.ended()?;
    let result: Value = serde_json::from_str(&text).context(IPERF)?;
    ensure!(result["error"].is_null(), "{}", result["error"]);
    Ok(result)
}

/// iperf3's server for one client.
struct Server {
    process: Child,
    /// It would not like to write to nobody.
    output: BufReader<ChildStdout>,
}

impl Server {
    /// When this returns, it listens.
    fn start(end: &End) -> Result<Self> {
        let mut command = Command::new(IPERF);
        command.args(["-s", "-1", "--forceflush"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let spawn = move || command.spawn().context(IPERF);
        let mut process = end.namespace.run(spawn)?;
        let output = process.stdout.take().context("it has no output")?;
        let mut server = Self {
            process,
            output: BufReader::new(output),
        };
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            let count = server.output.read_line(&mut line)?;
            ensure!(count > 0, "iperf3's server has ended");
        }
        Ok(server)
    }

    fn ended(mut self) -> Result<()> {
        std::io::copy(&mut self.output, &mut std::io::sink())?;
        let status = self.process.wait()?;
        ensure!(status.success(), "iperf3's server: {status}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Neither can fail for a child that is ours, be it dead or alive.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What one device has sent the other one has received, and neither it nor its end's protocols have
/// seen anything wrong. A ping comes behind all packets that are still under way, and another one
/// behind what these were answered with.
fn nothing_lost(ends: &[End; 2]) -> Result<()> {
    let [left, right] = ends;
    left.program("/bin/ping", &format!("-f -q -c 2 {}", right.address))?;
    let [one, other] = [left.counters()?, right.counters()?];
    ensure!(
        one.sent == other.received && other.sent == one.received && one.wrong + other.wrong == 0,
        "{one:?}, {other:?}"
    );
    for end in ends {
        let protocols = end.protocols()?;
        for name in ERRORS {
            ensure!(protocols[*name] == 0, "{name}: {}", protocols[*name]);
        }
    }
    Ok(())
}
