//! The whole system from the outside: the real binaries, on folders of their own, against a real LM server.

mod changes;
mod check;
mod cluster;
mod documents;
mod drain;
mod examples;
mod failures;
mod files;
mod logs;
mod manners;
mod metrics;
mod rehearse;
mod resume;
mod screens;
mod secrets;
mod simulated;
mod training;
mod upgrade;
mod usage;
mod validation;
