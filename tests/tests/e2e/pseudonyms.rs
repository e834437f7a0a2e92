//! draft-ietf-mimi-protocol, section 6: minimal metadata rooms, over real processes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mimi_hub_ops::OpsError;
use mimi_hub_ops::client::{
    Client, ClientState, Hub as _, InitialState, MemberIdentity, Pseudonym, ROLE_MEMBER, TreeOption,
};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_tests::{Hub, client, room, user};

const SEEN_MAX: Duration = Duration::from_secs(20);
