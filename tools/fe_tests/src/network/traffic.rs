// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Packets over a wire, each byte of which is checked.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use fastrand::Rng;

use super::end::End;
use super::namespace::join;

/// After it, a packet does not come any more.
const LIMIT: Duration = Duration::from_secs(30);

/// How often who sends back looks whether it is at its end.
const LOOK: Duration = Duration::from_millis(20);

/// The port of the service that takes no notice.
const DISCARD: u16 = 9;

/// Bytes that are written to a stream at a time.
const PIECE: usize = 60_000;

/// Sends so many bytes over a TCP connection.
pub fn stream(from: &End, to: &End, bytes: usize) -> Result<()> {
    let address = to.address;
    let listener = to
        .namespace
        .run(move || TcpListener::bind((address, 0)).context("listening"))?;
    let at = listener.local_addr()?;
    let receiver = to.namespace.spawn(move || receive(&listener, bytes))?;
    let sender = from.namespace.spawn(move || send(at, bytes))?;
    join(sender).and(join(receiver))
}

fn send(to: SocketAddr, bytes: usize) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, LIMIT).context("connecting")?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut content = Rng::with_seed(bytes as u64);
    let mut piece = vec![0; PIECE];
    let mut left = bytes;
    while left > 0 {
        let piece = &mut piece[..left.min(PIECE)];
        content.fill(piece);
        stream.write_all(piece).context("sending")?;
        left -= piece.len();
    }
    stream.shutdown(Shutdown::Write).context("sending")
}

fn receive(listener: &TcpListener, bytes: usize) -> Result<()> {
    let (mut stream, _) = listener.accept().context("accepting")?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut content = Rng::with_seed(bytes as u64);
    let (mut piece, mut want) = (vec![0; PIECE], vec![0; PIECE]);
    let mut left = bytes;
    while left > 0 {
        let count = left.min(PIECE);
        stream
            .read_exact(&mut piece[..count])
            .context("receiving")?;
        content.fill(&mut want[..count]);
        ensure!(
            piece[..count] == want[..count],
            "wrong bytes after {}",
            bytes - left
        );
        left -= count;
    }
    // Goes on when it is interrupted, as `read_exact` does: a sleep of the system interrupts a read that
    // has a time limit.
    let more = io::copy(&mut stream, &mut io::sink()).context("receiving the end")?;
    ensure!(more == 0, "too many bytes");
    Ok(())
}

/// Begins to send datagrams that nobody waits for, until that fails or is over.
pub fn pour(from: &End, to: &End, is_over: Arc<AtomicBool>) -> Result<JoinHandle<Result<()>>> {
    let (source, sink) = (from.address, to.address);
    from.namespace.spawn(move || {
        let socket = UdpSocket::bind((source, 0)).context("binding")?;
        while !is_over.load(Ordering::Acquire) {
            socket.send_to(&[0; 1400], (sink, DISCARD))?;
        }
        Ok(())
    })
}

/// Sends so many datagrams of random sizes, up to `largest` bytes, and has each sent back.
pub fn exchange(from: &End, to: &End, datagrams: u32, largest: usize) -> Result<()> {
    let address = to.address;
    let socket = to
        .namespace
        .run(move || UdpSocket::bind((address, 0)).context("binding"))?;
    let at = socket.local_addr()?;
    let (ended, end) = mpsc::channel::<()>();
    let echo = to.namespace.spawn(move || echo(&socket, &end))?;
    let source = from.address;
    let asker = from.namespace.spawn(move || {
        let socket = UdpSocket::bind((source, 0)).context("binding")?;
        socket.connect(at)?;
        ask(&socket, datagrams, largest)
    })?;
    let asked = join(asker);
    drop(ended);
    asked.and(join(echo))
}

fn ask(socket: &UdpSocket, datagrams: u32, largest: usize) -> Result<()> {
    socket.set_read_timeout(Some(LIMIT))?;
    let mut content = Rng::with_seed(largest as u64);
    let (mut sent, mut received) = (vec![0; largest], vec![0; 0x10000]);
    for number in 0..datagrams {
        let size = content.usize(1..=largest);
        let sent = &mut sent[..size];
        content.fill(sent);
        socket
            .send(sent)
            .with_context(|| format!("sending {number}"))?;
        let count = socket
            .recv(&mut received)
            .with_context(|| format!("{number}, of {size} bytes, did not come back"))?;
        ensure!(received[..count] == *sent, "{number} came back changed");
    }
    Ok(())
}

/// Sends back what comes, until nobody asks any more.
fn echo(socket: &UdpSocket, end: &mpsc::Receiver<()>) -> Result<()> {
    socket.set_read_timeout(Some(LOOK))?;
    let mut datagram = vec![0; 0x10000];
    while end.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
        match socket.recv_from(&mut datagram) {
            Ok((count, from)) => {
                socket.send_to(&datagram[..count], from)?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
            Err(error) => return Err(error).context("receiving"),
        }
    }
    Ok(())
}
