//! What every queue and every store promises, run on each implementation.
//!
//! A bug found in one implementation becomes a case here for all of them.

mod amqp;
mod artifacts;
mod broker;
mod child;
mod embedded;
mod openai;
mod redis;
mod rights;
mod service;
mod services;
mod steps;
mod store;
mod tls;
