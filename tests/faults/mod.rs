//! The whole cluster from the outside: real processes and servers, killed and cut off at moments that a seed decides. The result is always that of an undisturbed run.
//!
//! `tests/faults/run.sh` runs this at length.

mod audit;
mod chaos;
mod cluster;
mod fault;
mod log;
mod network;
mod process;
mod settings;
mod table;
mod takeover;
