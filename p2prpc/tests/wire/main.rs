//! `docs/wire.md`, held against the code: its rules and its vectors.

mod rules;
mod vectors;
