//! What can happen to a hosted room. An event holds what was accepted and who is to hear of it; nothing in it has to be
//! decided again when it is applied.

use mimi_hub_proto::Frank;
use mimi_hub_proto::uri::{ClientUri, ProviderDomain, UserUri};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::room::records::JoinCode;
use crate::room::report::ReportRecord;
use crate::room::state::Checkpoint;

/// An event of a hosted room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RoomEvent {
    /// The room was made.
    Created {
        /// Its first state.
        checkpoint: Box<Checkpoint>,
        /// Local users that take part from the start.
        joined: Vec<UserUri>,
    },
    /// A Commit ended an epoch.
    Commit(CommitAccepted),
    /// Proposals wait for the next Commit.
    Proposals {
        /// MLSMessages, in the order in which they came.
        messages: Vec<ByteBuf>,
        /// The follower providers to tell.
        fan_out: Vec<ProviderDomain>,
    },
    /// An application message.
    Message {
        /// The MLSMessage, a PrivateMessage.
        message: ByteBuf,
        /// The hub's frank, where the message asked for one.
        frank: Option<FrankRecord>,
        /// The follower providers to tell: those with a user that may receive messages.
        fan_out: Vec<ProviderDomain>,
        /// Local users that may not receive it.
        withheld: Vec<UserUri>,
    },
    /// KeyPackages were claimed for this room: Welcomes to them go to `provider`.
    KeyPackagesClaimed {
        /// Who gave them.
        provider: ProviderDomain,
        /// Whose clients they are.
        user: UserUri,
        /// KeyPackageRefs, each with the client it belongs to and the end of its lifetime in seconds since the epoch.
        packages: Vec<ClaimedKeyPackage>,
    },
    /// The state after the last event, so that a rebuild need not start at the beginning.
    Checkpoint(Box<Checkpoint>),
    /// Messages of the room were reported.
    AbuseReported(Box<ReportRecord>),
    /// The moderators are done with a report.
    AbuseReportClosed {
        /// The number of the event that brought it.
        seq: u64,
        /// When that was, in milliseconds since the UNIX epoch.
        at_ms: u64,
    },
    /// A join code was made.
    JoinCodeCreated {
        /// Its name.
        id: String,
        /// What it is good for.
        code: JoinCode,
    },
    /// A join code was taken back.
    JoinCodeRevoked {
        /// Its name.
        id: String,
    },
    /// A user has shown a join code and may join by it.
    JoinCodeShown {
        /// The code's name.
        id: String,
        /// The user.
        user: UserUri,
    },
    /// The provider's moderators keep a user out.
    Barred {
        /// The user.
        user: UserUri,
        /// The hub's proposals to remove its clients: MLSMessages.
        messages: Vec<ByteBuf>,
        /// The follower providers to tell.
        fan_out: Vec<ProviderDomain>,
    },
    /// They keep it out no longer.
    Unbarred {
        /// The user.
        user: UserUri,
    },
    /// The room is no more.
    Destroyed,
}

/// A KeyPackage that was claimed through the hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedKeyPackage {
    /// Its KeyPackageRef.
    pub reference: ByteBuf,
    /// The client it belongs to.
    pub client: ClientUri,
    /// The end of its lifetime, in seconds since the UNIX epoch.
    pub not_after_s: u64,
}

/// A Commit and all that came with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommitAccepted {
    /// The MLSMessage, a PublicMessage.
    pub message: ByteBuf,
    /// The new epoch's GroupInfo, without ratchet tree.
    pub group_info: ByteBuf,
    /// The Welcome for the clients it adds.
    pub welcome: Option<WelcomeAccepted>,
    /// The follower providers that hear of the Commit: those with clients before or after it.
    pub fan_out: Vec<ProviderDomain>,
    /// Local users whose first client came in with this Commit.
    pub joined: Vec<UserUri>,
    /// Local users whose last client went with this Commit.
    pub left: Vec<UserUri>,
    /// The hub's proposals for the new epoch, which replace those that an external Commit made void: MLSMessages.
    pub external_proposals: Vec<ByteBuf>,
    /// The name of the join code by which its committer has joined.
    pub join_code: Option<String>,
}

