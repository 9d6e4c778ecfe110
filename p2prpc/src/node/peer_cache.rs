//! Members in a file, so that a node finds its group again when all bootstrap peers are gone.
//!
//! A header, and an address with the peer's id on each line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::FutureExt;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use tokio::task::{JoinError, JoinHandle};

use crate::membership::MAX_REMEMBERED;

const HEADER: &str = "p2prpc peers 1";
/// A file of ours is never larger than this.
const MAX_FILE: u64 = 1024 * 1024;
/// Addresses of one peer.
const MAX_ADDRESSES: usize = 8;
/// Changes within this are written together.
const WRITE_EVERY: Duration = Duration::from_secs(10);
/// What is put behind the name of a file that isn't one of ours when it makes room.
const ASIDE: &str = ".bad";

/// Peers and where they are, in an order of its own, so that what is the same looks the same.
pub(super) type Peers = BTreeMap<PeerId, Vec<Multiaddr>>;

/// The file, and what is in it.
#[derive(Debug)]
pub(super) struct PeerCache {
    path: PathBuf,
    /// `None` if it isn't known, for the last one couldn't be written.
    written: Option<Peers>,
    /// What is there must not be lost: the user may have named another file than was meant.
    foreign: bool,
    next: Instant,
    writing: Option<JoinHandle<io::Result<()>>>,
    /// That it can't be written is said.
    said: bool,
}

impl PeerCache {
    /// What is in the file, and the file. What is wrong with it is said.
    pub(super) async fn open(path: PathBuf, local: PeerId, now: Instant) -> (Peers, PeerCache) {
        let of = path.clone();
        let content = tokio::task::spawn_blocking(move || read(&of)).await;
        let content = content.unwrap_or_else(|error| Err(Problem::Unreadable(io::Error::other(error))));
        let shown = path.display();
        let (peers, foreign) = match content.and_then(|text| text.as_deref().map(parse).transpose()) {
            Ok(None) => (Peers::new(), false),
            Ok(Some(Parsed { mut peers, wrong_line })) => {
                if let Some(line) = wrong_line {
                    tracing::warn!(
                        "peer cache {shown}: line {line} is no address of a peer; lines that aren't are ignored"
                    );
                }
                if peers.remove(&local).is_some() {
                    tracing::warn!(
                        "peer cache {shown}: it lists this node itself, so another node has written it; each needs its own"
                    );
                }
                (peers, false)
            }
            Err(problem) => {
                tracing::warn!("peer cache {shown}: {problem}; it is ignored");
                (Peers::new(), matches!(problem, Problem::Foreign | Problem::TooLarge))
            }
        };
        let (written, next) = (Some(peers.clone()), now + WRITE_EVERY);
        let cache = PeerCache { path, written, foreign, next, writing: None, said: false };
        (peers, cache)
    }

    /// To be called now and then: writes what is known, if that is not what is written, and not too often.
    pub(super) fn tick<'a>(&mut self, now: Instant, known: impl Iterator<Item = (&'a PeerId, &'a [Multiaddr])>) {
        if now < self.next {
            return;
        }
        if let Some(result) = self.writing.as_mut().and_then(FutureExt::now_or_never) {
            self.ended(result);
        }
        if self.writing.is_none() {
            self.next = now + WRITE_EVERY;
            self.write(known);
        }
    }

    /// Write what is known, if that is not what is written. It goes on by itself.
    pub(super) fn write<'a>(&mut self, known: impl Iterator<Item = (&'a PeerId, &'a [Multiaddr])>) {
        let known: Peers = known.map(|(peer, addresses)| (*peer, addresses.to_vec())).collect();
        if self.written.as_ref() == Some(&known) {
            return;
        }
        let (path, before, aside) = (self.path.clone(), self.writing.take(), std::mem::take(&mut self.foreign));
        let text = text_of(&known);
        self.written = Some(known);
        self.writing = Some(tokio::spawn(async move {
            if let Some(before) = before {
                // This one says whether it can be written.
                let _ = before.await;
            }
            let written = tokio::task::spawn_blocking(move || replace(&path, aside, text.as_bytes())).await;
            written.unwrap_or_else(|error| Err(io::Error::other(error)))
        }));
    }

    fn ended(&mut self, result: Result<io::Result<()>, JoinError>) {
        self.writing = None;
        match result.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => self.said = false,
            Err(error) => {
                self.written = None;
                if !std::mem::replace(&mut self.said, true) {
                    let shown = self.path.display();
                    tracing::warn!("peer cache {shown}: it can't be written ({error}); it is tried again");
                }
            }
        }
    }

    /// Wait until what was to be written is.
    pub(super) async fn finished(&mut self) {
        if let Some(writing) = &mut self.writing {
            let result = writing.await;
            self.ended(result);
        }
    }
}

