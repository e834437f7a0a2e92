//! A group that has grown by external Commits.

use mimi_hub_proto::uri::UserUri;
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::{
    LeafNodeParameters, MlsGroup, MlsMessageIn, OpenMlsProvider, ProcessedMessageContent, RatchetTreeIn,
};
use tls_codec::{Deserialize, Serialize};

use crate::group::{Client, RoomGroup, capabilities};

impl RoomGroup {
    /// A group of `members` clients of as many users, where each but the first has joined by an external Commit: so that, as in a group that has lived
    /// for a while, every node of the tree has a key.
    pub(crate) fn grown(members: usize, external_sender: &[u8]) -> Self {
        let clients: Vec<Client> = (0..members).map(Client::new).collect();
        let users: Vec<UserUri> = clients.iter().map(|client| client.identity.user().clone()).collect();
        let mut clients = clients.into_iter();
        let first = clients.next().expect("at least one member");
        let mut room = RoomGroup::of(first, &users, external_sender);
        for client in clients {
            room.let_in(&client);
        }
        room
    }

    fn let_in(&mut self, client: &Client) {
        let (group_info, tree) = self.group_info_and_tree();
        let group_info = VerifiableGroupInfo::tls_deserialize_exact(group_info.as_bytes()).expect("a GroupInfo");
        let tree = RatchetTreeIn::tls_deserialize_exact(tree.as_bytes()).expect("a tree");
        let leaf = LeafNodeParameters::builder().with_capabilities(capabilities()).build();
        let (_, bundle) = MlsGroup::external_commit_builder()
            .with_ratchet_tree(tree)
            .build_group(&client.provider, group_info, client.credential())
            .expect("a group")
            .leaf_node_parameters(leaf)
            .load_psks(client.provider.storage())
            .expect("no PSKs")
            .build(client.provider.rand(), client.provider.crypto(), &client.signer, |_| {
                true
            })
            .expect("an external Commit")
            .finalize(&client.provider)
            .expect("an external Commit");
        let commit = bundle.into_commit().tls_serialize_detached().expect("its octets");
        let message = MlsMessageIn::tls_deserialize_exact(&commit).expect("an MLSMessage");
        let message = message.try_into_protocol_message().expect("a handshake");
        let provider = &self.first.provider;
        let processed = self.group.process_message(provider, message).expect("a valid Commit");
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            unreachable!("a Commit was sent")
        };
        self.group.merge_staged_commit(provider, *staged).expect("a merge");
    }
}
