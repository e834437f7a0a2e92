//! The components of a room as JSON (draft-ietf-mimi-protocol, section 7; draft-ietf-mimi-room-policy;
//! draft-ietf-mls-extensions, section 4), and those of associated parties and external receivers.

use mimi_hub_proto::associated_parties::{AssociatedParties, AssociatedPartyEntry, AssociatedPartyExportContext};
use mimi_hub_proto::components::{
    AppDataDictionary, AppDataUpdate, AppDataUpdateOperation, AppEphemeral, AppMessagePolicy, AssetPolicy,
    AssetUploadLocation, BaseRoomPolicy, Bot, BotPolicy, Capability, Claim, ClaimId, ComponentsList, DomainName,
    DownloadPrivacy, DownloadPrivacyType, ExtendedCapabilities, HistoryPolicy, HistorySharing, JoinLink,
    JoinLinkPolicy, JoinLinksData, JoinLinksUpdate, LinkPreviewPolicy, Logging, LoggingPolicy, MediaType,
    MediaTypeParameter, MessageExpiration, MessageExpirationPolicy, MinDefaultMaxTime, OperationalParameters,
    Optionality, ParticipantListData, ParticipantListUpdate, PendingProposalPolicy, PreAuthData, PreAuthRoleEntry,
    ProviderAssetUploadDomains, RichDescription, Role, RoleData, RoomMetaData, Ruled, SafeAad, SafeAadItem,
    SingleSourceRoleChangeTargets, StatusNotificationPolicy, UserRolePair, UserindexRolePair,
};
use mimi_hub_proto::mls::{
    ExternalReceiver, ExternalReceivers, KeyForExternalReceiver, PerMessageKeyAndNonces, SemiPrivateMessageContext,
};
use mimi_hub_proto::uri::RoomUri;
use serde_json::{Value, json};

use super::fields::{Fields, Read, field, member, names, newtypes, object, structs, text, with};

newtypes!(Capability);

names! {
    Optionality { Optional: "optional", Required: "required", Forbidden: "forbidden" }
    AssetUploadLocation { Unspecified: "unspecified", LocalProvider: "localProvider", Hub: "hub" }
    DownloadPrivacyType { Direct: "direct", HubProxy: "hubProxy", Ohttp: "ohttp" }
}