/// A Welcome on its way to the providers that gave the KeyPackages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WelcomeAccepted {
    /// The MLSMessage, a Welcome.
    pub message: ByteBuf,
    /// The new epoch's `ratchet_tree`.
    pub ratchet_tree: ByteBuf,
    /// The follower providers that gave the KeyPackages.
    pub fan_out: Vec<ProviderDomain>,
    /// Local users that are welcomed.
    pub users: Vec<UserUri>,
}

/// A frank as it is kept: the three fields of the draft's struct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrankRecord {
    /// HMAC-SHA256 under the hub's key.
    pub server_frank: [u8; 32],
    /// The group's cipher suite at that time.
    pub ciphersuite: u16,
    /// The hub's signature over the frank and its context.
    pub integrity_signature: ByteBuf,
}

impl From<&Frank> for FrankRecord {
    fn from(frank: &Frank) -> Self {
        FrankRecord {
            server_frank: frank.server_frank,
            ciphersuite: frank.franking_signature_ciphersuite.0,
            integrity_signature: ByteBuf::from(frank.franking_integrity_signature.clone()),
        }
    }
}

impl From<&FrankRecord> for Frank {
    fn from(record: &FrankRecord) -> Self {
        Frank {
            server_frank: record.server_frank,
            franking_signature_ciphersuite: mimi_hub_proto::mls::CipherSuite(record.ciphersuite),
            franking_integrity_signature: record.integrity_signature.to_vec(),
        }
    }
}

impl RoomEvent {
    /// Does the event change what the next decision depends on? Such events are read again at a rebuild.
    pub(crate) fn changes_state(&self) -> bool {
        match self {
            RoomEvent::Commit(_)
            | RoomEvent::Proposals { .. }
            | RoomEvent::KeyPackagesClaimed { .. }
            | RoomEvent::JoinCodeCreated { .. }
            | RoomEvent::JoinCodeRevoked { .. }
            | RoomEvent::JoinCodeShown { .. }
            | RoomEvent::Barred { .. }
            | RoomEvent::Unbarred { .. }
            | RoomEvent::Destroyed => true,
            RoomEvent::Created { .. }
            | RoomEvent::Message { .. }
            | RoomEvent::Checkpoint(_)
            | RoomEvent::AbuseReported(_)
            | RoomEvent::AbuseReportClosed { .. } => false,
        }
    }

    /// The follower providers that are to receive something of this event.
    pub(crate) fn destinations(&self) -> impl Iterator<Item = &ProviderDomain> {
        let (first, second): (&[ProviderDomain], &[ProviderDomain]) = match self {
            RoomEvent::Commit(commit) => (
                &commit.fan_out,
                commit.welcome.as_ref().map_or(&[], |welcome| &welcome.fan_out),
            ),
            RoomEvent::Proposals { fan_out, .. }
            | RoomEvent::Barred { fan_out, .. }
            | RoomEvent::Message { fan_out, .. } => (fan_out, &[]),
            RoomEvent::Created { .. }
            | RoomEvent::KeyPackagesClaimed { .. }
            | RoomEvent::Checkpoint(_)
            | RoomEvent::AbuseReported(_)
            | RoomEvent::AbuseReportClosed { .. }
            | RoomEvent::JoinCodeCreated { .. }
            | RoomEvent::JoinCodeRevoked { .. }
            | RoomEvent::JoinCodeShown { .. }
            | RoomEvent::Unbarred { .. }
            | RoomEvent::Destroyed => (&[], &[]),
        };
        first
            .iter()
            .chain(second.iter().filter(move |domain| !first.contains(domain)))
    }

    /// Local users who take part from this event on.
    pub(crate) fn joined(&self) -> &[UserUri] {
        match self {
            RoomEvent::Created { joined, .. } => joined,
            RoomEvent::Commit(commit) => &commit.joined,
            _ => &[],
        }
    }

    /// Local users for whom this is the last event.
    pub(crate) fn left(&self) -> &[UserUri] {
        match self {
            RoomEvent::Commit(commit) => &commit.left,
            _ => &[],
        }
    }
}
