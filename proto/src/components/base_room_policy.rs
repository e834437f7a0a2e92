//! The `base_room_policy` component (draft-ietf-mimi-room-policy, section 5).

use super::ComponentId;
use crate::Error;
use crate::tls::{Decode, Encode, Reader, Writer};
use crate::uri::RoomUri;

/// Rules that hold for a whole room; also the update, which replaces them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseRoomPolicy {
    /// The participants are those of the beginning.
    pub fixed_membership: bool,
    /// The parent of a parent-dependent room, whose participants are a strict subset of the parent's.
    pub parent_room: Option<RoomUri>,
    /// A user may have several clients in the group.
    pub multi_device: bool,
    /// The most clients in the group.
    pub max_clients: Option<u32>,
    /// The most participants that are not banned.
    pub max_users: Option<u32>,
    /// Credentials may carry pseudonyms.
    pub pseudonyms_allowed: bool,
    /// The room outlives its MLS group.
    pub persistent_room: bool,
    /// The room can be found by searching.
    pub discoverable: bool,
    /// The other components that are part of the policy.
    pub policy_component_ids: Vec<ComponentId>,
}

/// What the draft calls the default: several clients per user, and nothing else.
impl Default for BaseRoomPolicy {
    fn default() -> Self {
        BaseRoomPolicy {
            fixed_membership: false,
            parent_room: None,
            multi_device: true,
            max_clients: None,
            max_users: None,
            pseudonyms_allowed: false,
            persistent_room: false,
            discoverable: false,
            policy_component_ids: Vec::new(),
        }
    }
}

impl Encode for BaseRoomPolicy {
    fn encode(&self, out: &mut Writer) {
        self.fixed_membership.encode(out);
        self.parent_room.is_some().encode(out);
        self.parent_room.as_slice().encode(out);
        self.multi_device.encode(out);
        self.max_clients.encode(out);
        self.max_users.encode(out);
        self.pseudonyms_allowed.encode(out);
        self.persistent_room.encode(out);
        self.discoverable.encode(out);
        self.policy_component_ids.encode(out);
    }
}

impl Decode for BaseRoomPolicy {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let fixed_membership = bool::decode(reader)?;
        let parent_dependant = bool::decode(reader)?;
        let mut parents: Vec<RoomUri> = Vec::decode(reader)?;
        if parents.len() != usize::from(parent_dependant) {
            return Err(Error::Invalid {
                what: "parent_room",
                why: "it does not agree with parent_dependant",
            });
        }
        Ok(BaseRoomPolicy {
            fixed_membership,
            parent_room: parents.pop(),
            multi_device: bool::decode(reader)?,
            max_clients: Option::decode(reader)?,
            max_users: Option::decode(reader)?,
            pseudonyms_allowed: bool::decode(reader)?,
            persistent_room: bool::decode(reader)?,
            discoverable: bool::decode(reader)?,
            policy_component_ids: Vec::decode(reader)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{decode_exact, encode};

    #[test]
    fn room_policy_5_parent_room_is_set_if_and_only_if_the_room_depends_on_it() {
        let parent: RoomUri = "mimi://a.example/r/parent".parse().unwrap();
        let policy = BaseRoomPolicy {
            parent_room: Some(parent),
            ..Default::default()
        };
        let mut octets = encode(&policy);
        assert_eq!(decode_exact(&octets), Ok(policy));
        assert_eq!(octets[1], 1);
        octets[1] = 0;
        assert!(matches!(
            decode_exact::<BaseRoomPolicy>(&octets),
            Err(Error::Invalid { .. })
        ));
        let mut octets = encode(&BaseRoomPolicy::default());
        octets[1] = 1;
        assert!(matches!(
            decode_exact::<BaseRoomPolicy>(&octets),
            Err(Error::Invalid { .. })
        ));
    }
}
