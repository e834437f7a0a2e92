//! Ways into a room other than a Welcome: making it, and joining by an external Commit.

use mimi_hub_proto::RatchetTreeOption;
use mimi_hub_proto::components::{PARTICIPANT_LIST, ParticipantListUpdate, UserRolePair};
use mimi_hub_proto::mls::{MlsMessage, SignaturePublicKey};
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::RoomUri;
use openmls::group::{MlsGroup, MlsGroupCreateConfig, PURE_PLAINTEXT_WIRE_FORMAT_POLICY};
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::{
    AppDataDictionary, AppDataDictionaryExtension, AppDataUpdateProposal, Extension, ExtensionType, Extensions,
    ExternalSender, GroupContext, LeafNodeParameters, MlsMessageBodyIn, MlsMessageIn, ProposalType, PublicMessageIn,
    RequiredCapabilitiesExtension,
};
use openmls_traits::OpenMlsProvider as _;

use super::app_data;
use super::commit::{commit_request, full_tree};
use super::franking;
use super::keys::{CIPHERSUITE, ClientKeys};
use super::receive::ratchet_tree_in;
use super::requests::{self, GroupInfoQuery};
use super::roles::InitialState;
use super::room::{self, UnansweredUpdate, UpdateKind};
use super::state::{ClientState, TreeOption};
use crate::OpsError;

/// What the hub needs of a new room.
#[derive(Clone, Debug)]
pub struct NewRoom {
    /// The GroupInfo struct, without ratchet tree.
    pub group_info: Vec<u8>,
    /// The content of the `ratchet_tree` extension.
    pub ratchet_tree: Vec<u8>,
}

impl ClientState {
    /// Makes the MLS group of a new room: this client alone in it, its user on the participant list. `external_sender` is
    /// the hub's, encoded. The room is this client's from now on, and the hub's when it has accepted it.
    ///
    /// # Errors
    /// [`OpsError::Answer`] when `external_sender` is none, [`OpsError::Mls`] when the group cannot be made, for one
    /// because this client has made it before.
    pub fn create_room(
        &mut self,
        room: &RoomUri,
        external_sender: &[u8],
        initial: &InitialState,
    ) -> Result<NewRoom, OpsError> {
        let keys = &self.keys;
        let hub_key = decode_exact::<mimi_hub_proto::mls::ExternalSender>(external_sender)
            .map_err(OpsError::answer("ExternalSender"))?
            .signature_key;
        let external_sender =
            ExternalSender::tls_deserialize_exact(external_sender).map_err(OpsError::answer("ExternalSender"))?;
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(CIPHERSUITE)
            .capabilities(keys.capabilities())
            .with_group_context_extensions(group_context_extensions(keys, room, hub_key, external_sender, initial)?)
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .build();
        let group_id = room::group_id(room);
        let mut group = MlsGroup::new_with_group_id(
            &keys.provider,
            &keys.signer,
            &config,
            group_id,
            keys.credential_with_key(),
        )
        .map_err(OpsError::mls("make the group"))?;
        group
            .set_configuration(keys.provider.storage(), &room::join_config())
            .map_err(OpsError::mls("configure the group"))?;
        let exported = group
            .export_group_info(keys.provider.crypto(), &keys.signer, false)
            .map_err(OpsError::mls("export the GroupInfo"))?
            .tls_serialize_detached()
            .map_err(OpsError::mls("encode the GroupInfo"))?;
        let MlsMessage::GroupInfo(group_info) =
            decode_exact(&exported).map_err(OpsError::mls("frame the GroupInfo"))?
        else {
            return Err(OpsError::mls("export the GroupInfo")("it is something else"));
        };
        let ratchet_tree = group
            .export_ratchet_tree()
            .tls_serialize_detached()
            .map_err(OpsError::mls("encode the ratchet tree"))?;
        self.membership_mut(room).install(group);
        Ok(NewRoom {
            group_info: encode(&group_info),
            ratchet_tree,
        })
    }

    /// Forgets a room that the hub has not accepted.
    ///
    /// # Errors
    /// [`OpsError::Mls`] when its secrets cannot be deleted.
    pub fn abandon_room(&mut self, room: &RoomUri) -> Result<(), OpsError> {
        match self.rooms.remove(room).and_then(|membership| membership.group) {
            Some(mut group) => group
                .delete(self.keys.provider.storage())
                .map_err(OpsError::mls("forget the group")),
            None => Ok(()),
        }
    }

