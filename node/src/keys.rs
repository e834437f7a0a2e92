//! The keyspace of one shard (the shard's own prefix is added by `cluster`). One function a record; all keys of an entity
//! share a prefix, so that an entity can be read and dropped as a range.
//!
//! ```text
//! <kind> <len:u16> <uri> h                       head: last sequence number, oldest event kept, checkpoint
//! <kind> <len:u16> <uri> e <seq:u64>             an accepted event, with its reply
//! <kind> <len:u16> <uri> s <seq:u64>             marks an event that changes the entity's in-memory state
//! <kind> <len:u16> <uri> t                       events that trims have spared until the next checkpoint
//! <kind> <len:u16> <uri> d <sha-256>             request hash -> seq of the event that answered it
//! <kind> <len:u16> <uri> c                       checkpoint (hosted rooms), profile (users)
//! <kind> <len:u16> <uri> p                       consent among users, and the profile that they are found by (users)
//! <kind> <len:u16> <uri> m <user>                ranges of events a local user may read (rooms)
//! <kind> <len:u16> <uri> k <ref>                 a stored KeyPackage (users), one that a Welcome is expected for (followed rooms)
//! <kind> <len:u16> <uri> x <ref>                 the end of lifetime of a KeyPackage that has been given out (users), of one
//!                                                that a Welcome is expected for (followed rooms)
//! <kind> <len:u16> <uri> a <seq:u64>             an abuse report that waits for the moderators: its time (hosted rooms)
//! <kind> <len:u16> <uri> b <seq:u64>             the report itself
//! a <ms:u64> <kind> <len:u16> <uri> <seq:u64>    the same reports, by time
//! i <term> <user>                                a user that can be found by this term (see `user::discovery`)
//! n <user>                                       the profile of a user that can be found
//! o <kind> <len:u16> <uri> <destination>         outbox cursor: what a destination has, what it should have
//! ```

use crate::entity::EntityId;

fn prefix(entity: &EntityId, extra: usize) -> Vec<u8> {
    let name = entity.name().as_bytes();
    let mut key = Vec::with_capacity(3 + name.len() + 1 + extra);
    key.push(entity.kind());
    push_name(&mut key, name);
    key
}

fn push_name(key: &mut Vec<u8>, name: &[u8]) {
    // URIs are at most 1,024 bytes long, which `proto` checks.
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(name);
}

fn record(entity: &EntityId, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = prefix(entity, 1 + rest.len());
    key.push(kind);
    key.extend_from_slice(rest);
    key
}

pub(crate) fn head(entity: &EntityId) -> Vec<u8> {
    record(entity, b'h', &[])
}

pub(crate) fn event(entity: &EntityId, seq: u64) -> Vec<u8> {
    record(entity, b'e', &seq.to_be_bytes())
}

pub(crate) fn events(entity: &EntityId) -> Vec<u8> {
    record(entity, b'e', &[])
}

pub(crate) fn state_mark(entity: &EntityId, seq: u64) -> Vec<u8> {
    record(entity, b's', &seq.to_be_bytes())
}

pub(crate) fn state_marks(entity: &EntityId) -> Vec<u8> {
    record(entity, b's', &[])
}

pub(crate) fn spared(entity: &EntityId) -> Vec<u8> {
    record(entity, b't', &[])
}

pub(crate) fn request(entity: &EntityId, hash: &[u8; 32]) -> Vec<u8> {
    record(entity, b'd', hash)
}

pub(crate) fn checkpoint(entity: &EntityId) -> Vec<u8> {
    record(entity, b'c', &[])
}

pub(crate) fn contacts(entity: &EntityId) -> Vec<u8> {
    record(entity, b'p', &[])
}

pub(crate) fn reader(entity: &EntityId, user: &str) -> Vec<u8> {
    record(entity, b'm', user.as_bytes())
}

pub(crate) fn readers(entity: &EntityId) -> Vec<u8> {
    record(entity, b'm', &[])
}

pub(crate) fn key_package(entity: &EntityId, reference: &[u8]) -> Vec<u8> {
    record(entity, b'k', reference)
}

