//! Tests of p2prpc.

pub mod hostile;
