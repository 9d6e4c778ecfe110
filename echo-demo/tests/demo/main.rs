//! The program, started for real.
#![cfg(unix)]

mod flags;
mod hostile;
mod leaving;
mod membership;
mod support;
mod swarm;
