//! A client of Oblivious HTTP (RFC 9458) that sends what a test wants.

use std::io::Cursor;

use bhttp::{Message, Mode};
use ohttp::{ClientRequest, ClientResponse};

use crate::http::Answer;

/// A response that was encapsulated.
#[derive(Debug)]
pub struct TargetAnswer {
    /// The status.
    pub status: u16,
    /// Header fields.
    pub fields: Vec<(String, String)>,
    /// The content.
    pub content: Vec<u8>,
}

impl TargetAnswer {
    /// A header field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields.find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Checks that this is a problem document (RFC 9457) with this status and type.
    ///
    /// # Panics
    /// It is not.
    pub fn expect_problem(&self, status: u16, slug: &str) {
        let text = String::from_utf8_lossy(&self.content);
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.field("content-type"), Some("application/problem+json"));
        let document: serde_json::Value = serde_json::from_slice(&self.content).unwrap();
        assert_eq!(document["type"], format!("urn:mimi-hub:problem:{slug}"), "{text}");
    }
}

/// A request message without content.
#[must_use]
pub fn message(method: &str, scheme: &str, authority: &str, path: &str) -> Message {
    Message::request(method.into(), scheme.into(), authority.into(), path.into())
}

/// A message in binary (RFC 9292).
///
/// # Panics
/// It cannot be laid out.
#[must_use]
pub fn binary(message: &Message) -> Vec<u8> {
    let mut binary = Vec::new();
    message.write_bhttp(Mode::KnownLength, &mut binary).unwrap();
    binary
}

/// Encapsulates octets for the first of these key configurations.
///
/// # Panics
/// They are not key configurations.
#[must_use]
pub fn encapsulate(keys: &[u8], octets: &[u8]) -> (Vec<u8>, ClientResponse) {
    let request = ClientRequest::from_encoded_config_list(keys).unwrap();
    request.encapsulate(octets).unwrap()
}

/// Opens the encapsulated response in an answer.
///
/// # Panics
/// There is none, or it does not open.
#[must_use]
pub fn open(answer: &Answer, response: ClientResponse) -> TargetAnswer {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.headers["content-type"], "message/ohttp-res");
    assert_eq!(answer.headers["cache-control"], "private, no-store");
    let binary = response.decapsulate(&answer.body).unwrap();
    let message = Message::read_bhttp(&mut Cursor::new(&binary)).unwrap();
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    TargetAnswer {
        status: message.control().status().unwrap().code(),
        fields: message
            .header()
            .iter()
            .map(|field| (text(field.name()), text(field.value())))
            .collect(),
        content: message.content().to_vec(),
    }
}
