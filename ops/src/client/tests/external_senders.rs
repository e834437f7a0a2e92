//! Follower providers as external senders (draft-ietf-mimi-protocol, 7.4).

use mimi_hub_proto::mls::ExtensionType;

use super::*;

/// The credentials in the room's `external_senders`, as the hub knows them.
fn senders(hub: &Hub) -> Vec<Vec<u8>> {
    let group_info: GroupInfo = decode_exact(&hub.group_info).unwrap();
    let extensions = group_info.group_context().extensions();
    let senders: Vec<ExternalSender> = extensions.decode(ExtensionType::EXTERNAL_SENDERS).unwrap().unwrap();
    senders
        .iter()
        .map(|sender| sender.credential.as_ref().content.to_vec())
        .collect()
}

fn follower() -> Vec<u8> {
    encode(&ExternalSender {
        signature_key: SignaturePublicKey::new(vec![7; 32]),
        credential: Credential::basic(*b"mimi://b.example"),
    })
}

/// bob has his provider put in, and it goes with him.
#[test]
fn protocol_7_4_a_follower_comes_by_its_client_and_goes_with_its_last_participant() {
    let (mut hub, mut all) = alice_and_bob();
    hub.commit(&mut all, 1, &RoomChange::ExternalSender(follower()));
    assert_eq!(senders(&hub), [b"mimi://a.example", b"mimi://b.example"]);
    hub.say(&mut all, 0, "still here");
    hub.commit(&mut all, 0, &RoomChange::RemoveUser(user("bob")));
    assert_eq!(senders(&hub), [b"mimi://a.example"]);
}

/// A waiting AppDataUpdate leaves the follower to the next Commit.
#[test]
fn protocol_7_4_a_follower_goes_in_the_commit_after_a_leave() {
    let (mut hub, mut all) = alice_and_bob();
    hub.commit(&mut all, 1, &RoomChange::ExternalSender(follower()));
    let update = all[1].leave(&room()).unwrap();
    hub.update(&mut all, 1, &update);
    hub.commit(&mut all, 0, &RoomChange::Pending);
    assert_eq!(senders(&hub).len(), 2);
    hub.commit(&mut all, 0, &RoomChange::Pending);
    assert_eq!(senders(&hub), [b"mimi://a.example"]);
}
