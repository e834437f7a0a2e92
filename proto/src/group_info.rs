//! `POST /groupInfo/{roomId}` (draft-ietf-mimi-protocol, section 5.6).

use crate::Error;
use crate::mls::{
    CipherSuite, Credential, ExternalSender, GroupInfo, HpkeCiphertext, HpkePublicKey, ProposalMessage,
    SignaturePublicKey, encrypt_context, sign_content,
};
use crate::protocol::Protocol;
use crate::ratchet_tree::RatchetTreeOption;
use crate::tls::{Decode, Encode, Reader, Writer, encode, tls_enum, tls_struct};
use crate::uri::RoomUri;

/// What a client signs that wants to join by an external Commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfoRequestTbs {
    /// The suite of the signatures and the encryption here; any that both sides have.
    pub cipher_suite: CipherSuite,
    /// Verifies the request.
    pub requesting_signature_key: SignaturePublicKey,
    /// Who the key belongs to.
    pub requesting_credential: Credential,
    /// What the answer is encrypted to.
    pub group_info_public_key: HpkePublicKey,
    /// Proves permission without being a participant.
    pub joining_code: Option<Vec<u8>>,
}

impl GroupInfoRequestTbs {
    /// The octets that are signed: SignContent under the label `GroupInfoRequestTBS`.
    pub fn sign_content(&self) -> Vec<u8> {
        sign_content("GroupInfoRequestTBS", &encode(self))
    }
}

impl Encode for GroupInfoRequestTbs {
    fn encode(&self, out: &mut Writer) {
        Protocol::Mls10.encode(out);
        self.cipher_suite.encode(out);
        self.requesting_signature_key.encode(out);
        self.requesting_credential.encode(out);
        self.group_info_public_key.encode(out);
        self.joining_code.encode(out);
    }
}

impl Decode for GroupInfoRequestTbs {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let Protocol::Mls10 = Protocol::decode(reader)?;
        Ok(GroupInfoRequestTbs {
            cipher_suite: CipherSuite::decode(reader)?,
            requesting_signature_key: SignaturePublicKey::decode(reader)?,
            requesting_credential: Credential::decode(reader)?,
            group_info_public_key: HpkePublicKey::decode(reader)?,
            joining_code: Option::decode(reader)?,
        })
    }
}

/// The request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfoRequest {
    /// What is signed. It is also the beginning of the request's encoding.
    pub tbs: GroupInfoRequestTbs,
    /// The signature over [`GroupInfoRequestTbs::sign_content`].
    pub signature: Vec<u8>,
}

tls_struct!(GroupInfoRequest { tbs, signature });

tls_enum! {
    /// Whether a GroupInfo was provided.
    pub enum GroupInfoCode: u8 {
        /// It was.
        Success = 1,
        /// The requester may not have it.
        NotAuthorized = 2,
        /// There is no such room.
        NoSuchRoom = 3,
    }
}

/// A proposal of the current epoch that no Commit has covered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingProposal {
    /// The proposal.
    pub proposal: ProposalMessage,
    /// When the hub accepted it, in milliseconds since the Unix epoch.
    pub hub_accepted_time: u64,
}

tls_struct!(PendingProposal {
    proposal,
    hub_accepted_time
});

/// What is encrypted to the requester.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfoRatchetTreeTbe {
    /// The GroupInfo, without embedded ratchet tree.
    pub group_info: GroupInfo,
    /// Where the tree is.
    pub ratchet_tree: RatchetTreeOption,
    /// The proposals an external Commit has to mind.
    pub pending_proposals: Vec<PendingProposal>,
}

tls_struct!(GroupInfoRatchetTreeTbe {
    group_info,
    ratchet_tree,
    pending_proposals
});

impl GroupInfoRatchetTreeTbe {
    /// EncryptContext for the room: the `info` of HPKE.
    pub fn encrypt_context(room_id: &RoomUri) -> Vec<u8> {
        encrypt_context("GroupInfo and ratchet_tree encryption", room_id.as_str().as_bytes())
    }
}