    /// Builds the external Commit that brings this client into the room, from the GroupInfoResponse to `query`, and gives
    /// the UpdateRequest to be sent. The client is in the room when the hub has accepted it.
    ///
    /// With `role_index` the Commit also puts this client's user, who is no participant yet, on the list with that role.
    ///
    /// The pending proposals that come with the answer are handed to the Commit, which covers those that an external
    /// Commit may: SelfRemoves. All others end with the epoch, and it is for the hub to make them anew.
    ///
    /// # Errors
    /// [`OpsError::NoGroupInfo`] when the hub refuses, [`OpsError::Answer`], [`OpsError::Signature`] or [`OpsError::Mls`]
    /// when the answer cannot be trusted, [`OpsError::Unanswered`] while another update of the room has no answer.
    pub fn external_commit(
        &mut self,
        room: &RoomUri,
        query: &GroupInfoQuery,
        response: &[u8],
        role_index: Option<u32>,
    ) -> Result<Vec<u8>, OpsError> {
        if self.unanswered_update(room).is_some() {
            return Err(OpsError::Unanswered { room: room.clone() });
        }
        let keys = &self.keys;
        let opened = requests::open_group_info(keys, query, response)?;
        let group_info = VerifiableGroupInfo::tls_deserialize_exact(encode(&opened.group_info))
            .map_err(OpsError::mls("read the GroupInfo"))?;
        let RatchetTreeOption::Full(tree) = &opened.ratchet_tree else {
            return Err(OpsError::answer("GroupInfoRatchetTreeTBE")(
                "the ratchet tree is not in it",
            ));
        };
        let mut proposals = Vec::new();
        for pending in &opened.pending_proposals {
            proposals.push(public_message(&encode(&pending.proposal))?);
        }
        let leaf = LeafNodeParameters::builder()
            .with_capabilities(keys.capabilities())
            .build();
        let mut builder = MlsGroup::external_commit_builder()
            .with_config(room::join_config())
            .with_ratchet_tree(ratchet_tree_in(&encode(tree))?)
            .with_proposals(proposals)
            .build_group(&keys.provider, group_info, keys.credential_with_key())
            .map_err(OpsError::mls("read the group"))?
            .leaf_node_parameters(leaf);
        if let Some(role_index) = role_index {
            let user = keys.identity.user().clone();
            let update = ParticipantListUpdate {
                added_participants: vec![UserRolePair { user, role_index }],
                ..ParticipantListUpdate::default()
            };
            let update = AppDataUpdateProposal::update(PARTICIPANT_LIST, encode(&update));
            builder = builder.add_app_data_update_proposal(update);
        }
        let mut stage = builder
            .load_psks(keys.provider.storage())
            .map_err(OpsError::mls("build an external Commit"))?
            .create_group_info(true);
        let components = opened
            .group_info
            .group_context()
            .extensions()
            .decode(mimi_hub_proto::mls::ExtensionType::APP_DATA_DICTIONARY)
            .map_err(OpsError::mls("read the room's components"))?
            .unwrap_or_default();
        let mut updater = stage.app_data_dictionary_updater();
        app_data::resolve_in(&components, stage.app_data_update_proposals(), &mut updater)?;
        let changes = updater.changes();
        stage.with_app_data_dictionary_updates(changes);
        let (group, bundle) = stage
            .build(keys.provider.rand(), keys.provider.crypto(), &keys.signer, |_| true)
            .map_err(OpsError::mls("build an external Commit"))?
            .finalize(&keys.provider)
            .map_err(OpsError::mls("build an external Commit"))?;
        let ratchet_tree = match self.tree {
            TreeOption::DistributionService => RatchetTreeOption::DistributionService,
            TreeOption::Full => full_tree(&group.export_ratchet_tree())?,
        };
        let (body, message) = commit_request(bundle, ratchet_tree)?;
        self.membership_mut(room).update = Some(UnansweredUpdate {
            body: body.clone(),
            kind: UpdateKind::ExternalCommit {
                message,
                group: Box::new(group),
            },
        });
        Ok(body)
    }
}

fn group_context_extensions(
    keys: &ClientKeys,
    room: &RoomUri,
    hub_key: SignaturePublicKey,
    external_sender: ExternalSender,
    initial: &InitialState,
) -> Result<Extensions<GroupContext>, OpsError> {
    let required = RequiredCapabilitiesExtension::new(
        &[ExtensionType::AppDataDictionary],
        &[ProposalType::AppDataUpdate],
        &[keys.credential_type()],
    );
    let mut dictionary = AppDataDictionary::new();
    let franking = franking::components(room, hub_key);
    for (component, data) in initial.components().into_iter().chain(franking) {
        dictionary.insert(component, data);
    }
    Extensions::from_vec(vec![
        Extension::RequiredCapabilities(required),
        Extension::ExternalSenders(vec![external_sender]),
        Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary)),
    ])
    .map_err(OpsError::mls("make the group's extensions"))
}

fn public_message(octets: &[u8]) -> Result<PublicMessageIn, OpsError> {
    let message = MlsMessageIn::tls_deserialize_exact(octets).map_err(OpsError::mls("read a pending Proposal"))?;
    match message.extract() {
        MlsMessageBodyIn::PublicMessage(message) => Ok(message),
        _ => Err(OpsError::mls("read a pending Proposal")("it is not a PublicMessage")),
    }
}