#[derive(Debug)]
enum Problem {
    Unreadable(io::Error),
    TooLarge,
    Foreign,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Problem::Unreadable(error) => write!(f, "it can't be read ({error})"),
            Problem::TooLarge => write!(f, "it is larger than {MAX_FILE} bytes, as none of p2prpc is"),
            Problem::Foreign => write!(f, "it is damaged or none of p2prpc's: its first line isn't `{HEADER}`"),
        }
    }
}

/// `None` if there is none.
fn read(path: &Path) -> Result<Option<String>, Problem> {
    // What isn't a file may have no end, or no beginning.
    match fs::metadata(path) {
        Ok(what) if what.is_file() => {}
        Ok(_) => return Err(Problem::Unreadable(io::Error::other("it is not a file"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Problem::Unreadable(error)),
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Problem::Unreadable)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(Problem::Unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Problem::TooLarge);
    }
    String::from_utf8(bytes).map(Some).map_err(|_| Problem::Foreign)
}

struct Parsed {
    peers: Peers,
    /// The first that is no address, counted from one.
    wrong_line: Option<usize>,
}

fn parse(text: &str) -> Result<Parsed, Problem> {
    let mut lines = text.lines().enumerate();
    if lines.next().is_none_or(|(_, line)| line.trim_end() != HEADER) {
        return Err(Problem::Foreign);
    }
    let mut parsed = Parsed { peers: Peers::new(), wrong_line: None };
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let address = line.trim().parse::<Multiaddr>().ok();
        let Some((peer, address)) = address.and_then(|address| Some((peer_of(&address)?, address))) else {
            parsed.wrong_line.get_or_insert(number + 1);
            continue;
        };
        if parsed.peers.len() >= MAX_REMEMBERED && !parsed.peers.contains_key(&peer) {
            continue;
        }
        let addresses = parsed.peers.entry(peer).or_default();
        if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(parsed)
}

fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last()? {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    }
}

fn text_of(peers: &Peers) -> String {
    let mut text = format!("{HEADER}\n");
    for address in peers.values().flat_map(|addresses| addresses.iter().take(MAX_ADDRESSES)) {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "{address}");
    }
    text
}

