/// The most structs, tuples, sequences, maps and enums inside one another that decode.
///
/// `Some` and newtypes don't count, but with them a value may be at most four times as deep. An enum and what its variant holds are one level.
/// The limit holds for fields that a type skips, too.
pub const MAX_DEPTH: usize = 128;

/// The most stack that decoding one value may take, in bytes: 1 MiB, half of what a thread of tokio has by default.
///
/// How much a level takes depends on the type, the codec and the optimiser: in a debug build, about 3 KiB for a small struct and 9 KiB for an
/// enum of a dozen variants. So a large type may reach this limit before [`MAX_DEPTH`]. For a type that is larger than 4 KiB itself, and not
/// behind a pointer, it is 64 times its size more: calls see to it that there is so much stack.
pub const MAX_STACK: usize = 1 << 20;

/// The memory that decoding a body of `body_len` bytes may take, in bytes: 16 times the body and 1 MiB, but at most 64 MiB, or twice the body
/// where that is more.
///
/// Each value takes its `size_of` from it, at least 1, whether it is an element of a collection or in a box; a string or byte array takes its
/// length besides. Bodies of more than 32 MiB come only where [`Limits::max_message`](crate::Limits::max_message) was raised to let them.
pub const fn decode_budget(body_len: usize) -> usize {
    const MOST: usize = 64 << 20;
    let budget = body_len.saturating_mul(16).saturating_add(1 << 20);
    let twice = body_len.saturating_mul(2);
    let most = if twice > MOST { twice } else { MOST };
    if budget < most { budget } else { most }
}
