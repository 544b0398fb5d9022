//! The channel to one guest: a socket with frames and descriptors. Every received byte is hostile.

mod frame_reader;
mod guest_channel;
mod guest_socket;

pub(crate) use frame_reader::{FrameReader, ReadError, send_blocking};
pub(crate) use guest_channel::{ChannelParts, GuestChannel};
pub(crate) use guest_socket::{GuestSocket, socket_pair};