/// The file is the old one or the new one, whatever happens meanwhile.
fn replace(path: &Path, aside: bool, content: &[u8]) -> io::Result<()> {
    if aside {
        let mut name = path.as_os_str().to_owned();
        name.push(ASIDE);
        match fs::rename(path, &name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {
                tracing::warn!("peer cache {}: what was there is in {} now", path.display(), Path::new(&name).display())
            }
        }
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new().prefix(".p2prpc-peers-").tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // That it has its name is written too, where a folder can be opened.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_peers(peers: usize, addresses: usize) -> Peers {
        let of = |peer: PeerId| {
            (1..=addresses)
                .map(|port| format!("/ip4/10.0.0.1/tcp/{port}/p2p/{peer}").parse().unwrap())
                .collect::<Vec<Multiaddr>>()
        };
        (0..peers).map(|_| PeerId::random()).map(|peer| (peer, of(peer))).collect()
    }

    mod fuzz {
        use super::*;

        #[test]
        fn any_text_is_few_peers_or_none_and_the_same_once_it_is_written() {
            fuzz!().with_type::<(bool, String, Vec<(u8, u8)>)>().for_each(|(begins, text, lines)| {
                let mut all = if *begins { format!("{HEADER}\n{text}\n") } else { text.clone() };
                for (peer, port) in lines {
                    let peer = PeerId::from_bytes(&[&[0x12, 0x20][..], &[*peer; 32]].concat()).unwrap();
                    writeln!(all, "/ip4/192.0.2.1/tcp/{port}/p2p/{peer}").unwrap();
                }
                let Ok(Parsed { peers, .. }) = parse(&all) else { return };
                assert!(peers.len() <= MAX_REMEMBERED);
                assert!(peers.iter().all(|(peer, addresses)| {
                    (1..=MAX_ADDRESSES).contains(&addresses.len())
                        && addresses.iter().all(|it| peer_of(it) == Some(*peer))
                }));
                let again = parse(&text_of(&peers)).ok().map(|parsed| (parsed.peers, parsed.wrong_line));
                assert_eq!(again, Some((peers, None)));
            });
        }
    }

    async fn opened(path: &Path) -> (Peers, PeerCache) {
        PeerCache::open(path.to_owned(), PeerId::random(), Instant::now()).await
    }

    async fn write(cache: &mut PeerCache, peers: &Peers) {
        cache.write(peers.iter().map(|(peer, addresses)| (peer, &addresses[..])));
        cache.finished().await;
    }

    #[tokio::test]
    async fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        let (nobody, mut cache) = opened(&path).await;
        assert!(nobody.is_empty());
        let peers = some_peers(3, 2);
        write(&mut cache, &peers).await;
        assert_eq!(opened(&path).await.0, peers);
        let fewer = some_peers(1, 1);
        write(&mut cache, &fewer).await;
        assert_eq!(opened(&path).await.0, fewer);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["peers"], "no other file is left");
    }

    #[tokio::test]
    async fn it_is_written_every_ten_seconds_at_most_and_only_when_there_is_news() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        let (_, mut cache) = opened(&path).await;
        let start = Instant::now();
        let mut writes = 0;
        for second in 0..60 {
            // Other ones each second, and the same from the middle on.
            let peers = some_peers(usize::from(second < 30), 1);
            let _ = fs::remove_file(&path);
            cache.tick(start + Duration::from_secs(second), peers.iter().map(|(peer, it)| (peer, &it[..])));
            cache.finished().await;
            writes += usize::from(path.exists());
        }
        assert!((2..=4).contains(&writes), "{writes}");
    }

    #[tokio::test]
    async fn what_is_no_file_of_ours_is_ignored_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        let large = vec![b'x'; MAX_FILE as usize + 1];
        let others: [&[u8]; 6] = [b"", b"a key", &[0xff; 100], b"p2prpc peers 2\n", b"{\"peers\":[]}", &large];
        for content in others {
            fs::write(&path, content).unwrap();
            let (nobody, mut cache) = opened(&path).await;
            assert!(nobody.is_empty());
            let peers = some_peers(2, 1);
            write(&mut cache, &peers).await;
            assert_eq!(opened(&path).await.0, peers);
            assert_eq!(fs::read(folder.path().join("peers.bad")).unwrap(), content);
        }
    }

    #[tokio::test]
    async fn lines_that_are_no_addresses_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        let peers = some_peers(2, 1);
        let text = format!("{}\n\nnonsense\n/ip4/10.0.0.1/tcp/1\n/p2p/\n", text_of(&peers));
        fs::write(&path, text).unwrap();
        assert_eq!(opened(&path).await.0, peers);
    }

    #[tokio::test]
    async fn a_file_with_more_than_is_kept_is_read_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        let mut text = format!("{HEADER}\n");
        for address in some_peers(400, 12).values().flatten() {
            writeln!(text, "{address}").unwrap();
        }
        fs::write(&path, text).unwrap();
        let peers = opened(&path).await.0;
        assert_eq!(peers.len(), MAX_REMEMBERED);
        assert!(peers.values().all(|addresses| addresses.len() == MAX_ADDRESSES));
        assert!((text_of(&peers).len() as u64) < MAX_FILE);
    }

    #[tokio::test]
    async fn a_node_does_not_look_for_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        let peers = some_peers(2, 1);
        fs::write(&path, text_of(&peers)).unwrap();
        let local = *peers.keys().next().unwrap();
        let (others, _) = PeerCache::open(path, local, Instant::now()).await;
        assert_eq!(others.len(), 1);
        assert!(!others.contains_key(&local));
    }

    #[tokio::test]
    async fn what_can_not_be_read_or_written_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let (nobody, mut cache) = opened(folder.path()).await;
        assert!(nobody.is_empty());
        write(&mut cache, &some_peers(1, 1)).await;
        let (nobody, mut cache) = opened(&folder.path().join("not there").join("peers")).await;
        assert!(nobody.is_empty());
        write(&mut cache, &some_peers(1, 1)).await;
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
