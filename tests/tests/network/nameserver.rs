//! A name server.

use std::net::{Ipv4Addr, UdpSocket};

use serde_json::json;

use super::node::say;

/// Seconds that an answer may be kept.
const LIFETIME: u32 = 1;
const TXT: u16 = 16;
const A: u16 = 1;

/// `ADDRESS FILE`: answers what the file says at the moment, in lines `NAME A 10.9.0.1` and `NAME TXT TEXT`.
pub(crate) fn serve(arguments: &[String]) -> Result<(), String> {
    let [address, zone] = arguments else { return Err("an address and a file".into()) };
    let socket = UdpSocket::bind((address.as_str(), 53)).map_err(|error| error.to_string())?;
    say("started", json!({"peer": "", "addresses": []}));
    let mut packet = [0; 2048];
    loop {
        let (length, asker) = socket.recv_from(&mut packet).map_err(|error| error.to_string())?;
        let zone = std::fs::read_to_string(zone).map_err(|error| error.to_string())?;
        if let Some(answer) = answer(&packet[..length], &zone) {
            // An asker that has gone needs none.
            let _ = socket.send_to(&answer, asker);
        }
    }
}

/// `None` to what is no question.
fn answer(packet: &[u8], zone: &str) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?);
    let question = packet.get(12..at + 4)?;
    let name = labels.join(".");
    let mut known = false;
    let mut records = Vec::new();
    for line in zone.lines() {
        let mut words = line.split_whitespace();
        let (Some(owner), Some(of), Some(value)) = (words.next(), words.next(), words.next()) else { continue };
        if owner != name {
            continue;
        }
        known = true;
        match (of, kind) {
            ("A", A) => records.push(value.parse::<Ipv4Addr>().ok()?.octets().to_vec()),
            ("TXT", TXT) => records.push([&[value.len().try_into().ok()?], value.as_bytes()].concat()),
            _ => {}
        }
    }
    // An answer with authority; of a name that isn't known it says that.
    let flags: u16 = if known { 0x8580 } else { 0x8583 };
    let mut answer = packet.get(..2)?.to_vec();
    for field in [flags, 1, records.len().try_into().ok()?, 0, 0] {
        answer.extend(field.to_be_bytes());
    }
    answer.extend(question);
    for record in records {
        // Of the name in the question, of the class of the Internet.
        answer.extend([0xC0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1]);
        answer.extend(LIFETIME.to_be_bytes());
        answer.extend(u16::try_from(record.len()).ok()?.to_be_bytes());
        answer.extend(record);
    }
    Some(answer)
}
