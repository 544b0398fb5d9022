//! How frames travel.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crucible_guest::protocol::FrameKind;

use crate::desk::{Desk, Ended, Question};
use crate::frames::Frame;

/// How long the last words of a guest to which nothing can be sent any more are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How frames travel to one guest, and back. What an engine brings.
pub trait Channel: fmt::Debug + Send + Sync {
    /// Where answers wait.
    fn desk(&self) -> &Desk;

    /// Sends a frame whose payload is `head` and then `body`.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a part of a frame on the way: the channel is of no use then.
    ///
    /// # Errors
    /// See [`Ended`].
    fn send(
        &self,
        kind: FrameKind,
        id: u32,
        head: &[u8],
        body: &[u8],
    ) -> impl Future<Output = Result<(), Ended>> + Send;

    /// Reads one frame. What is about the sandbox itself is kept, and `None` is given; so it is when the conversation has
    /// ended, which is noted at the desk.
    ///
    /// # Cancel safety
    /// Dropping the future loses no frame.
    fn read(&self) -> impl Future<Output = Option<Frame>> + Send;
}

/// What can be done with every [`Channel`].
pub trait ChannelExt: Channel {
    /// The next answer to a question.
    ///
    /// # Cancel safety
    /// Dropping the future loses no frame.
    ///
    /// # Errors
    /// See [`Ended`].
    fn answer(&self, question: &Question<'_>) -> impl Future<Output = Result<Frame, Ended>> + Send {
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
                    frame = self.read() => if let Some(frame) = frame {
                        if frame.id == question.id() {
                            return Ok(frame);
                        }
                        self.desk().put(frame);
                    },
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
    /// The conversation ended before; see [`Ended`].
    fn wait_for<T: Send>(
        &self,
        mut found: impl FnMut() -> Option<T> + Send,
    ) -> impl Future<Output = Result<T, Ended>> + Send {
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
                    frame = self.read() => if let Some(frame) = frame { self.desk().put(frame) },
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
    /// See [`Ended`].
    fn ready(&self) -> impl Future<Output = Result<(), Ended>> + Send {
        self.wait_for(|| self.desk().greeting().map(drop))
    }

    /// Reads until the guest side has ended.
    fn read_to_end(&self) -> impl Future<Output = ()> + Send {
        async {
            while !self.desk().has_ended() {
                if let Some(frame) = self.read().await {
                    self.desk().put(frame);
                }
            }
        }
    }

    /// Why nothing can be sent any more: what the guest said last tells.
    fn why_ended(&self) -> impl Future<Output = Ended> + Send {
        async {
            // One that does not listen any more can go on talking, or say nothing without an end.
            let _read = tokio::time::timeout(LAST_WORDS, self.read_to_end()).await;
            self.desk().end()
        }
    }
}

impl<C: Channel + ?Sized> ChannelExt for C {}
