//! Tests of p2prpc.
