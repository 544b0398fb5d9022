//! The transport of frames to one guest.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crucible_guest::protocol::{FrameKind, ProcUsage};

use crate::errors::{Disconnected, protocol};
use crate::frame_decoder::Frame;
use crate::response_router::{PendingRequest, ResponseRouter};

/// The longest wait for the last frames of a guest that no longer accepts requests.
const LAST_FRAMES_TIMEOUT: Duration = Duration::from_secs(2);

/// The transport of frames to one guest and back. Each engine implements it.
pub trait Channel: fmt::Debug + Send + Sync {
    /// Returns the router of the guest's responses.
    fn router(&self) -> &ResponseRouter;

    /// Sends a frame with the payload `head` followed by `body`.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a partial frame on the channel. The engine defines whether the
    /// channel stays usable.
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

    /// Reads one frame and delivers it to the router before any other task can read, so responses
    /// keep their order.
    ///
    /// Messages about the sandbox itself are recorded elsewhere. The end of the connection is
    /// recorded in the router.
    ///
    /// # Cancel safety
    /// Dropping the future loses no frame.
    fn read_frame(&self) -> impl Future<Output = ()> + Send;
}

/// Operations on every [`Channel`].
pub trait ChannelExt: Channel {
    /// Returns the next response to a request.
    ///
    /// # Cancel safety
    /// Dropping the future loses no frame.
    ///
    /// # Errors
    /// See [`Disconnected`].
    fn response(
        &self,
        request: &PendingRequest<'_>,
    ) -> impl Future<Output = Result<Frame, Disconnected>> + Send {
        self.wait_for(|| self.router().take(request))
    }

    /// Reads frames until `find` returns a value.
    ///
    /// # Cancel safety
    /// Dropping the future loses no frame.
    ///
    /// # Errors
    /// Returns the reason if the guest disconnects first, see [`Disconnected`].
    fn wait_for<T: Send>(
        &self,
        mut find: impl FnMut() -> Option<T> + Send,
    ) -> impl Future<Output = Result<T, Disconnected>> + Send {
        async move {
            loop {
                // Registered before the check, so that a frame delivered in between wakes this
                // task.
                let mut delivery = std::pin::pin!(self.router().next_delivery());
                delivery.as_mut().enable();
                if let Some(found) = find() {
                    return Ok(found);
                }
                if self.router().is_disconnected() {
                    return Err(self.router().disconnect_reason());
                }
                tokio::select! {
                    () = delivery => {}
                    () = self.read_frame() => {}
                }
            }
        }
    }

    /// Waits until the sandbox is ready.
    ///
    /// # Cancel safety
    /// Dropping the future loses no frame.
    ///
    /// # Errors
    /// See [`Disconnected`].
    fn ready(&self) -> impl Future<Output = Result<(), Disconnected>> + Send {
        self.wait_for(|| self.router().greeting().map(drop))
    }

    /// Asks the guest for the CPU time of the sandbox.
    ///
    /// # Cancel safety
    /// Dropping the future loses only the response.
    ///
    /// # Errors
    /// See [`Disconnected`].
    fn measure(&self) -> impl Future<Output = Result<ProcUsage, Disconnected>> + Send {
        async {
            let request = self.router().open_request();
            self.send(FrameKind::Measure, request.id(), &[], &[]).await?;
            let response = self.response(&request).await?;
            match response.kind {
                FrameKind::Usage => ProcUsage::decode(&response.payload)
                    .map_err(|_| Disconnected::Error(protocol("its usage is malformed", true))),
                _ => Err(Disconnected::Error(protocol("it cannot measure", true))),
            }
        }
    }

    /// Reads frames until the guest disconnects.
    fn read_to_end(&self) -> impl Future<Output = ()> + Send {
        async {
            while !self.router().is_disconnected() {
                self.read_frame().await;
            }
        }
    }

    /// Reads the last frames of a guest that no longer accepts requests, and returns why it
    /// disconnected.
    fn disconnect_reason(&self) -> impl Future<Output = Disconnected> + Send {
        async {
            // Such a guest may continue to send frames, or stay silent without closing the channel.
            let _read = tokio::time::timeout(LAST_FRAMES_TIMEOUT, self.read_to_end()).await;
            self.router().disconnect_reason()
        }
    }
}

impl<C: Channel + ?Sized> ChannelExt for C {}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::{Mutex, mpsc};

    use super::*;

    /// A guest that is simulated by a queue of frames.
    #[derive(Debug)]
    struct QueueChannel {
        router: ResponseRouter,
        frames: Mutex<mpsc::UnboundedReceiver<Frame>>,
    }

    impl Channel for QueueChannel {
        fn router(&self) -> &ResponseRouter {
            &self.router
        }

        async fn send(&self, _: FrameKind, _: u32, _: &[u8], _: &[u8]) -> Result<(), Disconnected> {
            Ok(())
        }

        async fn read_frame(&self) {
            let mut frames = self.frames.lock().await;
            match frames.recv().await {
                Some(frame) => self.router.deliver(frame),
                None => self.router.record_end(),
            }
        }
    }

    #[tokio::test]
    async fn responses_keep_their_order_for_any_reader() {
        // select! polls the delivery and the channel in random order.
        for _ in 0..64 {
            let (sender, frames) = mpsc::unbounded_channel();
            let guest = QueueChannel { router: ResponseRouter::new(), frames: Mutex::new(frames) };
            let (command, input) = (guest.router.open_request(), guest.router.open_request());
            let send = async {
                for (kind, request) in [
                    (FrameKind::CgroupCounts, &command),
                    (FrameKind::Exited, &command),
                    (FrameKind::Done, &input),
                ] {
                    sender.send(Frame { kind, id: request.id(), payload: Bytes::new() }).unwrap();
                }
            };
            let follow = async {
                let mut kinds = Vec::new();
                for _ in 0..2 {
                    kinds.push(guest.response(&command).await.unwrap().kind);
                }
                kinds
            };
            // Both readers wait before the first frame arrives.
            let (fed, kinds, ()) = tokio::join!(biased; guest.response(&input), follow, send);
            assert_eq!(fed.unwrap().kind, FrameKind::Done);
            assert_eq!(kinds, [FrameKind::CgroupCounts, FrameKind::Exited]);
        }
    }
}
