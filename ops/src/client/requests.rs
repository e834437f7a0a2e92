//! The signed requests (draft-ietf-mimi-protocol, 5.2 and 5.6), and the encrypted answer to one of them.

use mimi_hub_proto::mls::{CipherSuite, HpkePublicKey, RequiredCapabilities, SignaturePublicKey};
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{
    ClientKeyMaterialOutcome, GroupInfoRatchetTreeTbe, GroupInfoRequest, GroupInfoRequestTbs, GroupInfoResponse,
    KeyMaterialRequest, KeyMaterialRequestTbs, KeyMaterialResponse,
};
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::{Extensions, GroupContext, KeyPackage, KeyPackageIn, ProtocolVersion};
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::types::{HpkeCiphertext, HpkeKeyPair};

use super::keys::{CIPHERSUITE, ClientKeys};
use super::state::ClientState;
use crate::OpsError;

/// A question for a room's GroupInfo: the key that its answer will be encrypted to.
pub struct GroupInfoQuery {
    room: RoomUri,
    keys: HpkeKeyPair,
}

impl ClientState {
    /// A KeyMaterialRequest for all clients of `target`, to be added to `room`.
    ///
    /// # Errors
    /// [`OpsError::NotMember`], or [`OpsError::Mls`] when it cannot be signed.
    pub fn key_material_request(&self, room: &RoomUri, target: &UserUri) -> Result<Vec<u8>, OpsError> {
        let group = self.membership(room)?.group()?;
        let tbs = KeyMaterialRequestTbs {
            requesting_user: self.identity().user().clone(),
            target_user: target.clone(),
            room_id: Some(room.clone()),
            acceptable_ciphersuites: vec![CipherSuite(group.ciphersuite().into())],
            required_capabilities: required_capabilities(group.extensions())?,
            requester_signature_key: SignaturePublicKey::new(self.keys.signer.public()),
            requester_credential: self.keys.wire_credential()?,
        };
        let key_material_request_signature = self.keys.sign(&tbs.sign_content())?;
        Ok(encode(&KeyMaterialRequest {
            tbs,
            key_material_request_signature,
        }))
    }

    /// A GroupInfoRequest, with a join code where the user is no participant, and what is needed to read its answer.
    ///
    /// # Errors
    /// [`OpsError::Mls`] when no key can be made or the request cannot be signed.
    pub fn group_info_request(
        &self,
        room: &RoomUri,
        join_code: Option<&str>,
    ) -> Result<(GroupInfoQuery, Vec<u8>), OpsError> {
        let keys = self.keys.hpke_key_pair()?;
        let tbs = GroupInfoRequestTbs {
            cipher_suite: CipherSuite(CIPHERSUITE.into()),
            requesting_signature_key: SignaturePublicKey::new(self.keys.signer.public()),
            requesting_credential: self.keys.wire_credential()?,
            group_info_public_key: HpkePublicKey::new(keys.public.clone()),
            joining_code: join_code.map(|code| code.as_bytes().to_vec()),
        };
        let signature = self.keys.sign(&tbs.sign_content())?;
        let query = GroupInfoQuery {
            room: room.clone(),
            keys,
        };
        Ok((query, encode(&GroupInfoRequest { tbs, signature })))
    }
}

/// The KeyPackages of a KeyMaterialResponse, verified, each that of a client of `target`.
pub(super) fn key_packages(keys: &ClientKeys, target: &UserUri, response: &[u8]) -> Result<Vec<KeyPackage>, OpsError> {
    let response: KeyMaterialResponse = decode_exact(response).map_err(OpsError::answer("KeyMaterialResponse"))?;
    let status = response.user_status();
    let mut key_packages = Vec::new();
    for client in response.into_clients() {
        let ClientKeyMaterialOutcome::Success(offered) = client.outcome else {
            continue;
        };
        let key_package = KeyPackageIn::tls_deserialize_exact(offered.as_bytes())
            .map_err(OpsError::mls("read a KeyPackage"))?
            .validate(keys.provider.crypto(), ProtocolVersion::Mls10)
            .map_err(OpsError::mls("verify a KeyPackage"))?;
        let identity = super::room::identity(key_package.leaf_node().credential())?;
        if identity.user() != target || *identity.client() != client.client_uri {
            return Err(OpsError::mls("verify a KeyPackage")("it is another client's"));
        }
        key_packages.push(key_package);
    }
    if key_packages.is_empty() {
        return Err(OpsError::NoKeyMaterial {
            user: target.clone(),
            status: format!("{status:?}"),
        });
    }
    Ok(key_packages)
}

/// Opens a GroupInfoResponse: the hub's signature must hold, under a key that the room itself names as its hub's.
pub(super) fn open_group_info(
    keys: &ClientKeys,
    query: &GroupInfoQuery,
    response: &[u8],
) -> Result<GroupInfoRatchetTreeTbe, OpsError> {
    let response: GroupInfoResponse = decode_exact(response).map_err(OpsError::answer("GroupInfoResponse"))?;
    if *response.room_id() != query.room {
        return Err(OpsError::answer("GroupInfoResponse")("it is about another room"));
    }
    let status = response.status();
    let GroupInfoResponse::Success { tbs, signature } = response else {
        return Err(OpsError::NoGroupInfo {
            room: query.room.clone(),
            status: format!("{status:?}"),
        });
    };
    if tbs.cipher_suite != CipherSuite(CIPHERSUITE.into()) {
        return Err(OpsError::answer("GroupInfoResponse")(
            "it is in another cipher suite than asked",
        ));
    }
    let hub_key = tbs.hub_sender.signature_key.as_bytes();
    keys.verify(hub_key, &tbs.sign_content(), &signature, "GroupInfoResponse")?;
    let sealed = HpkeCiphertext {
        kem_output: tbs.encrypted_groupinfo_and_tree.kem_output.clone().into(),
        ciphertext: tbs.encrypted_groupinfo_and_tree.ciphertext.clone().into(),
    };
    let context = GroupInfoRatchetTreeTbe::encrypt_context(&query.room);
    let opened = keys.hpke_open(&query.keys.private, &context, &sealed)?;
    let tbe: GroupInfoRatchetTreeTbe = decode_exact(&opened).map_err(OpsError::answer("GroupInfoRatchetTreeTBE"))?;

    let context = tbe.group_info.group_context();
    if context.group_id() != query.room.group_uri().as_str().as_bytes() {
        return Err(OpsError::answer("GroupInfoRatchetTreeTBE")(
            "the GroupInfo is another room's",
        ));
    }
    let external_senders = context
        .extensions()
        .get(mimi_hub_proto::mls::ExtensionType::EXTERNAL_SENDERS)
        .ok_or_else(|| OpsError::answer("GroupInfoRatchetTreeTBE")("the room names no external senders"))?;
    let external_senders: Vec<mimi_hub_proto::mls::ExternalSender> =
        decode_exact(external_senders).map_err(OpsError::answer("external_senders"))?;
    if !external_senders.contains(&tbs.hub_sender) {
        return Err(OpsError::answer("GroupInfoResponse")(
            "its signer is not an external sender of the room",
        ));
    }
    Ok(tbe)
}

/// What the group requires, in the words of `proto`.
fn required_capabilities(extensions: &Extensions<GroupContext>) -> Result<RequiredCapabilities, OpsError> {
    let Some(required) = extensions.required_capabilities() else {
        return Ok(RequiredCapabilities::default());
    };
    let octets = required
        .tls_serialize_detached()
        .map_err(OpsError::mls("encode the required capabilities"))?;
    decode_exact(&octets).map_err(OpsError::mls("read the required capabilities"))
}
