//! Credentials of the tests' clients, sound and unsound.

use mimi_hub_proto::mls::{self as wire, SignaturePublicKey};
use mimi_hub_proto::uri::UserUri;
use mimi_hub_proto::{ClientIdentity, LeafCredential, PseudonymousCredential, PseudonymousCredentialTbs, tls};
use openmls::prelude::{
    BasicCredential, Capabilities, Credential, CredentialType, CredentialWithKey, ExtensionType, ProposalType,
};
use openmls_basic_credential::SignatureKeyPair;

use super::client::SUITE;

const PSEUDONYMOUS: CredentialType = CredentialType::Other(wire::CredentialType::PSEUDONYMOUS.0);

/// What a client's credential is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// Basic.
    Real,
    /// Pseudonymous.
    Pseudonyms,
    /// Pseudonymous, for another key than the leaf's.
    OfAnotherKey,
    /// Pseudonymous, and not listed in the leaf's capabilities.
    Unlisted,
    /// Pseudonymous by its type, with something else in it.
    Malformed,
}

/// A pseudonym of a user of this provider.
pub(crate) fn pseudonym(domain: &str, number: u32) -> UserUri {
    format!("mimi://{domain}/u/{number:08x}-0000-4000-8000-000000000000")
        .parse()
        .unwrap()
}

/// The `number`th client of a user.
pub(crate) fn identity(user: &UserUri, number: u32) -> ClientIdentity {
    let name = user.as_str().rsplit('/').next().unwrap();
    let name = match name.strip_suffix("-0000-4000-8000-000000000000") {
        Some(name) => format!("{name}-0000-4000-9000-{number:012x}"),
        None => format!("{name}-{number}"),
    };
    let client = format!("mimi://{}/d/{name}", user.domain()).parse().unwrap();
    ClientIdentity::new(client, user.clone()).unwrap()
}

pub(super) fn identity_in(credential: &Credential) -> ClientIdentity {
    let credential = wire::CredentialRef {
        credential_type: wire::CredentialType(credential.credential_type().into()),
        content: credential.serialized_content(),
    };
    LeafCredential::from_credential(credential).unwrap().into_identity()
}

pub(super) fn credential(names: Names, identity: &ClientIdentity, signer: &SignatureKeyPair) -> CredentialWithKey {
    let key = match names {
        Names::OfAnotherKey => SignaturePublicKey::new([1; 32]),
        _ => SignaturePublicKey::new(signer.public()),
    };
    let pseudonymous = || {
        let (client, user) = (identity.client().clone(), identity.user().clone());
        let tbs = PseudonymousCredentialTbs::new(client, user, key).unwrap();
        tls::encode(&PseudonymousCredential::new(tbs, b"sealed".to_vec()))
    };
    let credential = match names {
        Names::Real => BasicCredential::new(tls::encode(identity)).into(),
        Names::Pseudonyms | Names::OfAnotherKey | Names::Unlisted => Credential::new(PSEUDONYMOUS, pseudonymous()),
        Names::Malformed => Credential::new(PSEUDONYMOUS, tls::encode(identity)),
    };
    CredentialWithKey {
        credential,
        signature_key: signer.public().into(),
    }
}

pub(super) fn capabilities(names: Names) -> Capabilities {
    let credentials = match names {
        Names::Unlisted => vec![CredentialType::Basic],
        _ => vec![CredentialType::Basic, PSEUDONYMOUS],
    };
    Capabilities::new(
        None,
        Some(&[SUITE]),
        Some(&[ExtensionType::AppDataDictionary]),
        Some(&[
            ProposalType::AppDataUpdate,
            ProposalType::AppEphemeral,
            ProposalType::SelfRemove,
        ]),
        Some(&credentials),
    )
}
