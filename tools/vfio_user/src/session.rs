// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! One client, from its first message to its end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use shunt::counters::Origin;
use shunt::device::perform;
use shunt::pci::{bar, PciDevice, BARS, CONFIG_SIZE};
use shunt::state::StatePage;
use shunt::{Command, Operation, Width};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use zerocopy::FromBytes;

use crate::capabilities::Capabilities;
use crate::connection::{Connection, Message, Received};
use crate::dma::Dma;
use crate::fast_io::FastIo;
use crate::irqs::Irqs;
use crate::request::{bytes_of, Request, MAX_FDS};
use crate::session_error::{BadAnswer, SessionError};
use crate::transfers::{Begun, Transfers};
use crate::wire::{self, Header};

/// Messages between two looks at what else there is to do. A client announces a change of its
/// memory in several, and the device should not see the middle of it.
const MESSAGES_AT_ONCE: usize = 64;

/// What a command is answered with.
#[derive(Default)]
struct Answer {
    payload: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Answer {
    fn of(payload: Vec<u8>) -> Self {
        Self {
            payload,
            fds: Vec::new(),
        }
    }
}

/// What became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Client,
    Channel,
    Doorbell(usize),
}

impl Source {
    fn token(self) -> u64 {
        match self {
            Self::Client => 0,
            Self::Channel => 1,
            Self::Doorbell(place) => 2 + place as u64,
        }
    }

    fn from_token(token: u64) -> Self {
        match token {
            0 => Self::Client,
            1 => Self::Channel,
            place => Self::Doorbell(place as usize - 2),
        }
    }
}

pub(crate) struct Session<'d, D> {
    device: &'d mut D,
    state: StatePage,
    connection: Connection,
    epoll: Epoll,
    /// `None` before the first command.
    client: Option<Capabilities>,
    dma: Dma,
    transfers: Transfers,
    /// The device's last transfer that was asked for.
    asked_for: Option<u64>,
    irqs: Irqs,
    /// `None` until the client asks for it.
    fast_io: Option<FastIo>,
}

impl<'d, D: PciDevice> Session<'d, D> {
    pub(crate) fn new(device: &'d mut D, connection: Connection) -> io::Result<Self> {
        let session = Self {
            state: device.state(),
            irqs: Irqs::new(device.has_pin(), device.msix_vectors()),
            device,
            connection,
            epoll: Epoll::new()?,
            client: None,
            dma: Dma::default(),
            transfers: Transfers::default(),
            asked_for: None,
            fast_io: None,
        };
        session.watch(session.connection.as_raw_fd(), Source::Client)?;
        Ok(session)
    }

    fn watch(&self, fd: RawFd, source: Source) -> io::Result<()> {
        let event = EpollEvent::new(EventSet::IN, source.token());
        self.epoll.ctl(ControlOperation::Add, fd, event)
    }

    /// Serves the client until it hangs up.
    pub(crate) fn run(mut self) -> Result<(), SessionError> {
        let mut ready = [EpollEvent::default(); 16];
        loop {
            let more = self.device.work();
            self.transfer()?;
            self.signal();
            let count = self.wait(more, &mut ready)?;
            for event in &ready[..count] {
                if self.serve(Source::from_token(event.data()))?.is_end() {
                    return Ok(());
                }
            }
        }
    }

