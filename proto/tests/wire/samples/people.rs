//! Consent, queries and abuse reports.

use mimi_hub_proto::components::AppDataDictionary;
use mimi_hub_proto::{
    AbuseReport, AbuseType, AbusiveMessage, ConsentChange, ConsentEntry, ConsentScope, FieldSource,
    IdentifierQueryCode, IdentifierRequest, IdentifierResponse, ProfileField, QueryElement, SearchType, UserProfile,
};

use super::{Sample, TIMESTAMP, alice, bob, dictionary, frank, key_package, room, sample};
use crate::mls_bytes::verbatim;

fn consent(change: ConsentChange, in_room: bool) -> ConsentEntry {
    ConsentEntry {
        scope: ConsentScope {
            requester: alice(),
            target: bob(),
            room: in_room.then(room),
        },
        change,
        consent_extensions: AppDataDictionary::new(),
    }
}

fn query(search_type: SearchType, search_value: &str) -> QueryElement {
    QueryElement {
        search_type,
        search_value: search_value.into(),
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let grant = |client_key_packages| ConsentChange::Grant { client_key_packages };
    let mut extended = consent(ConsentChange::Revoke, true);
    extended.consent_extensions = dictionary();
    let all = IdentifierRequest {
        query_elements: vec![
            query(SearchType::Handle, "im:alice.smith@a.example"),
            query(SearchType::Nick, "alice.smith"),
            query(SearchType::Email, "asmith@a.example"),
            query(SearchType::Phone, "+12125551212"),
            query(SearchType::PartialName, "mat"),
            query(SearchType::WholeProfile, "sales"),
            query(SearchType::OidcStdClaim("given_name".into()), "Alice"),
            query(SearchType::VcardField("ORG".into()), "Sales"),
        ],
        id_request_extensions: dictionary(),
    };
    let field = |field_source, name: &str, value: &str| ProfileField {
        field_source,
        field_name: name.into(),
        field_value: value.as_bytes().to_vec(),
    };
    let found = IdentifierResponse::found(vec![
        UserProfile {
            stable_uri: alice(),
            fields: vec![
                field(FieldSource::OidcStdClaim, "given_name", "Alice"),
                field(FieldSource::VcardField, "ORG", "Sales"),
            ],
        },
        UserProfile {
            stable_uri: bob(),
            fields: Vec::new(),
        },
    ]);
    let refused = |code| IdentifierResponse::refused(code).unwrap();
    let message = AbusiveMessage {
        message_content: b"content".to_vec(),
        frank: frank(),
        accepted_timestamp: TIMESTAMP,
    };
    let report = |reporting_user, messages| AbuseReport {
        reporting_user,
        alleged_abuser: bob(),
        reason_code: AbuseType(0),
        note: "insults".into(),
        messages,
        abuse_extensions: AppDataDictionary::new(),
    };
    vec![
        sample("consent_entry.cancel", consent(ConsentChange::Cancel, true)),
        sample("consent_entry.request", consent(ConsentChange::Request, false)),
        sample(
            "consent_entry.grant",
            consent(grant(vec![verbatim(&key_package())]), true),
        ),
        sample(
            "consent_entry.grant_without_key_packages",
            consent(grant(Vec::new()), false),
        ),
        sample("consent_entry.revoke", extended),
        sample("consent_scope", consent(ConsentChange::Cancel, true).scope),
        sample("identifier_request", all),
        sample("identifier_response.success", found),
        sample("identifier_response.not_found", refused(IdentifierQueryCode::NotFound)),
        sample("identifier_response.ambiguous", refused(IdentifierQueryCode::Ambiguous)),
        sample("identifier_response.forbidden", refused(IdentifierQueryCode::Forbidden)),
        sample(
            "identifier_response.unsupported_field",
            refused(IdentifierQueryCode::UnsupportedField),
        ),
        sample(
            "abuse_report",
            report(Some(alice()), vec![message.clone(), message.clone()]),
        ),
        sample("abuse_report.anonymous", report(None, Vec::new())),
        sample("abusive_message", message),
    ]
}
