//! Changing single fields of encoded requests.

use mimi_hub_proto::mls::{CommitMessage, GroupInfo, Welcome};
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::{GroupInfoOption, HandshakeBundle, RatchetTreeOption, SubmitMessageRequest, UpdateRequest};

/// The parts of an UpdateRequest that carries a Commit.
pub struct CommitParts {
    /// The Commit.
    pub commit: CommitMessage,
    /// The Welcome.
    pub welcome: Option<Welcome>,
    /// The new epoch's GroupInfo.
    pub group_info: GroupInfo,
    /// The ratchet tree.
    pub ratchet_tree: RatchetTreeOption,
}

impl CommitParts {
    /// Takes an UpdateRequest apart.
    ///
    /// # Panics
    /// It carries no Commit, or a partial GroupInfo.
    #[must_use]
    pub fn of(update: &[u8]) -> Self {
        match decode_exact::<UpdateRequest>(update).unwrap().bundle {
            HandshakeBundle::Commit {
                commit,
                welcome,
                group_info: GroupInfoOption::Full(group_info),
                ratchet_tree,
            } => Self {
                commit,
                welcome,
                group_info,
                ratchet_tree,
            },
            other => panic!("not a Commit with a whole GroupInfo: {other:?}"),
        }
    }

    /// The UpdateRequest of these parts.
    #[must_use]
    pub fn request(self) -> Vec<u8> {
        encode(&UpdateRequest {
            bundle: HandshakeBundle::Commit {
                commit: self.commit,
                welcome: self.welcome,
                group_info: GroupInfoOption::Full(self.group_info),
                ratchet_tree: self.ratchet_tree,
            },
        })
    }
}

/// The same UpdateRequest with a Commit for another epoch.
///
/// # Panics
/// It carries no Commit.
#[must_use]
pub fn epoch_of_commit(update: &[u8], epoch: u64) -> Vec<u8> {
    let mut parts = CommitParts::of(update);
    let mut octets = encode(&parts.commit);
    set_epoch(&mut octets, parts.commit.group_id(), epoch);
    parts.commit = decode_exact(&octets).unwrap();
    parts.request()
}

/// The same SubmitMessageRequest with a message of another epoch.
///
/// # Panics
/// It is no SubmitMessageRequest.
#[must_use]
pub fn epoch_of_message(submit: &[u8], epoch: u64) -> Vec<u8> {
    let mut request: SubmitMessageRequest = decode_exact(submit).unwrap();
    let mut octets = encode(&request.app_message);
    set_epoch(&mut octets, request.app_message.group_id(), epoch);
    request.app_message = decode_exact(&octets).unwrap();
    encode(&request)
}

/// The same UpdateRequest with one bit of the Commit's signature changed.
///
/// # Panics
/// It carries no Commit.
#[must_use]
pub fn signature_of_commit(update: &[u8]) -> Vec<u8> {
    let mut parts = CommitParts::of(update);
    let mut octets = encode(&parts.commit);
    flip(&mut octets, parts.commit.signature());
    parts.commit = decode_exact(&octets).unwrap();
    parts.request()
}

/// The same UpdateRequest with one bit of the GroupInfo's signature changed.
///
/// # Panics
/// It carries no Commit.
#[must_use]
pub fn signature_of_group_info(update: &[u8]) -> Vec<u8> {
    let mut parts = CommitParts::of(update);
    let mut octets = encode(&parts.group_info);
    flip(&mut octets, parts.group_info.signature());
    parts.group_info = decode_exact(&octets).unwrap();
    parts.request()
}

/// In an MLSMessage, the epoch follows version, wire format and group id (RFC 9420, 6.2 and 6.3).
fn set_epoch(octets: &mut [u8], group_id: &[u8], epoch: u64) {
    let end = find(octets, group_id) + group_id.len();
    octets[end..end + 8].copy_from_slice(&epoch.to_be_bytes());
}

fn flip(octets: &mut [u8], part: &[u8]) {
    let place = find(octets, part) + part.len() / 2;
    octets[place] ^= 1;
}

fn find(octets: &[u8], part: &[u8]) -> usize {
    octets
        .windows(part.len())
        .position(|window| window == part)
        .expect("the part is in the whole")
}
