//! What a test knows to succeed.

use mimi_hub_proto::GroupInfoOption;
use mimi_hub_proto::components::ParticipantListUpdate;
use mimi_hub_proto::mls as wire;
use mimi_hub_proto::uri::UserUri;
use openmls::prelude::{ExternalSender, MlsGroup};

use super::{Bundle, Client, Plan};

impl Bundle {
    pub(crate) fn group_info(&self) -> &wire::GroupInfo {
        match &self.group_info {
            GroupInfoOption::Full(group_info) => group_info,
            GroupInfoOption::Partial(_) => panic!("the tests' clients send whole GroupInfos"),
        }
    }
}

impl Client {
    pub(crate) fn leaf(&self) -> u32 {
        self.group().own_leaf_index().u32()
    }

    pub(crate) fn create_with(
        &mut self,
        group_id: &str,
        external_senders: Vec<ExternalSender>,
        participants: &[(UserUri, u32)],
        others: &[&Client],
    ) -> (wire::GroupInfo, wire::RatchetTree) {
        self.create_from(group_id, external_senders, participants, others, &[])
    }

    /// Builds a Commit; the group stays where it is until the Commit is merged or dropped.
    pub(crate) fn commit(&mut self, plan: Plan) -> Bundle {
        self.try_commit(plan).unwrap()
    }

    /// Joins by an external Commit; `None` as the own group until the hub has accepted.
    pub(crate) fn external_commit(&self, group_info: &wire::GroupInfo, tree: &wire::RatchetTree) -> (MlsGroup, Bundle) {
        self.external_commit_with(group_info, tree, None)
    }

    /// The same, along with a change of the participant list.
    pub(crate) fn external_commit_with(
        &self,
        group_info: &wire::GroupInfo,
        tree: &wire::RatchetTree,
        list: Option<&ParticipantListUpdate>,
    ) -> (MlsGroup, Bundle) {
        self.try_external_commit(group_info, tree, list).unwrap()
    }
}
