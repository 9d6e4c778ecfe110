//! What of a lost stream was never sent, and can go to another one.

use hashbrown::HashMap;

use super::client_shared::InFlight;
use super::send_queue::{SendQueue, Writer};
use crate::call::Encoded;
use crate::metadata::Metadata;
use crate::peer::queue::{MAX_RESENDS, Queued, lost_too_often};
use crate::wire::{self, Frame};

/// Take the calls out of `calls` of which the substream has not taken the whole request, and make them again. Those that
/// have been made again too often end here.
pub(crate) fn unsent(
    calls: &mut HashMap<u64, InFlight>,
    out: &mut SendQueue<Metadata>,
    writer: &Writer,
) -> Vec<Queued> {
    let mut unsent = Vec::new();
    let (buffer, taken) = writer.unfinished();
    requests_after(buffer, taken, calls, &mut unsent);
    requests_after(out.queued_frames(), 0, calls, &mut unsent);
    for bulk in out.drain_bulk() {
        if let Some(call) = calls.remove(&bulk.id) {
            unsent.push(again(call, bulk.of, bulk.body));
        }
    }
    // The order in which they were made.
    unsent.retain(|call| {
        let last = call.resends > MAX_RESENDS;
        if last {
            call.call.complete(Err(lost_too_often()));
        }
        !last
    });
    unsent
}

fn requests_after(frames: &[u8], taken: usize, calls: &mut HashMap<u64, InFlight>, unsent: &mut Vec<Queued>) {
    let mut at = 0;
    while let Ok(Some((frame, len))) = wire::decode(frames.get(at..).unwrap_or_default()) {
        at = at.saturating_add(len);
        let Frame::Request(request) = frame else { continue };
        let whole = request.chunk.len() as u64 == request.body_len;
        if at <= taken || !whole {
            continue;
        }
        if let Some(call) = calls.remove(&request.id) {
            let metadata = Metadata::from_checked(request.metadata.iter());
            unsent.push(again(call, metadata, request.chunk.to_vec().into()));
        }
    }
}

fn again(call: InFlight, metadata: Metadata, body: bytes::Bytes) -> Queued {
    let InFlight { call, head, resends, .. } = call;
    Queued { call, head, metadata, body: Encoded::natively(body), resends: resends.saturating_add(1) }
}
