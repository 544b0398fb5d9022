//! The images of the containers.

mod image_cache;
mod pull;

pub(crate) use image_cache::{Image, ImageCache};
