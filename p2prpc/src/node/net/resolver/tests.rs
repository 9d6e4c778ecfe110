use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::*;

const TTL: u32 = 1;

/// A name server on the loopback, and the file that names it.
struct Lab {
    table: Arc<Mutex<HashMap<String, Ipv4Addr>>>,
    resolver: Resolver,
    file: tempfile::NamedTempFile,
    told: mpsc::UnboundedReceiver<Option<String>>,
}

const GOOD: &str = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
/// Nobody listens there.
const BAD: &str = "nameserver 127.0.0.9\noptions timeout:1 attempts:1\n";

impl Lab {
    async fn new(configuration: &str) -> Self {
        let table: Arc<Mutex<HashMap<String, Ipv4Addr>>> = Arc::default();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(serve(socket, table.clone()));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), configuration).unwrap();
        let (tell, told) = mpsc::unbounded_channel();
        let resolver = Resolver {
            source: Source::File(file.path().to_owned(), port),
            told: Box::new(move |reason| tell.send(reason.map(str::to_owned)).unwrap()),
            state: Mutex::default(),
        };
        Lab { table, resolver, file, told }
    }

    fn configure(&self, configuration: &str) {
        std::fs::write(self.file.path(), configuration).unwrap();
    }

    fn is_at(&self, name: &str, ip: [u8; 4]) {
        self.table.lock().insert(name.into(), ip.into());
    }

    async fn resolve(&self, address: &str) -> Result<Vec<String>, String> {
        let resolved = self.resolver.resolve(&address.parse().unwrap()).await;
        let resolved = resolved.map(|found| found.iter().map(ToString::to_string).collect());
        resolved.map_err(|error| error.to_string())
    }
}

/// Answers questions for A records until the test ends.
async fn serve(socket: UdpSocket, table: Arc<Mutex<HashMap<String, Ipv4Addr>>>) {
    let mut question = [0; 2048];
    while let Ok((length, from)) = socket.recv_from(&mut question).await {
        let mut at = 12;
        let mut labels: Vec<String> = Vec::new();
        while question[at] != 0 {
            let end = at + 1 + usize::from(question[at]);
            labels.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
            at = end;
        }
        assert!(length >= at + 5);
        let is_a = question[at + 1..at + 3] == [0, 1];
        let ip = table.lock().get(&labels.join(".")).copied().filter(|_| is_a);
        let mut answer = question[..2].to_vec();
        answer.extend(if ip.is_some() { [0x85, 0x80] } else { [0x85, 0x83] });
        answer.extend([0, 1, 0, u8::from(ip.is_some()), 0, 0, 0, 0]);
        answer.extend(&question[12..at + 5]);
        if let Some(ip) = ip {
            answer.extend([0xc0, 0x0c, 0, 1, 0, 1]);
            answer.extend(TTL.to_be_bytes());
            answer.extend([0, 4]);
            answer.extend(ip.octets());
        }
        socket.send_to(&answer, from).await.unwrap();
    }
}

#[tokio::test]
async fn a_name_server_that_comes_later_is_asked() {
    let mut lab = Lab::new(BAD).await;
    lab.is_at("boot.test", [10, 0, 0, 1]);
    let error = lab.resolve("/dns4/boot.test/tcp/1").await.unwrap_err();
    assert!(error.contains("can't be looked up yet"), "{error}");
    assert!(lab.resolve("/dns4/boot.test/tcp/1").await.is_err());
    assert!(!lab.resolver.may_work_again());
    lab.configure(GOOD);
    assert!(lab.resolver.may_work_again());
    assert_eq!(lab.resolve("/dns4/boot.test/tcp/1").await.unwrap(), ["/ip4/10.0.0.1/tcp/1"]);
    assert!(!lab.resolver.may_work_again());
    assert!(lab.told.try_recv().unwrap().is_some());
    assert_eq!(lab.told.try_recv().unwrap(), None, "it is said once when it ends");
    assert!(lab.told.try_recv().is_err(), "and once when it begins");
}

#[tokio::test]
async fn a_change_during_a_lookup_is_seen() {
    let lab = Lab::new("nameserver 192.0.2.1\noptions timeout:30 attempts:5\n").await;
    lab.is_at("boot.test", [10, 0, 0, 1]);
    let (resolved, ()) = tokio::join!(lab.resolve("/dns/boot.test/tcp/1"), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        lab.configure(GOOD);
    });
    assert_eq!(resolved.unwrap(), ["/ip4/10.0.0.1/tcp/1"]);
}

#[tokio::test]
async fn a_start_before_the_network_has_no_configuration() {
    let lab = Lab::new("# nothing yet\n").await;
    let error = lab.resolve("/dns4/boot.test/tcp/1").await.unwrap_err();
    assert!(error.contains("can't be looked up yet") && error.contains("tried again"), "{error}");
    lab.is_at("boot.test", [10, 0, 0, 1]);
    lab.configure(GOOD);
    assert!(lab.resolve("/dns4/boot.test/tcp/1").await.is_ok());
}

#[tokio::test]
async fn a_dead_name_server_does_not_eat_the_whole_dial() {
    let lab = Lab::new("nameserver 192.0.2.1\nnameserver 192.0.2.2\noptions timeout:30 attempts:5\n").await;
    let began = tokio::time::Instant::now();
    let error = lab.resolve("/dns4/boot.test/tcp/1").await.unwrap_err();
    assert!(error.contains("can't be looked up yet"), "{error}");
    assert!(began.elapsed() < LOOKUP_WITHIN + Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_name_that_moved_is_found_within_its_time_to_live() {
    let mut lab = Lab::new(GOOD).await;
    lab.is_at("boot.test", [10, 0, 0, 1]);
    assert_eq!(lab.resolve("/dns4/boot.test/tcp/1").await.unwrap(), ["/ip4/10.0.0.1/tcp/1"]);
    lab.is_at("boot.test", [10, 0, 0, 2]);
    tokio::time::sleep(Duration::from_secs(u64::from(TTL)) + Duration::from_millis(500)).await;
    assert_eq!(lab.resolve("/dns4/boot.test/tcp/1").await.unwrap(), ["/ip4/10.0.0.2/tcp/1"]);
    assert!(lab.told.try_recv().is_err(), "nothing was wrong");
}

#[tokio::test]
async fn a_name_that_came_to_be_is_found_at_once() {
    let mut lab = Lab::new(GOOD).await;
    let error = lab.resolve("/dns4/boot.test/tcp/1").await.unwrap_err();
    assert!(error.contains("boot.test") && error.contains("no address"), "{error}");
    lab.is_at("boot.test", [10, 0, 0, 1]);
    assert!(lab.resolve("/dns4/boot.test/tcp/1").await.is_ok());
    assert!(lab.told.try_recv().is_err(), "the name server has answered");
}

#[test]
fn a_text_record_names_only_whom_the_address_names() {
    let peer = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let asked: Multiaddr = format!("/dnsaddr/boot.test/p2p/{peer}").parse().unwrap();
    let (at, name) = name_in(&asked).unwrap();
    let said = |text: String| spliced(&asked, at, &name, text.parse().unwrap());
    assert!(said(format!("/ip4/10.0.0.1/tcp/1/p2p/{peer}")).is_some());
    assert!(said("/ip4/10.0.0.1/tcp/1/p2p/12D3KooWPKi8zXjgp8wSPtYuzHRow3Psvayt2TqhMGiPa3ybvk6A".into()).is_none());
}
