//! What of a lost stream was never sent, and can go to another one.

use hashbrown::HashMap;

use super::client::{InFlight, Origin};
use super::send_queue::{SendQueue, Writer};
use crate::codec::CodecId;
use crate::metadata::Metadata;
use crate::peer::session::{MAX_RESENDS, Queued, lost_too_often};
use crate::wire::{self, Frame};

/// Take the calls out of `calls` of which the substream has not taken the whole request, and make them again. Those that
/// have been made again too often end here.
pub(crate) fn unsent(calls: &mut HashMap<u64, InFlight>, out: &mut SendQueue<Origin>, writer: &Writer) -> Vec<Queued> {
    let mut unsent = Vec::new();
    let (buffer, taken) = writer.unfinished();
    requests_after(buffer, taken, calls, &mut unsent);
    requests_after(out.queued_frames(), 0, calls, &mut unsent);
    for bulk in out.drain_bulk() {
        if let Some(call) = calls.remove(&bulk.id) {
            unsent.push(again(call, bulk.of.codec, bulk.of.metadata, bulk.body));
        }
    }
    // The order in which they were made.
    unsent.retain(|call| {
        let last = call.resends > MAX_RESENDS;
        if last {
            call.slot.complete(Err(lost_too_often()));
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
        if let (Some(call), Ok(codec)) = (calls.remove(&request.id), u8::try_from(request.codec)) {
            let metadata = Metadata::from_checked(request.metadata.iter());
            unsent.push(again(call, CodecId::new(codec), metadata, request.chunk.to_vec().into()));
        }
    }
}

fn again(call: InFlight, codec: CodecId, metadata: Metadata, body: bytes::Bytes) -> Queued {
    Queued {
        slot: call.slot,
        method: call.method,
        codec,
        deadline: call.deadline,
        metadata,
        body,
        resends: call.resends.saturating_add(1),
        again: call.again,
    }
}
