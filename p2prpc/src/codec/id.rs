use std::fmt;

/// Names a codec on the wire: one number in every request.
///
/// The constants exist whichever codecs are compiled in; [`is_supported`](Self::is_supported) says which are. Any number can be held, because a
/// peer can send any.
///
/// [`Default`] is bincode when it is compiled in, else the first of MessagePack, Postcard and JSON that is. Displayed as the codec's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CodecId(u8);

impl CodecId {
    /// bincode 2 in its `standard()` configuration: feature `bincode`.
    pub const BINCODE: Self = Self(1);
    /// MessagePack, structs as maps with named fields: feature `messagepack`.
    pub const MESSAGEPACK: Self = Self(2);
    /// Postcard 1: feature `postcard`.
    pub const POSTCARD: Self = Self(3);
    /// JSON: feature `json`.
    pub const JSON: Self = Self(4);

    /// The codec of this number, which need not be one that exists.
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// The number on the wire.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Whether this codec is compiled in, so that [`encode`](super::encode) and [`decode`](super::decode) take it.
    pub fn is_supported(self) -> bool {
        Self::supported().contains(&self)
    }

    /// The codecs that are compiled in, the default one first.
    pub fn supported() -> &'static [CodecId] {
        &[
            #[cfg(feature = "bincode")]
            Self::BINCODE,
            #[cfg(feature = "messagepack")]
            Self::MESSAGEPACK,
            #[cfg(feature = "postcard")]
            Self::POSTCARD,
            #[cfg(feature = "json")]
            Self::JSON,
        ]
    }

    /// Whether values are written by their position, without names: what was written as one type can be read as another.
    pub(crate) fn is_positional(self) -> bool {
        matches!(self, Self::BINCODE | Self::POSTCARD)
    }

    /// The name of this codec, which is that of its cargo feature; `None` for a number that no codec has.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::BINCODE => Some("bincode"),
            Self::MESSAGEPACK => Some("messagepack"),
            Self::POSTCARD => Some("postcard"),
            Self::JSON => Some("json"),
            _ => None,
        }
    }
}

impl Default for CodecId {
    fn default() -> Self {
        Self::supported().first().copied().unwrap_or(Self::BINCODE)
    }
}

impl fmt::Display for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "codec {}", self.0),
        }
    }
}
