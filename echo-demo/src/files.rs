//! How many files, and so connections, the program may have open.

/// Raises the soft limit to `wanted` if the hard one allows it, or as far as it does. Gives the limit that holds now.
#[cfg(unix)]
pub(crate) fn allow(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let most = maximum.map_or(wanted, |maximum| maximum.min(wanted));
        if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum }) {
            tracing::debug!("the limit on open files stays as it is: {error}");
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// There is no such limit here.
#[cfg(not(unix))]
pub(crate) fn allow(_wanted: u64) -> u64 {
    u64::MAX
}