structs! {
    AppEphemeral { component_id: "component_id", data: "data" }
    ComponentsList { component_ids: "component_ids" }
    SafeAadItem { component_id: "component_id", aad_item_data: "aad_item_data" }
    UserRolePair { user: "user", role_index: "role_index" }
    ParticipantListData { participants: "participants" }
    UserindexRolePair { user_index: "user_index", role_index: "role_index" }
    ParticipantListUpdate {
        changed_role_participants: "changedRoleParticipants",
        removed_indices: "removedIndices",
        added_participants: "addedParticipants",
    }
    RichDescription {
        media_type: "media_type",
        language_tag: "language_tag",
        description_content: "description_content",
    }
    RoomMetaData {
        room_uri: "room_uri",
        room_name: "room_name",
        room_descriptions: "room_descriptions",
        room_avatar: "room_avatar",
        room_subject: "room_subject",
        room_mood: "room_mood",
    }
    SingleSourceRoleChangeTargets {
        from_role_index: "from_role_index",
        target_role_indexes: "target_role_indexes",
    }
    Role {
        role_index: "role_index",
        role_name: "role_name",
        role_description: "role_description",
        role_capabilities: "role_capabilities",
        minimum_participants_constraint: "minimum_participants_constraint",
        maximum_participants_constraint: "maximum_participants_constraint",
        minimum_active_participants_constraint: "minimum_active_participants_constraint",
        maximum_active_participants_constraint: "maximum_active_participants_constraint",
        authorized_role_changes: "authorized_role_changes",
    }
    RoleData { roles: "roles" }
    ClaimId { credential_type: "credential_type", id: "id" }
    Claim { claim_id: "claim_id", claim_value: "claim_value" }
    PreAuthRoleEntry { claimset: "claimset", target_role: "target_role" }
    PreAuthData { preauthorized_entries: "preauthorized_entries" }
    JoinLinkPolicy {
        on_request: "on_request",
        join_link: "join_link",
        multiuser: "multiuser",
        expiration: "expiration",
    }
    JoinLink { join_link: "join_link" }
    JoinLinksData { links: "links" }
    JoinLinksUpdate { removed_indices: "removedIndices", added_links: "addedLinks" }
    StatusNotificationPolicy {
        delivery_notifications: "delivery_notifications",
        read_receipts: "read_receipts",
    }
    LinkPreviewPolicy {
        autodetect_hyperlinks_in_text: "autodetect_hyperlinks_in_text",
        send_link_previews: "send_link_previews",
        automatic_link_previews: "automatic_link_previews",
        link_preview_proxy: "link_preview_proxy",
    }
    DomainName { domain: "domain" }
    ProviderAssetUploadDomains {
        provider: "provider",
        asset_upload_destinations: "asset_upload_destinations",
    }
    DownloadPrivacy {
        allowed_download_types: "allowed_download_types",
        forbidden_download_types: "forbidden_download_types",
        default_download_type: "default_download_type",
    }
    MediaTypeParameter { parameter_name: "parameter_name", parameter_value: "parameter_value" }
    MediaType { media_type: "media_type", parameters: "parameters" }
    AssetPolicy {
        asset_upload_location: "asset_upload_location",
        upload_domains: "upload_domains",
        download_privacy: "download_privacy",
        max_image: "max_image",
        max_audio: "max_audio",
        max_video: "max_video",
        max_attachment: "max_attachment",
        forbidden_media_types: "forbidden_media_types",
        permitted_media_types: "permitted_media_types",
    }
    Logging {
        logging_clients: "logging_clients",
        machine_readable_policy: "machine_readable_policy",
        human_readable_policy: "human_readable_policy",
    }
    LoggingPolicy { logging: "logging" }
    HistorySharing {
        roles_that_can_share: "roles_that_can_share",
        automatically_share: "automatically_share",
        max_time_period: "max_time_period",
    }
    HistoryPolicy { history_sharing: "history_sharing" }
    Bot {
        name: "name",
        description: "description",
        homepage: "homepage",
        local_client_bot: "local_client_bot",
        bot_role_index: "bot_role_index",
        can_target_message_in_group: "can_target_message_in_group",
        per_user_content: "per_user_content",
    }
    BotPolicy { allowed_bots: "allowed_bots" }
    MessageExpiration {
        min_expiration_duration: "min_expiration_duration",
        max_expiration_duration: "max_expiration_duration",
        default_expiration_duration: "default_expiration_duration",
    }
    MessageExpirationPolicy { expiring_messages: "expiring_messages" }
    ExtendedCapabilities {
        versions: "versions",
        cipher_suites: "cipher_suites",
        extensions: "extensions",
        proposals: "proposals",
        credentials: "credentials",
        wire_formats: "wire_formats",
        component_ids: "component_ids",
        safe_aad_types: "safe_aad_types",
        media_types: "media_types",
        content_types: "content_types",
    }
    MinDefaultMaxTime {
        minimum_time: "minimum_time",
        default_time: "default_time",
        maximum_time: "maximum_time",
    }
    AppMessagePolicy {
        epoch_tolerance: "epoch_tolerance",
        pad_to_size: "pad_to_size",
        max_generations_skipahead: "max_generations_skipahead",
    }
    OperationalParameters {
        mandatory_capabilities: "mandatory_capabilities",
        default_capabilities: "default_capabilities",
        forbidden_capabilities: "forbidden_capabilities",
        handshake_formats: "handshake_formats",
        external_proposal_allowed: "external_proposal_allowed",
        external_commit_allowed: "external_commit_allowed",
        pending_proposal_policy: "pending_proposal_policy",
        leaf_node_update_time: "leaf_node_update_time",
        app_message_policy: "app_message_policy",
        max_kp_lifetime: "max_kp_lifetime",
        max_credential_lifetime: "max_credential_lifetime",
        resumption_psk_lifetime: "resumption_psk_lifetime",
        sender_nonce_keypair_lifetime: "sender_nonce_keypair_lifetime",
        max_keypairs: "max_keypairs",
        buffer_incoming_message_time: "buffer_incoming_message_time",
        max_buffered_messages: "max_buffered_messages",
    }
    AssociatedPartyEntry {
        encryption_key: "encryption_key",
        external_sender_index: "external_sender_index",
        signature: "signature",
    }
    AssociatedParties { associated_parties: "associated_parties" }
    AssociatedPartyExportContext { ap_index: "ap_index", ap_entry: "ap_entry" }
    ExternalReceiver {
        external_receiver_public_key: "external_receiver_public_key",
        credential: "credential",
    }
    ExternalReceivers { external_receivers: "external_receivers" }
    PerMessageKeyAndNonces {
        key: "key",
        nonce: "nonce",
        reuse_guard: "reuse_guard",
        sender_leaf_index: "sender_leaf_index",
    }
    SemiPrivateMessageContext {
        group_id: "group_id",
        epoch: "epoch",
        partial_context_hash: "partial_context_hash",
    }
    KeyForExternalReceiver {
        external_receiver_ref: "external_receiver_ref",
        encrypted_keys_and_nonces: "encrypted_keys_and_nonces",
    }
}

impl<T: Fields> Fields for Ruled<T> {
    fn show(&self) -> Value {
        let optionality = match self {
            Ruled::Forbidden => "forbidden",
            Ruled::Optional(_) => "optional",
            Ruled::Required(_) => "required",
        };
        object([
            ("optionality", json!(optionality)),
            ("rules", self.rules().map_or(Value::Null, T::show)),
        ])
    }
    fn read(value: &Value) -> Read<Self> {
        Ok(match text(member(value, "optionality")?)? {
            "forbidden" => Ruled::Forbidden,
            "optional" => Ruled::Optional(field(value, "rules")?),
            "required" => Ruled::Required(field(value, "rules")?),
            other => return Err(format!("{other} is unknown")),
        })
    }
}

