//! How many files, and so connections, this process may have open.

/// Raises the soft limit as far as the hard one allows.
#[cfg(unix)]
pub(super) fn allow_many() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        eprintln!("the limit on open files stays as it is: {error}");
    }
}

/// There is no such limit here.
#[cfg(not(unix))]
pub(super) fn allow_many() {}