pub(crate) fn key_packages(entity: &EntityId) -> Vec<u8> {
    record(entity, b'k', &[])
}

pub(crate) fn given_key_package(entity: &EntityId, reference: &[u8]) -> Vec<u8> {
    record(entity, b'x', reference)
}

pub(crate) fn given_key_packages(entity: &EntityId) -> Vec<u8> {
    record(entity, b'x', &[])
}

pub(crate) fn open_report(entity: &EntityId, seq: u64) -> Vec<u8> {
    record(entity, b'a', &seq.to_be_bytes())
}

pub(crate) fn open_reports(entity: &EntityId) -> Vec<u8> {
    record(entity, b'a', &[])
}

pub(crate) fn report(entity: &EntityId, seq: u64) -> Vec<u8> {
    record(entity, b'b', &seq.to_be_bytes())
}

/// All reports of a shard's rooms stand together, the oldest first.
pub(crate) const REPORTS: &[u8] = b"a";

pub(crate) fn report_by_time(entity: &EntityId, at_ms: u64, seq: u64) -> Vec<u8> {
    let mut key = REPORTS.to_vec();
    key.extend_from_slice(&at_ms.to_be_bytes());
    key.push(entity.kind());
    push_name(&mut key, entity.name().as_bytes());
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

/// The users that can be found by a term: the terms of a shard's users stand together.
pub(crate) fn found_by(term: &[u8], user: &str) -> Vec<u8> {
    [b"i", term, user.as_bytes()].concat()
}

/// The profiles of all users of a shard that can be found stand together.
pub(crate) const FINDABLE: &[u8] = b"n";

pub(crate) fn findable(user: &str) -> Vec<u8> {
    [FINDABLE, user.as_bytes()].concat()
}

/// All outbox cursors of a shard stand together, so that a new leader finds its work in one scan.
pub(crate) const OUTBOXES: &[u8] = b"o";

pub(crate) fn outbox(entity: &EntityId, destination: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(4 + entity.name().len() + destination.len());
    key.extend_from_slice(OUTBOXES);
    key.push(entity.kind());
    push_name(&mut key, entity.name().as_bytes());
    key.extend_from_slice(destination.as_bytes());
    key
}

/// The entity and destination in the key of an outbox cursor.
pub(crate) fn parse_outbox(key: &[u8]) -> Option<(EntityId, String)> {
    let rest = key.strip_prefix(OUTBOXES)?;
    let (&kind, rest) = rest.split_first()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (name, destination) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let name = std::str::from_utf8(name).ok()?;
    let entity = match kind {
        b'r' => EntityId::Room(name.parse().ok()?),
        b'f' => EntityId::Followed(name.parse().ok()?),
        b'u' => EntityId::User(name.parse().ok()?),
        _ => return None,
    };
    Some((entity, std::str::from_utf8(destination).ok()?.to_owned()))
}

/// The sequence number at the end of an event's or a mark's key.
pub(crate) fn trailing_seq(key: &[u8]) -> u64 {
    key.last_chunk::<8>().map_or(0, |seq| u64::from_be_bytes(*seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_key_names_its_entity_and_destination() {
        for entity in [
            EntityId::Room("mimi://a.example/r/clubhouse".parse().unwrap()),
            EntityId::Followed("mimi://b.example/r/o".parse().unwrap()),
        ] {
            let key = outbox(&entity, "c.example");
            assert_eq!(parse_outbox(&key), Some((entity, "c.example".to_owned())));
        }
        assert_eq!(parse_outbox(b"or"), None);
        assert_eq!(parse_outbox(b"or\xff\xffx"), None);
    }

    #[test]
    fn keys_of_two_entities_never_mix() {
        let one = EntityId::Room("mimi://a.example/r/x".parse().unwrap());
        let longer = EntityId::Room("mimi://a.example/r/xe".parse().unwrap());
        assert!(!event(&longer, 1).starts_with(&events(&one)));
        assert!(event(&one, 2) > event(&one, 1) && event(&one, 256) > event(&one, 255));
        assert_eq!(trailing_seq(&event(&one, 77)), 77);
    }
}
