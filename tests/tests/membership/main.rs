//! Who is a member, in swarms of several nodes over real connections.

mod hints;
mod leaving;
mod remembering;
mod support;
mod swarms;