impl Fields for PendingProposalPolicy {
    fn show(&self) -> Value {
        match self {
            PendingProposalPolicy::Unspecified => json!({ "pending_proposal_strategy": 0 }),
            PendingProposalPolicy::ImmediateCommit => json!({ "pending_proposal_strategy": 1 }),
            PendingProposalPolicy::RandomDelay {
                minimum_delay_ms,
                maximum_delay_ms,
            } => json!({
                "pending_proposal_strategy": 2,
                "minimum_delay_ms": minimum_delay_ms.show(),
                "maximum_delay_ms": maximum_delay_ms.show(),
            }),
            PendingProposalPolicy::Extension {
                strategy,
                id_of_strategy_params,
            } => json!({
                "pending_proposal_strategy": strategy,
                "id_of_strategy_params": id_of_strategy_params,
            }),
        }
    }
    fn read(value: &Value) -> Read<Self> {
        Ok(match field(value, "pending_proposal_strategy")? {
            0u8 => PendingProposalPolicy::Unspecified,
            1 => PendingProposalPolicy::ImmediateCommit,
            2 => PendingProposalPolicy::RandomDelay {
                minimum_delay_ms: field(value, "minimum_delay_ms")?,
                maximum_delay_ms: field(value, "maximum_delay_ms")?,
            },
            strategy => PendingProposalPolicy::Extension {
                strategy,
                id_of_strategy_params: field(value, "id_of_strategy_params")?,
            },
        })
    }
}

impl Fields for BaseRoomPolicy {
    fn show(&self) -> Value {
        let parents: Vec<RoomUri> = self.parent_room.iter().cloned().collect();
        object([
            ("fixed_membership", self.fixed_membership.show()),
            ("parent_dependant", self.parent_room.is_some().show()),
            ("parent_room", parents.show()),
            ("multi_device", self.multi_device.show()),
            ("max_clients", self.max_clients.show()),
            ("max_users", self.max_users.show()),
            ("pseudonyms_allowed", self.pseudonyms_allowed.show()),
            ("persistent_room", self.persistent_room.show()),
            ("discoverable", self.discoverable.show()),
            ("policy_component_ids", self.policy_component_ids.show()),
        ])
    }
    fn read(value: &Value) -> Read<Self> {
        let mut parents: Vec<RoomUri> = field(value, "parent_room")?;
        if field::<bool>(value, "parent_dependant")? != (parents.len() == 1) {
            return Err("parent_dependant and parent_room disagree".to_owned());
        }
        Ok(BaseRoomPolicy {
            fixed_membership: field(value, "fixed_membership")?,
            parent_room: parents.pop(),
            multi_device: field(value, "multi_device")?,
            max_clients: field(value, "max_clients")?,
            max_users: field(value, "max_users")?,
            pseudonyms_allowed: field(value, "pseudonyms_allowed")?,
            persistent_room: field(value, "persistent_room")?,
            discoverable: field(value, "discoverable")?,
            policy_component_ids: field(value, "policy_component_ids")?,
        })
    }
}

impl Fields for AppDataDictionary {
    fn show(&self) -> Value {
        let entries = self.iter();
        entries
            .map(|entry| json!({ "component_id": entry.component_id, "data": entry.data.show() }))
            .collect()
    }
    fn read(value: &Value) -> Read<Self> {
        let mut dictionary = AppDataDictionary::new();
        for entry in value.as_array().ok_or("not a list")? {
            dictionary.set(field(entry, "component_id")?, field(entry, "data")?);
        }
        Ok(dictionary)
    }
}

impl Fields for AppDataUpdate {
    fn show(&self) -> Value {
        let (op, more) = match &self.op {
            AppDataUpdateOperation::Update(update) => ("update", json!({ "update": update.show() })),
            AppDataUpdateOperation::Remove => ("remove", json!({})),
        };
        with(json!({ "component_id": self.component_id, "op": op }), more)
    }
    fn read(value: &Value) -> Read<Self> {
        Ok(AppDataUpdate {
            component_id: field(value, "component_id")?,
            op: match text(member(value, "op")?)? {
                "update" => AppDataUpdateOperation::Update(field(value, "update")?),
                "remove" => AppDataUpdateOperation::Remove,
                other => return Err(format!("{other} is unknown")),
            },
        })
    }
}

impl Fields for SafeAad {
    fn show(&self) -> Value {
        object([("aad_items", Fields::show_all(self.items()))])
    }
    fn read(value: &Value) -> Read<Self> {
        SafeAad::new(field(value, "aad_items")?).map_err(|error| error.to_string())
    }
}
