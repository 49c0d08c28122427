// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a network interface carries for tests and figures. Every byte that comes is checked.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use fastrand::Rng;
use rustix::net::{
    connect, ipproto, recv, send, socket, sockopt, AddressFamily, RecvFlags, SendFlags, SocketType,
};

/// After it, a packet does not come any more.
const LIMIT: Duration = Duration::from_secs(20);

/// ICMP: RFC 792. Type, code, checksum, identifier and number, then content that comes back.
const REQUEST: u8 = 8;
const REPLY: u8 = 0;
const HEADER: usize = 8;
const NUMBER: std::ops::Range<usize> = 6..8;

/// IPv4's header, which a raw socket shows.
const IP_HEADER: usize = 20;

/// Requests of a burst.
const BURST: u32 = 32;

/// Ports of the peer: what comes to the first one comes back, to the second one is swallowed.
pub(crate) const ECHO: u16 = 7;
pub(crate) const DISCARD: u16 = 9;

/// Bytes that are written to a stream at a time, and that are counted as one of its pieces.
const PIECE: usize = 16_384;

/// Some traffic with a peer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Work {
    /// So many echo requests of 64 bytes, each after the reply to the last one.
    RoundTrips,
    /// So many of 1400 bytes, in bursts.
    Bursts,
    /// So many pieces of a TCP stream, to a port that swallows them.
    Stream,
    /// So many pieces of a TCP stream, all of which come back.
    Echo,
}

impl Work {
    const ALL: [Self; 4] = [Self::RoundTrips, Self::Bursts, Self::Stream, Self::Echo];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RoundTrips => "rr64",
            Self::Bursts => "burst1400",
            Self::Stream => "stream",
            Self::Echo => "echo",
        }
    }

    /// Does it with this peer.
    pub(crate) fn run(self, peer: Ipv4Addr, count: u32) -> Result<()> {
        match self {
            Self::RoundTrips => ping(peer, 64, count, 1),
            Self::Bursts => ping(peer, 1400, count, BURST),
            Self::Stream => pour(peer, count),
            Self::Echo => echo(peer, count),
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Work {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|work| work.name() == name)
            .with_context(|| format!("no work is called {name}"))
    }
}

/// So many requests with so many bytes, `at_once` of which are on their way.
fn ping(peer: Ipv4Addr, bytes: usize, count: u32, at_once: u32) -> Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(LIMIT))?;
    connect(&socket, &SocketAddrV4::new(peer, 0)).context("connecting")?;
    let mut request = Request::new(bytes);
    for first in (0..count).step_by(at_once as usize) {
        let burst = first..count.min(first + at_once);
        for number in burst.clone() {
            request.number(number as u16);
            send(&socket, &request.0, SendFlags::empty()).context("sending")?;
        }
        for number in burst {
            request.number(number as u16);
            request.await_reply(&socket)?;
        }
    }
    Ok(())
}

/// An echo request.
struct Request(Vec<u8>);

impl Request {
    fn new(bytes: usize) -> Self {
        let mut request = vec![0; HEADER + bytes];
        Rng::with_seed(bytes as u64).fill(&mut request[HEADER..]);
        request[0] = REQUEST;
        Self(request)
    }

    fn number(&mut self, number: u16) {
        self.0[NUMBER].copy_from_slice(&number.to_be_bytes());
        self.0[2..4].fill(0);
        let sum = checksum(&self.0);
        self.0[2..4].copy_from_slice(&sum.to_be_bytes());
    }

    /// Requests to this machine itself are not for us.
    fn await_reply(&self, socket: &OwnedFd) -> Result<()> {
        let mut packet = [0; 2048];
        loop {
            let (_, length) =
                recv(socket, &mut packet[..], RecvFlags::empty()).context("a reply")?;
            let reply = packet.get(IP_HEADER..length).context("a short packet")?;
            if reply.first() == Some(&REPLY) {
                ensure!(
                    reply[4..] == self.0[4..],
                    "the reply is not that to the request"
                );
                return Ok(());
            }
        }
    }
}

/// RFC 1071. The length is even.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2);
    let mut sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

fn pour(peer: Ipv4Addr, pieces: u32) -> Result<()> {
    let mut stream = TcpStream::connect((peer, DISCARD)).context("connecting")?;
    let piece = [0xa5; PIECE];
    (0..pieces).try_for_each(|_| stream.write_all(&piece).context("sending"))
}

fn echo(peer: Ipv4Addr, pieces: u32) -> Result<()> {
    let mut stream = TcpStream::connect((peer, ECHO)).context("connecting")?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut writing = stream.try_clone()?;
    let writer = thread::spawn(move || write(&mut writing, pieces));
    check(&mut stream, pieces)?;
    match writer.join() {
        Ok(result) => result,
        Err(_) => bail!("the writer panicked"),
    }
}

/// Content that its length decides, and its end.
fn write(stream: &mut TcpStream, pieces: u32) -> Result<()> {
    let mut content = Rng::with_seed(pieces.into());
    let mut piece = vec![0; PIECE];
    for _ in 0..pieces {
        content.fill(&mut piece);
        stream.write_all(&piece).context("sending")?;
    }
    stream.shutdown(Shutdown::Write).context("sending the end")
}

/// Exactly that comes.
fn check(stream: &mut TcpStream, pieces: u32) -> Result<()> {
    let mut content = Rng::with_seed(pieces.into());
    let (mut piece, mut want) = (vec![0; PIECE], vec![0; PIECE]);
    for number in 0..pieces {
        stream.read_exact(&mut piece).context("receiving")?;
        content.fill(&mut want);
        ensure!(piece == want, "piece {number} came back changed");
    }
    ensure!(stream.read(&mut piece)? == 0, "too many bytes");
    Ok(())
}

/// Begins to send back what comes to this address, as long as the process lives.
pub(crate) fn serve(address: Ipv4Addr) -> Result<()> {
    let listener = TcpListener::bind((address, ECHO)).context("listening")?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || send_back(&stream));
        }
    });
    Ok(())
}

/// Who does not get all of it knows that.
fn send_back(stream: &TcpStream) {
    let _ = io::copy(&mut &*stream, &mut &*stream);
    let _ = stream.shutdown(Shutdown::Write);
}
