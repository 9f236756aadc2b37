//! What tests are written with: real servers around the service, ways to break the wire between them, and somebody who visits it.

pub mod proxy;
pub mod redis;
