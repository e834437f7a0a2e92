//! A group whose members were added in one Commit, and what its first member says in it.

use mimi_hub_proto::uri::UserUri;
use mimi_hub_proto::{SubmitMessageRequest, tls};
use openmls::prelude::KeyPackage;
use tls_codec::Serialize;

use crate::group::{Client, RoomGroup, SUITE, capabilities};

impl Client {
    fn key_package(&self) -> KeyPackage {
        let builder = KeyPackage::builder().leaf_node_capabilities(capabilities());
        let bundle = builder
            .build(SUITE, &self.provider, &self.signer, self.credential())
            .expect("a KeyPackage");
        bundle.key_package().clone()
    }
}

impl RoomGroup {
    /// A group of `members` clients of as many users, all of a.example; `external_sender` is the hub's.
    pub(crate) fn new(members: usize, external_sender: &[u8]) -> Self {
        let clients: Vec<Client> = (0..members).map(Client::new).collect();
        let users: Vec<UserUri> = clients.iter().map(|client| client.identity.user().clone()).collect();
        let mut clients = clients.into_iter();
        let first = clients.next().expect("at least one member");
        let RoomGroup { room, first, mut group } = RoomGroup::of(first, &users, external_sender);
        let added: Vec<KeyPackage> = clients.map(|client| client.key_package()).collect();
        if !added.is_empty() {
            group
                .add_members(&first.provider, &first.signer, &added)
                .expect("a Commit");
            group.merge_pending_commit(&first.provider).expect("a merge");
        }
        RoomGroup { room, first, group }
    }

    /// An application message of 1 KiB.
    pub(crate) fn message(&mut self) -> SubmitMessageRequest {
        let Client {
            provider,
            signer,
            identity,
        } = &self.first;
        let message = self
            .group
            .create_message(provider, signer, &[0x61; 1024])
            .expect("a message");
        let message = message.tls_serialize_detached().expect("its octets");
        SubmitMessageRequest {
            app_message: tls::decode_exact(&message).expect("an application message"),
            sending_uri: identity.user().clone(),
        }
    }
}
