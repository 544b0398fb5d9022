//! The guest's end of the channel to the host.

use super::frame_batch::FrameBatch;
use super::sys::{self, Errno, Fd, Fds, Result, retry};
use crate::protocol::{
    Failure, FrameKind, HEADER_SIZE, Header, Overflow, PAYLOAD_MAX_TO_GUEST, PAYLOAD_MAX_TO_HOST,
    Step, WireWriter,
};

/// Room for any answer except the contents of files and streams, which are sent from their buffers.
const ANSWER_MAX: usize = 8 * 1024;

/// The channel over which frames travel: one socket, or two pipes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostChannel {
    pub(crate) input: Fd,
    output: Fd,
    /// Whether the channel can pass file descriptors, which requires a socket.
    is_socket: bool,
}

impl HostChannel {
    pub(crate) const fn socket(socket: Fd) -> Self {
        Self { input: socket, output: socket, is_socket: true }
    }

    pub(crate) const fn pipes(input: Fd, output: Fd) -> Self {
        Self { input, output, is_socket: false }
    }

    /// Reads the next frame. Returns its header and its file descriptors, and fills `buffer` with
    /// its payload. Returns `None` if the host has closed the channel.
    ///
    /// The guest cannot skip an invalid frame, so that it is an error that ends the guest.
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

    /// Reads until `buffer` is full. Returns `false` if the host closed the channel first.
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

    /// Sends a frame. `write` writes its payload.
    pub(crate) fn answer(
        self,
        kind: FrameKind,
        id: u32,
        write: impl FnOnce(&mut WireWriter<'_>) -> core::result::Result<(), Overflow>,
    ) -> Result<()> {
        self.answer_with(kind, id, None, write)
    }

    /// Sends a frame with a descriptor, if there is one and the channel is a socket.
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

    /// Sends the frames of a batch, if there are any, with a descriptor.
    pub(crate) fn send_batch(self, batch: &mut FrameBatch, fd: Option<Fd>) -> Result<()> {
        self.send_all(batch.take(), &[], fd)
    }

    /// Reports that a request failed.
    pub(crate) fn fail(self, id: u32, step: Step, error: Errno) -> Result<()> {
        let failure = Failure { step, errno: error.0 };
        self.answer(FrameKind::Failed, id, |writer| failure.encode(writer))
    }

    /// Sends a frame with the payload `head` followed by `body`, and with a descriptor.
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
            // The descriptor travels with the first bytes.
            fd = None;
            let of_head = count.min(head.len());
            head = head.get(of_head..).unwrap_or_default();
            body = body.get(count - of_head..).unwrap_or_default();
        }
        Ok(())
    }
}
