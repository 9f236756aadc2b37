//! What tests are written with: real servers around the service, ways to break the wire between them, and somebody who visits it.

pub mod browser;
pub mod fake_provider;
pub mod forms;
pub mod keycloak;
pub mod log;
pub mod node_provider;
pub mod operator;
pub mod panics;
pub mod policies;
pub mod prism;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod service;
pub mod setup;
pub mod story;
pub mod twilio;
pub mod twilio_api;
pub mod visitor;
