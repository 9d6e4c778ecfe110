//! The two records around a call's values: `ServiceID` and `Response` of go-libp2p-gorpc's `server.go`.

use serde::{Deserialize, Serialize};

use crate::codec::CodecError;
use crate::codec::gorpc;

/// The most bytes of a `ServiceID` here. gorpc registers no names of more than 256 bytes together.
pub(crate) const MAX_SERVICE_ID: usize = 4 * 1024;
/// The most bytes of a `Response` here: it holds the text of an error.
pub(crate) const MAX_RESPONSE: usize = 256 * 1024;

/// What is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ServiceId {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) method: String,
}

impl ServiceId {
    fn is_empty(&self) -> bool {
        self.name.is_empty() && self.method.is_empty()
    }
}

/// `ErrorType` of gorpc's `errors.go`: whose error it is.
pub(crate) mod error_type {
    /// The handler's.
    pub(crate) const NON_RPC: i64 = 0;
    pub(crate) const SERVER: i64 = 1;
    pub(crate) const CLIENT: i64 = 2;
    pub(crate) const AUTHORIZATION: i64 = 3;
}

/// What comes before a reply, and instead of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Response {
    #[serde(default, skip_serializing_if = "ServiceId::is_empty")]
    pub(crate) service: ServiceId,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) error: String,
    #[serde(default, skip_serializing_if = "is_non_rpc")]
    pub(crate) err_type: i64,
}

fn is_non_rpc(err_type: &i64) -> bool {
    *err_type == error_type::NON_RPC
}

impl ServiceId {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        gorpc::encode(self, out, MAX_SERVICE_ID)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        gorpc::decode(bytes)
    }
}

impl Response {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        gorpc::encode(self, out, MAX_RESPONSE)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        gorpc::decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn echo() -> ServiceId {
        ServiceId { name: "EchoRPCAPI".into(), method: "Echo".into() }
    }

    #[test]
    fn records_are_written_as_go_writes_them() {
        let mut out = Vec::new();
        echo().encode(&mut out).unwrap();
        assert_eq!(hex(&out), "82a44e616d65aa4563686f525043415049a64d6574686f64a44563686f");
        out.clear();
        Response { service: echo(), ..Response::default() }.encode(&mut out).unwrap();
        assert_eq!(hex(&out), "81a75365727669636582a44e616d65aa4563686f525043415049a64d6574686f64a44563686f");
        out.clear();
        Response::default().encode(&mut out).unwrap();
        assert_eq!(hex(&out), "80");
    }

    #[test]
    fn any_part_of_a_record_may_be_missing() {
        assert_eq!(Response::decode(&[0x80]).unwrap(), Response::default());
        assert_eq!(Response::decode(&[0xc0]).unwrap(), Response::default());
        assert_eq!(Response::decode(&[0x90]).unwrap(), Response::default());
        assert_eq!(ServiceId::decode(&[0xc0]).unwrap(), ServiceId::default());
        let boom = [&[0x81, 0xa5][..], b"Error", &[0xa4], b"boom"].concat();
        assert_eq!(Response::decode(&boom).unwrap(), Response { error: "boom".into(), ..Response::default() });
    }

    #[derive(Deserialize)]
    struct Line {
        name: String,
        #[serde(default)]
        go_type: String,
        #[serde(default)]
        hex: String,
        #[serde(default)]
        accepted: bool,
        #[serde(default)]
        value: serde_json::Value,
    }

    fn lines(file: &str, prefix: &str) -> Vec<Line> {
        let lines: Vec<Line> = serde_json::from_str(file).unwrap();
        lines.into_iter().filter(|line| line.go_type.starts_with(prefix)).collect()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn recorded_records_are_written_alike() {
        let all = lines(include_str!("../../../tests/fixtures/gorpc/values.json"), "rpc.");
        assert_eq!(all.len(), 8);
        for Line { name, go_type, hex: expected, .. } in all {
            let mut out = Vec::new();
            if go_type == "rpc.ServiceID" {
                ServiceId::decode(&bytes(&expected)).unwrap().encode(&mut out).unwrap();
            } else {
                Response::decode(&bytes(&expected)).unwrap().encode(&mut out).unwrap();
            }
            assert_eq!(hex(&out), expected, "{name}");
        }
    }

    #[test]
    fn recorded_records_are_taken_alike() {
        let all = lines(include_str!("../../../tests/fixtures/gorpc/accepts.json"), "rpc.");
        assert_eq!(all.len(), 27);
        for Line { name, go_type, hex, accepted, value } in all {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let id =
                |value: &serde_json::Value| ServiceId { name: text(&value["Name"]), method: text(&value["Method"]) };
            if go_type == "rpc.ServiceID" {
                assert_eq!(ServiceId::decode(&bytes(&hex)).ok(), accepted.then(|| id(&value)), "{name}");
                continue;
            }
            let expected = accepted.then(|| Response {
                service: id(&value["Service"]),
                error: text(&value["Error"]),
                err_type: value["ErrType"].as_i64().unwrap(),
            });
            assert_eq!(Response::decode(&bytes(&hex)).ok(), expected, "{name}");
        }
    }
}
