//! Who a node is: its key pair.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use libp2p::PeerId;
use libp2p::identity::Keypair;
use sha2::{Digest, Sha256};

/// More than any key takes: a larger file is no identity.
const MAX_FILE: u64 = 16 * 1024;

/// A node's key pair. Its public half is the node's [`PeerId`], and the handshake of every connection proves it.
///
/// ```
/// use p2prpc::Identity;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("identity");
/// let first = Identity::from_file(&path)?; // makes the file
/// let again = Identity::from_file(&path)?; // reads it
/// assert_eq!(first.peer_id(), again.peer_id());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Identity {
    keypair: Keypair,
}

impl Identity {
    /// A fresh Ed25519 key pair. It is gone with the program: use [`from_file`](Identity::from_file) for one that stays.
    pub fn generate() -> Self {
        Identity { keypair: Keypair::generate_ed25519() }
    }

    /// The Ed25519 key pair of this number, the same each time.
    ///
    /// **For tests and demonstrations only**: whoever guesses the number has the key.
    pub fn from_seed(seed: u64) -> Self {
        let mut secret = Sha256::new().chain_update("p2prpc identity seed").chain_update(seed.to_le_bytes()).finalize();
        match Keypair::ed25519_from_bytes(&mut secret[..]) {
            Ok(keypair) => Identity { keypair },
            Err(_) => unreachable!("any 32 bytes are an Ed25519 secret key"),
        }
    }

    /// The key pair in this file, in libp2p's protobuf encoding. A missing file is made, with a fresh Ed25519 key pair and
    /// readable by its owner only (mode 0600 on Unix); a missing directory isn't.
    ///
    /// # Errors
    /// If the file can't be read or made, or holds something else. The error names the file and says what to do.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let path = path.as_ref();
        let keypair = match read(path) {
            Err(Problem::Missing) => create(path),
            result => result,
        };
        keypair.map(|keypair| Identity { keypair }).map_err(|problem| IdentityError { path: path.into(), problem })
    }

    /// The peer id of this key pair.
    pub fn peer_id(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    pub(super) fn keypair(&self) -> &Keypair {
        &self.keypair
    }
}

/// Any key pair that libp2p knows how to use.
impl From<Keypair> for Identity {
    fn from(keypair: Keypair) -> Self {
        Identity { keypair }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&format_args!("{}", self.peer_id())).finish()
    }
}

/// Why [`Identity::from_file`] gave none. `Display` is one sentence that names the file and says what to do.
#[derive(Debug)]
pub struct IdentityError {
    path: PathBuf,
    problem: Problem,
}

impl IdentityError {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[derive(Debug)]
enum Problem {
    Missing,
    Directory,
    NoDirectory,
    NotAnIdentity,
    Read(io::Error),
    Write(io::Error),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "identity file {}: ", self.path.display())?;
        match &self.problem {
            Problem::Missing => f.write_str("it is not there and could not be made"),
            Problem::Directory => f.write_str("it is a directory; name a file in it"),
            Problem::NoDirectory => f.write_str("its directory does not exist; make it first"),
            Problem::NotAnIdentity => f.write_str(
                "it holds no key pair of libp2p; name another file, or remove this one to have a new identity made",
            ),
            Problem::Read(error) => write!(f, "it can't be read ({error}); make it readable or name another file"),
            Problem::Write(error) => {
                write!(f, "it can't be made ({error}); make its directory writable or name another file")
            }
        }
    }
}

impl std::error::Error for IdentityError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Read(error) | Problem::Write(error) => Some(error),
            _ => None,
        }
    }
}

fn read(path: &Path) -> Result<Keypair, Problem> {
    let reading = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Problem::Missing,
        io::ErrorKind::IsADirectory => Problem::Directory,
        _ => Problem::Read(error),
    };
    if fs::metadata(path).map_err(reading)?.is_dir() {
        return Err(Problem::Directory);
    }
    let file = File::open(path).map_err(reading)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(reading)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Problem::NotAnIdentity);
    }
    Keypair::from_protobuf_encoding(&bytes).map_err(|_| Problem::NotAnIdentity)
}

fn create(path: &Path) -> Result<Keypair, Problem> {
    let keypair = Keypair::generate_ed25519();
    let bytes = keypair.to_protobuf_encoding().map_err(|error| Problem::Write(io::Error::other(error)))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = match options.open(path) {
        Ok(file) => file,
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return read(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Problem::NoDirectory),
        Err(error) => return Err(Problem::Write(error)),
    };
    if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_all()) {
        drop(file);
        let _ = fs::remove_file(path);
        return Err(Problem::Write(error));
    }
    Ok(keypair)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(path: &Path) -> String {
        let error = Identity::from_file(path).unwrap_err();
        assert_eq!(error.path(), path);
        error.to_string()
    }

    #[test]
    fn a_seed_gives_the_same_peer_each_time() {
        assert_eq!(Identity::from_seed(7).peer_id(), Identity::from_seed(7).peer_id());
        assert_ne!(Identity::from_seed(7).peer_id(), Identity::from_seed(8).peer_id());
    }

    #[test]
    fn a_missing_file_is_made_for_its_owner_only_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity");
        let made = Identity::from_file(&path).unwrap();
        assert_eq!(made.peer_id(), Identity::from_file(&path).unwrap().peer_id());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_directory_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let text = error_of(directory.path());
        assert!(text.contains("is a directory") && text.contains(directory.path().to_str().unwrap()), "{text}");
    }

    #[test]
    fn a_missing_directory_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("absent").join("identity");
        assert!(error_of(&path).contains("make it first"));
        assert!(!directory.path().join("absent").exists());
    }

    #[test]
    fn rubbish_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity");
        for rubbish in [&b""[..], b"-----BEGIN PRIVATE KEY-----", &[0xff; 70_000]] {
            fs::write(&path, rubbish).unwrap();
            assert!(error_of(&path).contains("holds no key pair"));
            assert_eq!(fs::read(&path).unwrap(), rubbish);
        }
    }
}