    /// Waits for events; returns at once when there is `more` to do without any.
    fn wait(&self, more: bool, ready: &mut [EpollEvent]) -> io::Result<usize> {
        match self.epoll.wait(if more { 0 } else { -1 }, ready) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
            other => other,
        }
    }

    /// Asks the client for what the device wants transferred, and does not wait.
    fn transfer(&mut self) -> io::Result<()> {
        let (Some(client), Some(transfer)) = (&self.client, self.device.transfer()) else {
            return Ok(());
        };
        if Some(transfer.number) == self.asked_for {
            return Ok(());
        }
        let (number, most) = (transfer.number, client.max_data_xfer_size);
        let memory = self.dma.memory();
        let transfers = &mut self.transfers;
        match transfers.begin(&self.connection, &transfer, most, &memory)? {
            Begun::Sent => self.asked_for = Some(number),
            Begun::Busy => {}
            Begun::Impossible => self.device.transferred(number, false),
        }
        Ok(())
    }

    /// Takes the client's answer to one of the server's commands.
    fn take_answer(&mut self, answer: &Message) -> Result<(), SessionError> {
        let dma = &self.dma;
        self.transfers
            .take(answer, |address, data| dma.store(address, data))
            .map_err(SessionError::BadAnswer)?;
        self.transfers.go_on(&self.connection, &self.dma.memory())?;
        if let Some((number, ok)) = self.transfers.outcome() {
            self.device.transferred(number, ok);
        }
        Ok(())
    }

    fn set_memory(&mut self) {
        self.device.set_memory(self.dma.memory(), self.dma.copies());
    }

    fn signal(&mut self) {
        let delivered = self.irqs.deliver(self.device.interrupts());
        self.device.delivered(delivered);
    }

    fn serve(&mut self, source: Source) -> Result<Progress, SessionError> {
        match (source, &mut self.fast_io) {
            (Source::Client, _) => return self.serve_client(),
            (Source::Channel, Some(fast_io)) => fast_io.serve_channel(self.device),
            (Source::Doorbell(place), Some(fast_io)) => fast_io.take_doorbell(place, self.device),
            (_, None) => {}
        }
        Ok(Progress::GoOn)
    }

    fn serve_client(&mut self) -> Result<Progress, SessionError> {
        for _ in 0..MESSAGES_AT_ONCE {
            match self.connection.receive()? {
                Received::Message(message) => self.take(message)?,
                Received::Nothing => break,
                Received::End => return Ok(Progress::End),
            }
        }
        Ok(Progress::GoOn)
    }

    /// Carries a command out and answers it.
    fn take(&mut self, message: Message) -> Result<(), SessionError> {
        let header = message.header;
        match header.flags & wire::TYPE_MASK {
            wire::TYPE_COMMAND => {}
            wire::TYPE_REPLY => return self.take_answer(&message),
            _ => return Err(SessionError::BadAnswer(BadAnswer::Unexpected)),
        }
        let request = Request::parse(header.command, &message.payload, message.fds.len());
        let answer = match (&self.client, request) {
            (None, Ok(Request::Version { major, minor, json })) => {
                return self.begin(header, major, minor, json);
            }
            (None, _) => {
                self.refuse(header, Errno::INVAL)?;
                return Err(SessionError::NoVersion);
            }
            (Some(_), request) => request.and_then(|r| self.perform(r, message.fds)),
        };
        if header.flags & wire::NO_REPLY != 0 {
            return Ok(());
        }
        match answer {
            Ok(answer) => self.answer(header, &answer),
            Err(errno) => {
                log::debug!("command {} refused: {errno}", header.command);
                self.refuse(header, errno)
            }
        }
    }

    fn answer(&self, command: Header, answer: &Answer) -> Result<(), SessionError> {
        let header = Header {
            flags: wire::TYPE_REPLY,
            error: 0,
            ..command
        };
        let fds: Vec<_> = answer.fds.iter().map(AsFd::as_fd).collect();
        Ok(self.connection.send(header, &answer.payload, &fds)?)
    }

    fn refuse(&self, command: Header, errno: Errno) -> Result<(), SessionError> {
        let header = Header {
            flags: wire::TYPE_REPLY | wire::ERROR,
            error: errno.raw_os_error() as u32,
            ..command
        };
        Ok(self.connection.send(header, &[], &[])?)
    }

    /// Agrees on a version and capabilities.
    fn begin(
        &mut self,
        header: Header,
        major: u16,
        minor: u16,
        json: &[u8],
    ) -> Result<(), SessionError> {
        let Ok(client) = Capabilities::from_json(json) else {
            self.refuse(header, Errno::INVAL)?;
            return Err(SessionError::NoVersion);
        };
        if major != wire::MAJOR {
            self.refuse(header, Errno::NOTSUP)?;
            return Err(SessionError::Version { major, minor });
        }
        let version = wire::Version {
            major,
            minor: minor.min(wire::MINOR),
        };
        let mut payload = bytes_of(&version);
        payload.extend(
            Capabilities::ours(&client)
                .to_json()
                .map_err(io::Error::from)?,
        );
        self.client = Some(client);
        self.answer(header, &Answer::of(payload))
    }

    fn perform(&mut self, request: Request<'_>, mut fds: Vec<OwnedFd>) -> Result<Answer, Errno> {
        match request {
            Request::Version { .. } => return Err(Errno::INVAL),
            Request::DmaMap(map) => {
                self.dma.map(&map, fds.pop())?;
                self.set_memory();
            }
            Request::DmaUnmap(unmap) => {
                self.dma.unmap(&unmap)?;
                self.set_memory();
                return Ok(Answer::of(bytes_of(&unmap)));
            }
            Request::DeviceInfo => return Ok(Answer::of(bytes_of(&DEVICE_INFO))),
            Request::RegionInfo(index) => return self.region_info(index),
            Request::RegionIoFds { index, argsz } => return self.region_io_fds(index, argsz),
            Request::IrqInfo(index) => return Ok(Answer::of(bytes_of(&self.irqs.info(index)?))),
            Request::SetIrqs(set) => self.irqs.set(&set, fds)?,
            Request::RegionRead(access) => return self.region_read(access),
            Request::RegionWrite {
                region,
                offset,
                data,
            } => return self.region_write(region, offset, data),
            Request::RegionWriteMulti(writes) => return self.region_write_multi(writes),
            Request::Reset => self.device.reset(),
        }
        Ok(Answer::default())
    }

    /// Bytes of a region, 0 for one that the device does not have.
    fn region_size(&self, index: u32) -> Result<u64, Errno> {
        match index {
            wire::REGION_CONFIG => Ok(CONFIG_SIZE as u64),
            index if index >= wire::REGIONS => Err(Errno::INVAL),
            index => {
                let sizes = self.device.bar_sizes();
                Ok(sizes.get(index as usize).copied().unwrap_or(0).into())
            }
        }
    }

    fn region_info(&self, index: u32) -> Result<Answer, Errno> {
        let size = self.region_size(index)?;
        let flags = if size == 0 {
            0
        } else {
            wire::REGION_READ | wire::REGION_WRITE
        };
        Ok(Answer::of(bytes_of(&wire::RegionInfo {
            argsz: size_of::<wire::RegionInfo>() as u32,
            flags,
            index,
            size,
            ..wire::RegionInfo::default()
        })))
    }

    /// Where an access of `count` bytes goes.
    fn place(&self, region: u32, offset: u64, count: usize) -> Result<Place, Errno> {
        let end = offset.checked_add(count as u64).ok_or(Errno::INVAL)?;
        if count == 0 || end > self.region_size(region)? {
            return Err(Errno::INVAL);
        }
        if region == wire::REGION_CONFIG {
            return Ok(Place::Config(offset as usize));
        }
        let width = Width::from_bytes(count).ok_or(Errno::INVAL)?;
        Ok(Place::Register(bar(region as usize) + offset, width))
    }

    fn region_read(&mut self, access: wire::RegionAccess) -> Result<Answer, Errno> {
        let count = access.count as usize;
        let place = self.place(access.region, access.offset, count)?;
        let mut payload = bytes_of(&access);
        match place {
            Place::Config(offset) => {
                let mut data = [0; CONFIG_SIZE];
                self.device.read_config(offset, &mut data[..count]);
                payload.extend(&data[..count]);
            }
            Place::Register(offset, width) => {
                let value = self.access(Operation::Read, offset, width);
                payload.extend(&value.to_le_bytes()[..count]);
            }
        }
        Ok(Answer::of(payload))
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<Answer, Errno> {
        match self.place(region, offset, data.len())? {
            Place::Config(offset) => self.device.write_config(offset, data),
            Place::Register(register, width) => {
                let mut bytes = [0; 8];
                bytes[..data.len()].copy_from_slice(data);
                self.access(Operation::Write(u64::from_le_bytes(bytes)), register, width);
            }
        }
        Ok(Answer::of(bytes_of(&wire::RegionAccess {
            offset,
            region,
            count: data.len() as u32,
        })))
    }

    /// All writes or, from the first one on that cannot be, none.
    fn region_write_multi(&mut self, writes: &[u8]) -> Result<Answer, Errno> {
        let mut done = 0u64;
        for bytes in writes.chunks_exact(size_of::<wire::MultiWrite>()) {
            let write = wire::MultiWrite::read_from_bytes(bytes).map_err(|_| Errno::INVAL)?;
            let data = write.data.get(..write.count as usize).ok_or(Errno::INVAL)?;
            self.region_write(write.region, write.offset, data)?;
            done += 1;
        }
        Ok(Answer::of(bytes_of(&done)))
    }

    fn access(&mut self, operation: Operation, offset: u64, width: Width) -> u64 {
        let command = Command {
            operation,
            width,
            expects_reply: true,
            user_data: 0,
            offset,
        };
        perform(self.device, &command, Origin::Vmm, self.state.counters()).data
    }

    fn region_io_fds(&mut self, index: u32, argsz: u32) -> Result<Answer, Errno> {
        self.region_size(index)?;
        let limit = self.client.as_ref().map_or(0, |client| client.max_msg_fds);
        let limit = limit.min(MAX_FDS);
        let offer = match &self.fast_io {
            Some(fast_io) => fast_io.offer(index as usize, limit),
            None => self.open_fast_io()?.offer(index as usize, limit),
        };
        let offer = offer.map_err(|e| errno(&e))?;
        let count = offer.sub_regions.len();
        let size = size_of::<wire::RegionIoFds>() + count * size_of::<wire::SubRegion>();
        let mut answer = Answer::of(bytes_of(&wire::RegionIoFds {
            argsz: size as u32,
            flags: 0,
            index,
            count: count as u32,
        }));
        if size <= argsz as usize {
            answer
                .payload
                .extend(offer.sub_regions.iter().flat_map(bytes_of));
            answer.fds = offer.fds;
        }
        Ok(answer)
    }

    fn open_fast_io(&mut self) -> Result<&FastIo, Errno> {
        let fast_io = FastIo::new(self.device).map_err(|e| errno(&e))?;
        let watch = |fd, source| self.watch(fd, source).map_err(|e| errno(&e));
        if let Some(fd) = fast_io.channel_fd() {
            watch(fd, Source::Channel)?;
        }
        for (place, fd) in fast_io.doorbell_fds().enumerate() {
            watch(fd, Source::Doorbell(place))?;
        }
        Ok(self.fast_io.insert(fast_io))
    }
}

const DEVICE_INFO: wire::DeviceInfo = wire::DeviceInfo {
    argsz: size_of::<wire::DeviceInfo>() as u32,
    flags: wire::DEVICE_RESET | wire::DEVICE_PCI,
    num_regions: wire::REGIONS,
    num_irqs: wire::IRQS,
};

const _: () = assert!(BARS as u32 <= wire::REGION_CONFIG);

/// Where an access goes.
enum Place {
    Config(usize),
    Register(u64, Width),
}

/// Whether the session goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    GoOn,
    End,
}

impl Progress {
    fn is_end(self) -> bool {
        self == Self::End
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