/// What the hub signs in an answer of success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfoResponseTbs {
    /// The room.
    pub room_id: RoomUri,
    /// The suite of the signature and the encryption.
    pub cipher_suite: CipherSuite,
    /// The hub, as the room's `external_senders` name it.
    pub hub_sender: ExternalSender,
    /// A [`GroupInfoRatchetTreeTbe`].
    pub encrypted_groupinfo_and_tree: HpkeCiphertext,
}

impl GroupInfoResponseTbs {
    /// The octets that are signed: SignContent under the label `GroupInfoResponseTBS`.
    pub fn sign_content(&self) -> Vec<u8> {
        sign_content("GroupInfoResponseTBS", &encode(self))
    }

    fn decode_success(room_id: RoomUri, reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(GroupInfoResponseTbs {
            room_id,
            cipher_suite: CipherSuite::decode(reader)?,
            hub_sender: ExternalSender::decode(reader)?,
            encrypted_groupinfo_and_tree: HpkeCiphertext::decode(reader)?,
        })
    }
}

impl Encode for GroupInfoResponseTbs {
    fn encode(&self, out: &mut Writer) {
        encode_head(&self.room_id, GroupInfoCode::Success, out);
        self.cipher_suite.encode(out);
        self.hub_sender.encode(out);
        self.encrypted_groupinfo_and_tree.encode(out);
    }
}

impl Decode for GroupInfoResponseTbs {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        match decode_head(reader)? {
            (room_id, GroupInfoCode::Success) => Self::decode_success(room_id, reader),
            _ => Err(Error::Unexpected {
                expected: "GroupInfoCode success",
                found: "a failure",
            }),
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupInfoResponse {
    /// The GroupInfo is provided.
    Success {
        /// What is signed. It is also the beginning of the answer's encoding.
        tbs: GroupInfoResponseTbs,
        /// The signature over [`GroupInfoResponseTbs::sign_content`].
        signature: Vec<u8>,
    },
    /// The requester may not have it.
    NotAuthorized {
        /// The room asked for.
        room_id: RoomUri,
    },
    /// There is no such room.
    NoSuchRoom {
        /// The room asked for.
        room_id: RoomUri,
    },
}

impl GroupInfoResponse {
    /// The room asked for.
    pub fn room_id(&self) -> &RoomUri {
        match self {
            GroupInfoResponse::Success { tbs, .. } => &tbs.room_id,
            GroupInfoResponse::NotAuthorized { room_id } | GroupInfoResponse::NoSuchRoom { room_id } => room_id,
        }
    }

    /// The code of the answer.
    pub fn status(&self) -> GroupInfoCode {
        match self {
            GroupInfoResponse::Success { .. } => GroupInfoCode::Success,
            GroupInfoResponse::NotAuthorized { .. } => GroupInfoCode::NotAuthorized,
            GroupInfoResponse::NoSuchRoom { .. } => GroupInfoCode::NoSuchRoom,
        }
    }
}

impl Encode for GroupInfoResponse {
    fn encode(&self, out: &mut Writer) {
        match self {
            GroupInfoResponse::Success { tbs, signature } => {
                tbs.encode(out);
                signature.encode(out);
            }
            GroupInfoResponse::NotAuthorized { room_id } | GroupInfoResponse::NoSuchRoom { room_id } => {
                encode_head(room_id, self.status(), out);
            }
        }
    }
}

impl Decode for GroupInfoResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let (room_id, status) = decode_head(reader)?;
        Ok(match status {
            GroupInfoCode::Success => GroupInfoResponse::Success {
                tbs: GroupInfoResponseTbs::decode_success(room_id, reader)?,
                signature: Vec::decode(reader)?,
            },
            GroupInfoCode::NotAuthorized => GroupInfoResponse::NotAuthorized { room_id },
            GroupInfoCode::NoSuchRoom => GroupInfoResponse::NoSuchRoom { room_id },
        })
    }
}

fn encode_head(room_id: &RoomUri, status: GroupInfoCode, out: &mut Writer) {
    Protocol::Mls10.encode(out);
    room_id.encode(out);
    status.encode(out);
}

fn decode_head(reader: &mut Reader<'_>) -> Result<(RoomUri, GroupInfoCode), Error> {
    let Protocol::Mls10 = Protocol::decode(reader)?;
    let room_id = RoomUri::decode(reader)?;
    Ok((room_id, GroupInfoCode::decode(reader)?))
}
