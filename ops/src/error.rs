//! The one error type of this crate.

use std::path::{Path, PathBuf};

use crate::client::Problem;
use mimi_hub_proto::uri::{ClientUri, RoomUri, UserUri};

/// A cause from another library, kept for its text.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an operator's command or the reference client failed.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// Nothing was written, because files would have been lost.
    #[error("these files are there already, add --force to replace them: {}", list(paths))]
    FilesExist {
        /// The files in the way.
        paths: Vec<PathBuf>,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key or certificate could not be made.
    #[error("cannot make the certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// A gateway's certificates or address are unusable.
    #[error("cannot set up the gateway ({what}): {source}")]
    GatewaySetup {
        /// The file or address.
        what: String,
        /// Why.
        source: Cause,
    },
    /// A request could not be written down.
    #[error("{call}: cannot build the request: {source}")]
    Request {
        /// The call of the local API, or the struct.
        call: &'static str,
        /// Why.
        source: Cause,
    },
    /// The provider said no.
    #[error("{call}: refused with {status}, {problem}")]
    Refused {
        /// The call of the local API.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// What the provider said.
        problem: Problem,
    },
    /// No answer, however often it was sent.
    #[error("{call}: no answer after {attempts} attempts: {source}")]
    Unreachable {
        /// The call of the local API.
        call: &'static str,
        /// How often it was sent.
        attempts: u32,
        /// What went wrong the last time.
        source: Cause,
    },
    /// The answer is not what the protocol says it is.
    #[error("{call}: cannot understand the answer: {source}")]
    Answer {
        /// The call of the local API, or the struct.
        call: &'static str,
        /// Why.
        source: Cause,
    },
    /// The answer is larger than any honest one.
    #[error("{call}: the answer is larger than {bytes_max} bytes")]
    AnswerTooLarge {
        /// The call of the local API.
        call: &'static str,
        /// The limit.
        bytes_max: usize,
    },
    /// An attached file is not what its message says, or cannot be fetched.
    #[error("the asset at {url}: {problem}")]
    Asset {
        /// Where it is.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A request or a response cannot be encapsulated or opened (RFC 9458).
    #[error("Oblivious HTTP: {0}")]
    Oblivious(#[source] ohttp::Error),
    /// A step of MLS failed.
    #[error("{step}: {source}")]
    Mls {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        source: Cause,
    },
    /// A signature does not hold.
    #[error("the signature of the {what} does not verify")]
    Signature {
        /// The signed struct.
        what: &'static str,
    },
    /// Who is behind a pseudonym cannot be told.
    #[error("who {client} is cannot be told: {why}")]
    Unlinked {
        /// The client, by its pseudonym.
        client: ClientUri,
        /// Why not.
        why: &'static str,
    },
    /// This client is not a member of the room's group, or not any more.
    #[error("not a member of {room}")]
    NotMember {
        /// The room.
        room: RoomUri,
    },
    /// This client has asked to be removed and may not commit or send any more.
    #[error("leaving {room}")]
    Leaving {
        /// The room.
        room: RoomUri,
    },
    /// An update of this client is still without an answer.
    #[error("an update of {room} is still waiting for its answer")]
    Unanswered {
        /// The room.
        room: RoomUri,
    },
    /// The user is not on the participant list.
    #[error("{user} is not a participant of {room}")]
    NotParticipant {
        /// The room.
        room: RoomUri,
        /// The user.
        user: UserUri,
    },
    /// The target's provider gave no KeyPackages for the user.
    #[error("no KeyPackages for {user}: {status}")]
    NoKeyMaterial {
        /// The user.
        user: UserUri,
        /// The KeyMaterialUserCode.
        status: String,
    },
    /// The hub did not let the client in.
    #[error("no GroupInfo for {room}: {status}")]
    NoGroupInfo {
        /// The room.
        room: RoomUri,
        /// The GroupInfoCode.
        status: String,
    },
    /// The hub refused an update or a message.
    #[error("the hub refused the {what}: {status}{}{description}", if description.is_empty() { "" } else { ", " })]
    Denied {
        /// The request.
        what: &'static str,
        /// The response code.
        status: String,
        /// The hub's description, which may be empty.
        description: String,
    },
    /// The room moved on faster than this client could follow.
    #[error("gave up on {what} in {room} after {attempts} attempts")]
    Overtaken {
        /// The request.
        what: &'static str,
        /// The room.
        room: RoomUri,
        /// How often it was built anew.
        attempts: u32,
    },
    /// Something awaited did not happen.
    #[error("{what} did not happen within {seconds} s")]
    TimedOut {
        /// What was awaited.
        what: String,
        /// For how long.
        seconds: u64,
    },
    /// Clients, or a client and the hub, do not see the same room.
    #[error("{0}")]
    Disagreement(String),
    /// A choice on the command line that is not supported.
    #[error("{0}")]
    Usage(String),
    /// A process of the demo ended or could not be started.
    #[error("{provider}: {reason}, see {}", log.display())]
    Process {
        /// The provider's domain.
        provider: String,
        /// What happened.
        reason: String,
        /// Its log file.
        log: PathBuf,
    },
    /// A load ran, and messages were not acknowledged.
    #[error("{errors} messages were not acknowledged; the first: {first}")]
    LoadErrors {
        /// How many.
        errors: u64,
        /// Why the first was not.
        first: String,
    },
    /// Faults happened, and something did not hold.
    #[error("chaos broke it: {what}")]
    ChaosBroke {
        /// What and how often.
        what: String,
    },
    /// The demo ran and found something wrong.
    #[error("{failed} of {steps} steps failed")]
    DemoFailed {
        /// Steps that failed.
        failed: usize,
        /// Steps in all.
        steps: usize,
    },
}

impl OpsError {
    /// For `map_err` on file operations.
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    /// For `map_err` on answers and other octets from outside.
    pub(crate) fn answer<E: Into<Cause>>(call: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Answer {
            call,
            source: error.into(),
        }
    }

    /// For `map_err` on MLS operations.
    pub(crate) fn mls<E: Into<Cause>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Mls {
            step,
            source: error.into(),
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    shown.join(", ")
}
