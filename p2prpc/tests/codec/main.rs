//! What each codec makes of values, from one release to the next.

mod changes;
mod errors;
mod golden;
mod types;
