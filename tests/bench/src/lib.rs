//! p2prpc beside what a user would pick instead: the same payloads, machine and run.

pub mod extra;
pub mod load;
pub mod peers;
pub mod plots;
pub mod report;
pub mod streams;
pub mod worker;
