//! Times as Go writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A `time.Time` of Go: nanoseconds, any year of an `i64` of seconds. It has no time zone, for Go's codec sends none.
///
/// The [default](Default) is Go's zero time, the first moment of the year 1, for which `IsZero()` is true. It travels in every codec
/// as the 4, 8 or 12 bytes of [MessagePack's timestamp](https://github.com/msgpack/msgpack/blob/master/spec.md#timestamp-extension-type),
/// the zero time as nothing.
///
/// ```
/// use p2prpc::gorpc::Time;
/// use std::time::{Duration, SystemTime};
///
/// let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
/// let time = Time::from(moment);
/// assert_eq!((time.unix_seconds(), time.nanoseconds()), (1, 500_000_000));
/// assert_eq!(SystemTime::try_from(time), Ok(moment));
/// assert!(Time::default().is_zero());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    seconds: i64,
    nanoseconds: u32,
}

/// From the year 1 to 1970, as Go's `time` package has it.
const ZERO: i64 = -62_135_596_800;
const NANOSECONDS: u32 = 1_000_000_000;

/// A time that [`SystemTime`] has no room for on this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this system's clock has no such time")]
pub struct OutOfRange;

impl Time {
    /// So many seconds since 1970 began (UTC), and so many nanoseconds after that; `None` if those make a second or more.
    pub const fn new(unix_seconds: i64, nanoseconds: u32) -> Option<Self> {
        if nanoseconds < NANOSECONDS { Some(Time { seconds: unix_seconds, nanoseconds }) } else { None }
    }

    /// The seconds since 1970 began (UTC), rounded towards the past.
    pub const fn unix_seconds(self) -> i64 {
        self.seconds
    }

    /// The nanoseconds after [`unix_seconds`](Self::unix_seconds): less than a second.
    pub const fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }

    /// True for Go's zero time.
    pub const fn is_zero(self) -> bool {
        self.seconds == ZERO && self.nanoseconds == 0
    }
}

impl Default for Time {
    fn default() -> Self {
        Time { seconds: ZERO, nanoseconds: 0 }
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Time { seconds: seconds(since), nanoseconds: since.subsec_nanos() },
            Err(before) => {
                let before = before.duration();
                let (whole, rest) = (seconds(before).saturating_neg(), before.subsec_nanos());
                if rest == 0 {
                    Time { seconds: whole, nanoseconds: 0 }
                } else {
                    Time { seconds: whole.saturating_sub(1), nanoseconds: NANOSECONDS.saturating_sub(rest) }
                }
            }
        }
    }
}

impl TryFrom<Time> for SystemTime {
    type Error = OutOfRange;

    fn try_from(time: Time) -> Result<Self, OutOfRange> {
        let whole = Duration::from_secs(time.seconds.unsigned_abs());
        let whole = if time.seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
        whole.and_then(|whole| whole.checked_add(Duration::from_nanos(time.nanoseconds.into()))).ok_or(OutOfRange)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_zero() {
            return serializer.serialize_none();
        }
        let nanoseconds = u64::from(self.nanoseconds);
        match u64::try_from(self.seconds) {
            Ok(seconds) if seconds >> 34 == 0 => {
                let both = nanoseconds << 34 | seconds;
                match u32::try_from(both) {
                    Ok(seconds) => serializer.serialize_some(&Bytes(&seconds.to_be_bytes())),
                    Err(_) => serializer.serialize_some(&Bytes(&both.to_be_bytes())),
                }
            }
            _ => {
                let mut bytes = [0; 12];
                bytes[..4].copy_from_slice(&self.nanoseconds.to_be_bytes());
                bytes[4..].copy_from_slice(&self.seconds.to_be_bytes());
                serializer.serialize_some(&Bytes(&bytes))
            }
        }
    }
}

struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(MaybeTime)
    }
}

struct MaybeTime;

impl<'de> Visitor<'de> for MaybeTime {
    type Value = Time;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a time: 4, 8 or 12 bytes, or nothing")
    }

    fn visit_none<E: Error>(self) -> Result<Time, E> {
        Ok(Time::default())
    }

    fn visit_unit<E: Error>(self) -> Result<Time, E> {
        Ok(Time::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Time, D::Error> {
        deserializer.deserialize_bytes(TimeBytes)
    }
}

struct TimeBytes;

impl<'de> Visitor<'de> for TimeBytes {
    type Value = Time;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the 4, 8 or 12 bytes of a time")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Time, E> {
        let time = if let Ok(seconds) = <[u8; 4]>::try_from(bytes) {
            Time::new(u32::from_be_bytes(seconds).into(), 0)
        } else if let Ok(both) = <[u8; 8]>::try_from(bytes) {
            let both = u64::from_be_bytes(both);
            let (nanoseconds, seconds) = (both >> 34, both & ((1 << 34) - 1));
            u32::try_from(nanoseconds).ok().and_then(|nanoseconds| Time::new(seconds as i64, nanoseconds))
        } else if let Some((nanoseconds, seconds)) = bytes.split_first_chunk::<4>()
            && let Ok(seconds) = <[u8; 8]>::try_from(seconds)
        {
            Time::new(i64::from_be_bytes(seconds), u32::from_be_bytes(*nanoseconds))
        } else {
            return Err(E::invalid_length(bytes.len(), &self));
        };
        time.ok_or_else(|| E::custom("a time has less than a second of nanoseconds"))
    }

    /// JSON has no bytes.
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut bytes: A) -> Result<Time, A::Error> {
        let (mut all, mut len) = ([0; 12], 0);
        while let Some(byte) = bytes.next_element()? {
            *all.get_mut(len).ok_or_else(|| A::Error::invalid_length(13, &self))? = byte;
            len = len.saturating_add(1);
        }
        self.visit_bytes(all.get(..len).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{self, CodecId};

    fn times() -> Vec<Time> {
        let of = |seconds, nanoseconds| Time::new(seconds, nanoseconds).unwrap();
        let widest = (1 << 34) - 1;
        vec![
            Time::default(),
            of(0, 0),
            of(1, 0),
            of(u32::MAX.into(), 0),
            of(u32::MAX.into(), 1),
            of(1 << 32, 0),
            of(widest, 999_999_999),
            of(widest + 1, 0),
            of(-1, 999_999_999),
            of(i64::MIN, 0),
            of(i64::MAX, 999_999_999),
        ]
    }

    #[test]
    fn times_come_back_in_every_codec() {
        for time in times() {
            let mut body = Vec::new();
            codec::gorpc::encode(&time, &mut body, 100).unwrap();
            assert_eq!(codec::gorpc::decode::<Time>(&body), Ok(time));
            for id in CodecId::supported() {
                body.clear();
                codec::encode(*id, &time, &mut body, 100).unwrap();
                assert_eq!(codec::decode::<Time>(*id, &body), Ok(time), "{id}");
            }
        }
    }

    #[test]
    fn the_clock_comes_back() {
        for moment in [UNIX_EPOCH, UNIX_EPOCH - Duration::from_millis(1), UNIX_EPOCH + Duration::new(7, 9)] {
            assert_eq!(SystemTime::try_from(Time::from(moment)), Ok(moment));
        }
        let beyond = Time::new(i64::MAX, 999_999_999).unwrap();
        let back = SystemTime::try_from(beyond);
        assert!(back.is_err() || back.map(Time::from) == Ok(beyond));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bytes in [&[0xa3, 1, 2, 3][..], &[0xa8, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], &[0x05]] {
            assert!(codec::gorpc::decode::<Time>(bytes).is_err(), "{bytes:?}");
        }
    }
}
