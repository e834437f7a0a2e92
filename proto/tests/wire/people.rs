//! What consent entries, queries and reports must not be (draft-ietf-mimi-protocol, 5.7 to 5.9).

use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::{
    AbuseReport, ConsentEntry, Error, IdentifierQueryCode, IdentifierRequest, IdentifierResponse, MAX_ABUSIVE_MESSAGES,
    MAX_FIELD_LEN, MAX_QUERY_ELEMENTS,
};

use crate::samples::samples;

fn octets(name: &str) -> Vec<u8> {
    let sample = samples().into_iter().find(|sample| sample.name == name);
    sample.unwrap().octets
}

#[test]
fn protocol_5_7_only_a_grant_has_key_packages() {
    let mut grant = octets("consent_entry.grant");
    // A revocation ends where the extensions end: the KeyPackages would be read as those.
    grant[0] = 3;
    assert!(decode_exact::<ConsentEntry>(&grant).is_err());
    let mut unknown = octets("consent_entry.request");
    unknown[0] = 4;
    let error = decode_exact::<ConsentEntry>(&unknown);
    assert!(matches!(error, Err(Error::UnknownValue { value: 4, .. })), "{error:?}");
}

#[test]
fn protocol_5_8_a_query_has_some_elements_of_bounded_size() {
    let query: IdentifierRequest = decode_exact(&octets("identifier_request")).unwrap();
    let with = |count: usize| {
        let mut query = query.clone();
        query.query_elements = vec![query.query_elements[0].clone(); count];
        decode_exact::<IdentifierRequest>(&encode(&query))
    };
    assert!(with(0).is_err());
    assert!(with(MAX_QUERY_ELEMENTS).is_ok());
    assert!(matches!(with(MAX_QUERY_ELEMENTS + 1), Err(Error::Limit { .. })));
    let mut long = query;
    long.query_elements[0].search_value = "x".repeat(MAX_FIELD_LEN + 1);
    assert!(matches!(
        decode_exact::<IdentifierRequest>(&encode(&long)),
        Err(Error::Limit { .. })
    ));
}

#[test]
fn protocol_5_8_only_an_answer_of_success_names_users() {
    let mut success = octets("identifier_response.success");
    success[0] = IdentifierQueryCode::NotFound as u8;
    assert!(decode_exact::<IdentifierResponse>(&success).is_err());
    let mut empty = octets("identifier_response.not_found");
    empty[0] = IdentifierQueryCode::Success as u8;
    assert!(decode_exact::<IdentifierResponse>(&empty).is_err());
    assert!(IdentifierResponse::refused(IdentifierQueryCode::Success).is_err());
}

#[test]
fn protocol_5_9_a_report_has_a_handful_of_messages() {
    let mut report: AbuseReport = decode_exact(&octets("abuse_report")).unwrap();
    report.messages = vec![report.messages[0].clone(); MAX_ABUSIVE_MESSAGES];
    assert!(decode_exact::<AbuseReport>(&encode(&report)).is_ok());
    report.messages.push(report.messages[0].clone());
    assert!(matches!(
        decode_exact::<AbuseReport>(&encode(&report)),
        Err(Error::Limit { .. })
    ));
}
