//! How frames travel.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crucible_guest::protocol::FrameKind;

use crate::desk::{Disconnected, PendingRequest, ResponseRouter};
use crate::frames::Frame;

/// How long the last words of a guest to which nothing can be sent any more are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How frames travel to one guest, and back. What an engine brings.
pub trait Channel: fmt::Debug + Send + Sync {
    /// Where answers wait.
    fn desk(&self) -> &ResponseRouter;

    /// Sends a frame whose payload is `head` and then `body`.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a part of a frame on the way. Whether the channel is of use then is for the engine to say.
    ///
    /// # Errors
    /// See [`Disconnected`].
    fn send(
        &self,
        kind: FrameKind,
        id: u32,
        head: &[u8],
        body: &[u8],
    ) -> impl Future<Output = Result<(), Disconnected>> + Send;

    /// Reads one frame, and puts it at the desk before anybody else can read: so answers keep their order. What is about the
    /// sandbox itself is kept elsewhere; that the conversation has ended is noted at the desk.
    ///
    /// # Cancel safety
    /// Dropping the future loses no frame.
    fn read(&self) -> impl Future<Output = ()> + Send;
}

/// What can be done with every [`Channel`].
pub trait ChannelExt: Channel {
    /// The next answer to a question.
    ///
    /// # Cancel safety
    /// Dropping the future loses no frame.
    ///
    /// # Errors
    /// See [`Disconnected`].
    fn answer(
        &self,
        question: &PendingRequest<'_>,
    ) -> impl Future<Output = Result<Frame, Disconnected>> + Send {
        async {
            loop {
                // Before looking: what is put from now on wakes us.
                let mut news = std::pin::pin!(self.desk().news());
                news.as_mut().enable();
                if let Some(frame) = self.desk().take(question) {
                    return Ok(frame);
                }
                if self.desk().has_ended() {
                    return Err(self.desk().end());
                }
                tokio::select! {
                    () = news => {}
                    () = self.read() => {}
                }
            }
        }
    }

    /// Reads until `found` gives something.
    ///
    /// # Cancel safety
    /// Dropping the future loses no frame.
    ///
    /// # Errors
    /// The conversation ended before; see [`Disconnected`].
    fn wait_for<T: Send>(
        &self,
        mut found: impl FnMut() -> Option<T> + Send,
    ) -> impl Future<Output = Result<T, Disconnected>> + Send {
        async move {
            loop {
                let mut news = std::pin::pin!(self.desk().news());
                news.as_mut().enable();
                if let Some(found) = found() {
                    return Ok(found);
                }
                if self.desk().has_ended() {
                    return Err(self.desk().end());
                }
                tokio::select! {
                    () = news => {}
                    () = self.read() => {}
                }
            }
        }
    }

    /// Waits until the sandbox stands.
    ///
    /// # Cancel safety
    /// Dropping the future loses no frame.
    ///
    /// # Errors
    /// See [`Disconnected`].
    fn ready(&self) -> impl Future<Output = Result<(), Disconnected>> + Send {
        self.wait_for(|| self.desk().greeting().map(drop))
    }

    /// Reads until the guest side has ended.
    fn read_to_end(&self) -> impl Future<Output = ()> + Send {
        async {
            while !self.desk().has_ended() {
                self.read().await;
            }
        }
    }

    /// Why nothing can be sent any more: what the guest said last tells.
    fn why_ended(&self) -> impl Future<Output = Disconnected> + Send {
        async {
            // One that does not listen any more can go on talking, or say nothing without an end.
            let _read = tokio::time::timeout(LAST_WORDS, self.read_to_end()).await;
            self.desk().end()
        }
    }
}

impl<C: Channel + ?Sized> ChannelExt for C {}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::{Mutex, mpsc};

    use super::*;

    /// A guest of which we hear what is put into a queue.
    #[derive(Debug)]
    struct Told {
        desk: ResponseRouter,
        frames: Mutex<mpsc::UnboundedReceiver<Frame>>,
    }

    impl Channel for Told {
        fn desk(&self) -> &ResponseRouter {
            &self.desk
        }

        async fn send(&self, _: FrameKind, _: u32, _: &[u8], _: &[u8]) -> Result<(), Disconnected> {
            Ok(())
        }

        async fn read(&self) {
            let mut frames = self.frames.lock().await;
            match frames.recv().await {
                Some(frame) => self.desk.put(frame),
                None => self.desk.note_end(),
            }
        }
    }

    #[tokio::test]
    async fn answers_keep_their_order_whoever_reads_them() {
        // Which of two is looked at first, news or the channel, is left to chance.
        for _ in 0..64 {
            let (told, frames) = mpsc::unbounded_channel();
            let guest = Told { desk: ResponseRouter::new(), frames: Mutex::new(frames) };
            let (command, input) = (guest.desk.ask(), guest.desk.ask());
            let tell = async {
                for (kind, question) in [
                    (FrameKind::CgroupCounts, &command),
                    (FrameKind::Exited, &command),
                    (FrameKind::Done, &input),
                ] {
                    told.send(Frame { kind, id: question.id(), payload: Bytes::new() }).unwrap();
                }
            };
            let follow = async {
                let mut kinds = Vec::new();
                for _ in 0..2 {
                    kinds.push(guest.answer(&command).await.unwrap().kind);
                }
                kinds
            };
            // All wait before anything comes.
            let (fed, kinds, ()) = tokio::join!(biased; guest.answer(&input), follow, tell);
            assert_eq!(fed.unwrap().kind, FrameKind::Done);
            assert_eq!(kinds, [FrameKind::CgroupCounts, FrameKind::Exited]);
        }
    }
}
