//! The guest's end of the control channel: frames in, frames out.

use super::errno::{Errno, Result, retry};
use super::sys::{self, Fd, Fds};
use crate::protocol::{
    Failure, FrameKind, HEADER_SIZE, Header, Overflow, PAYLOAD_MAX_TO_GUEST, PAYLOAD_MAX_TO_HOST,
    Step, WireWriter,
};

/// Room for any answer but bytes of files and streams, which are sent from where they are.
const ANSWER_MAX: usize = 8 * 1024;

/// Room for what is said of a command: that it runs, with its status file, and that it has ended.
const BATCH_MAX: usize = 5 * 1024;

/// Where frames come from and go to: one socket, or two pipes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Control {
    pub(crate) input: Fd,
    output: Fd,
    /// Whether descriptors can come along, which takes a socket.
    is_socket: bool,
}

/// Frames that travel together, so that whoever reads them is woken once.
pub(crate) struct Batch {
    bytes: [u8; BATCH_MAX],
    length: usize,
}

impl Batch {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; BATCH_MAX], length: 0 }
    }

    /// Adds a frame whose payload is written by `write`.
    pub(crate) fn add(
        &mut self,
        kind: FrameKind,
        id: u32,
        write: impl FnOnce(&mut WireWriter<'_>) -> core::result::Result<(), Overflow>,
    ) -> Result<()> {
        let free = self.bytes.get_mut(self.length..).unwrap_or_default();
        let (header, payload) = free.split_at_mut_checked(HEADER_SIZE).ok_or(Errno::INVAL)?;
        let mut writer = WireWriter::new(payload);
        write(&mut writer).map_err(|_| Errno::INVAL)?;
        let written = writer.len();
        let length = u32::try_from(written).map_err(|_| Errno::INVAL)?;
        Header { kind, id, length }
            .encode(&mut WireWriter::new(header))
            .map_err(|_| Errno::INVAL)?;
        self.length += HEADER_SIZE + written;
        Ok(())
    }
}

impl Control {
    pub(crate) const fn socket(socket: Fd) -> Self {
        Self { input: socket, output: socket, is_socket: true }
    }

    pub(crate) const fn pipes(input: Fd, output: Fd) -> Self {
        Self { input, output, is_socket: false }
    }

    /// Reads the next frame: its header, its payload into `buffer`, and what came along. `None`: the host is gone.
    ///
    /// A frame that is not one cannot be skipped, so it is an error that ends the guest.
    pub(crate) fn read_frame(self, buffer: &mut [u8]) -> Result<Option<(Header, Fds)>> {
        let mut header = [0; HEADER_SIZE];
        let mut fds = Fds::none();
        if !self.fill(&mut header, &mut fds)? {
            return Ok(None);
        }
        let header = Header::decode(&header, PAYLOAD_MAX_TO_GUEST).map_err(|_| Errno::PROTO)?;
        let payload = buffer.get_mut(..header.length as usize).ok_or(Errno::PROTO)?;
        if !self.fill(payload, &mut fds)? && header.length > 0 {
            return Ok(None);
        }
        Ok(Some((header, fds)))
    }

    /// Reads until `buffer` is full; `false` if the other side ended before.
    fn fill(self, mut buffer: &mut [u8], fds: &mut Fds) -> Result<bool> {
        while !buffer.is_empty() {
            let count = if self.is_socket {
                let (count, received) = retry(|| sys::receive(self.input, buffer))?;
                if !received.as_slice().is_empty() {
                    fds.close();
                    *fds = received;
                }
                count
            } else {
                retry(|| sys::read(self.input, buffer))?
            };
            if count == 0 {
                return Ok(false);
            }
            buffer = buffer.get_mut(count..).unwrap_or_default();
        }
        Ok(true)
    }

    /// Sends a frame whose payload is written by `write`.
    pub(crate) fn answer(
        self,
        kind: FrameKind,
        id: u32,
        write: impl FnOnce(&mut WireWriter<'_>) -> core::result::Result<(), Overflow>,
    ) -> Result<()> {
        self.answer_with(kind, id, None, write)
    }

    /// Sends a frame, and a descriptor along with it, if there is one and this is a socket.
    pub(crate) fn answer_with(
        self,
        kind: FrameKind,
        id: u32,
        fd: Option<Fd>,
        write: impl FnOnce(&mut WireWriter<'_>) -> core::result::Result<(), Overflow>,
    ) -> Result<()> {
        let mut payload = [0; ANSWER_MAX];
        let mut writer = WireWriter::new(&mut payload);
        write(&mut writer).map_err(|_| Errno::INVAL)?;
        self.send(kind, id, &[], writer.written(), fd)
    }

    /// Sends all that was added to a batch, if anything was, and a descriptor along with it.
    pub(crate) fn send_batch(self, batch: &mut Batch, fd: Option<Fd>) -> Result<()> {
        let length = core::mem::replace(&mut batch.length, 0);
        self.send_all(batch.bytes.get(..length).unwrap_or_default(), &[], fd)
    }

    /// Says that a request failed.
    pub(crate) fn fail(self, id: u32, step: Step, error: Errno) -> Result<()> {
        let failure = Failure { step, errno: error.0 };
        self.answer(FrameKind::Failed, id, |writer| failure.encode(writer))
    }

    /// Sends a frame whose payload is `head` and then `body`, and a descriptor along with it.
    pub(crate) fn send(
        self,
        kind: FrameKind,
        id: u32,
        head: &[u8],
        body: &[u8],
        fd: Option<Fd>,
    ) -> Result<()> {
        let length = head.len() + body.len();
        if length > PAYLOAD_MAX_TO_HOST {
            return Err(Errno::INVAL);
        }
        let length = u32::try_from(length).map_err(|_| Errno::INVAL)?;
        let mut start = [0; HEADER_SIZE + 16];
        let mut writer = WireWriter::new(&mut start);
        Header { kind, id, length }.encode(&mut writer).map_err(|_| Errno::INVAL)?;
        writer.raw(head).map_err(|_| Errno::INVAL)?;
        self.send_all(writer.written(), body, fd)
    }

    fn send_all(self, mut head: &[u8], mut body: &[u8], mut fd: Option<Fd>) -> Result<()> {
        while !head.is_empty() || !body.is_empty() {
            let count = if self.is_socket {
                retry(|| sys::send(self.output, head, body, fd))?
            } else {
                retry(|| sys::write(self.output, if head.is_empty() { body } else { head }))?
            };
            // The descriptor goes with the first bytes.
            fd = None;
            let of_head = count.min(head.len());
            head = head.get(of_head..).unwrap_or_default();
            body = body.get(count - of_head..).unwrap_or_default();
        }
        Ok(())
    }
}
