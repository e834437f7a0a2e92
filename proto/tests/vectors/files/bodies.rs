//! The bodies of the endpoints as JSON (draft-ietf-mimi-protocol, sections 5.2 to 5.9).

use mimi_hub_proto::{
    AbuseReport, AbuseType, AbusiveMessage, ClientIdentity, ClientKeyMaterial, ClientKeyMaterialOutcome, ConsentChange,
    ConsentEntry, ConsentScope, FanoutEvent, FanoutMessage, FieldSource, Frank, FrankAad, FrankingAgentData,
    FrankingIntegrityTbs, GroupInfoOption, GroupInfoRatchetTreeTbe, GroupInfoRequest, GroupInfoRequestTbs,
    GroupInfoResponse, GroupInfoResponseTbs, HandshakeBundle, IdentifierQueryCode, IdentifierRequest,
    IdentifierResponse, KeyMaterialRequest, KeyMaterialRequestTbs, KeyMaterialResponse, KeyMaterialUserCode,
    PartialGroupInfo, PendingProposal, ProfileField, QueryElement, RatchetTreeOption, RatchetTreePresence, SearchType,
    ServerFrankingContext, SubmitMessageRequest, SubmitMessageResponse, UpdateOutcome, UpdateRequest,
    UpdateRoomResponse, UserProfile,
};
use serde_json::{Value, json};

use super::fields::{Fields, Read, field, member, names, newtypes, object, structs, text, with};

newtypes!(AbuseType);

names! {
    KeyMaterialUserCode {
        Success: "success",
        PartialSuccess: "partialSuccess",
        IncompatibleProtocol: "incompatibleProtocol",
        NoCompatibleMaterial: "noCompatibleMaterial",
        UserUnknown: "userUnknown",
        NoConsent: "noConsent",
        NoConsentForThisRoom: "noConsentForThisRoom",
        UserDeleted: "userDeleted",
    }
    IdentifierQueryCode {
        Success: "success",
        NotFound: "notFound",
        Ambiguous: "ambiguous",
        Forbidden: "forbidden",
        UnsupportedField: "unsupportedField",
    }
    FieldSource { OidcStdClaim: "oidcStdClaim", VcardField: "vcardField" }
    RatchetTreePresence {
        NoRatchetTree: "no_ratchet_tree",
        Present: "present",
        Removed: "removed",
        Added: "added",
    }
}

structs! {
    AbusiveMessage {
        message_content: "message_content",
        frank: "frank",
        accepted_timestamp: "accepted_timestamp",
    }
    AbuseReport {
        reporting_user: "reportingUser",
        alleged_abuser: "allegedAbuserUri",
        reason_code: "reasonCode",
        note: "note",
        messages: "messages",
        abuse_extensions: "abuse_extensions",
    }
    ConsentScope { requester: "requesterUri", target: "targetUri", room: "roomId" }
    Frank {
        server_frank: "server_frank",
        franking_signature_ciphersuite: "franking_signature_ciphersuite",
        franking_integrity_signature: "franking_integrity_signature",
    }
    FrankAad { franking_tag: "franking_tag" }
    FrankingAgentData { franking_signature_key: "franking_signature_key", credential: "credential" }
    FrankingIntegrityTbs {
        server_frank: "server_frank",
        franking_signature_ciphersuite: "franking_signature_ciphersuite",
        context: "context",
    }
    ServerFrankingContext {
        sender_uri: "sender_uri",
        room_uri: "room_uri",
        accepted_timestamp: "accepted_timestamp",
    }
    GroupInfoRequestTbs {
        cipher_suite: "cipher_suite",
        requesting_signature_key: "requestingSignatureKey",
        requesting_credential: "requestingCredential",
        group_info_public_key: "groupInfoPublicKey",
        joining_code: "joiningCode",
    }
    GroupInfoResponseTbs {
        room_id: "room_id",
        cipher_suite: "cipher_suite",
        hub_sender: "hub_sender",
        encrypted_groupinfo_and_tree: "encrypted_groupinfo_and_tree",
    }
    GroupInfoRatchetTreeTbe {
        group_info: "groupInfo",
        ratchet_tree: "ratchetTreeOption",
        pending_proposals: "pending_proposals",
    }
    PendingProposal { proposal: "proposal", hub_accepted_time: "hub_accepted_time" }
    KeyMaterialRequestTbs {
        requesting_user: "requestingUser",
        target_user: "targetUser",
        room_id: "roomId",
        acceptable_ciphersuites: "acceptableCiphersuites",
        required_capabilities: "requiredCapabilities",
        requester_signature_key: "requesterSignatureKey",
        requester_credential: "requesterCredential",
    }
    IdentifierRequest { query_elements: "query_elements", id_request_extensions: "id_request_extensions" }
    ProfileField { field_source: "fieldSource", field_name: "fieldName", field_value: "fieldValue" }
    UserProfile { stable_uri: "stableUri", fields: "fields" }
    SubmitMessageRequest { app_message: "appMessage", sending_uri: "sendingUri" }
    UpdateRequest { bundle: "bundle" }
}

impl Fields for ClientIdentity {
    fn show(&self) -> Value {
        object([("clientUri", self.client().show()), ("userUri", self.user().show())])
    }
    fn read(value: &Value) -> Read<Self> {
        ClientIdentity::new(field(value, "clientUri")?, field(value, "userUri")?).map_err(|e| e.to_string())
    }
}

impl Fields for KeyMaterialRequest {
    fn show(&self) -> Value {
        let signature = self.key_material_request_signature.show();
        with(self.tbs.show(), json!({ "key_material_request_signature": signature }))
    }
    fn read(value: &Value) -> Read<Self> {
        Ok(KeyMaterialRequest {
            tbs: Fields::read(value)?,
            key_material_request_signature: field(value, "key_material_request_signature")?,
        })
    }
}

impl Fields for ClientKeyMaterial {
    fn show(&self) -> Value {
        let (status, more) = match &self.outcome {
            ClientKeyMaterialOutcome::Success(package) => ("success", json!({ "keyPackage": package.show() })),
            ClientKeyMaterialOutcome::KeyMaterialExhausted => ("keyMaterialExhausted", json!({})),
            ClientKeyMaterialOutcome::NothingCompatible(capabilities) => (
                "nothingCompatible",
                json!({ "clientCapabilities": capabilities.show() }),
            ),
        };
        with(
            json!({ "clientStatus": status, "clientUri": self.client_uri.show() }),
            more,
        )
    }
    fn read(value: &Value) -> Read<Self> {
        let outcome = match text(member(value, "clientStatus")?)? {
            "success" => ClientKeyMaterialOutcome::Success(field(value, "keyPackage")?),
            "keyMaterialExhausted" => ClientKeyMaterialOutcome::KeyMaterialExhausted,
            "nothingCompatible" => ClientKeyMaterialOutcome::NothingCompatible(field(value, "clientCapabilities")?),
            other => return Err(format!("{other} is unknown")),
        };
        Ok(ClientKeyMaterial {
            client_uri: field(value, "clientUri")?,
            outcome,
        })
    }
}

impl Fields for KeyMaterialResponse {
    fn show(&self) -> Value {
        object([
            ("userStatus", self.user_status().show()),
            ("userUri", self.user_uri().show()),
            ("clients", Fields::show_all(self.clients())),
        ])
    }
    fn read(value: &Value) -> Read<Self> {
        let (status, user) = (field(value, "userStatus")?, field(value, "userUri")?);
        let clients: Vec<ClientKeyMaterial> = field(value, "clients")?;
        let response = match clients.is_empty() {
            true => KeyMaterialResponse::refused(user, status),
            false => KeyMaterialResponse::from_clients(user, clients),
        };
        let response = response.map_err(|error| error.to_string())?;
        match response.user_status() == status {
            true => Ok(response),
            false => Err("userStatus is another".to_owned()),
        }
    }
}

impl Fields for ConsentEntry {
    fn show(&self) -> Value {
        let (operation, more) = match &self.change {
            ConsentChange::Cancel => ("cancel", json!({})),
            ConsentChange::Request => ("request", json!({})),
            ConsentChange::Grant { client_key_packages } => {
                ("grant", json!({ "clientKeyPackages": client_key_packages.show() }))
            }
            ConsentChange::Revoke => ("revoke", json!({})),
        };
        let extensions = self.consent_extensions.show();
        let entry = json!({ "consentOperation": operation, "consent_extensions": extensions });
        with(with(entry, self.scope.show()), more)
    }
    fn read(value: &Value) -> Read<Self> {
        Ok(ConsentEntry {
            scope: Fields::read(value)?,
            change: match text(member(value, "consentOperation")?)? {
                "cancel" => ConsentChange::Cancel,
                "request" => ConsentChange::Request,
                "grant" => ConsentChange::Grant {
                    client_key_packages: field(value, "clientKeyPackages")?,
                },
                "revoke" => ConsentChange::Revoke,
                other => return Err(format!("{other} is unknown")),
            },
            consent_extensions: field(value, "consent_extensions")?,
        })
    }
}

impl Fields for QueryElement {
    fn show(&self) -> Value {
        let (name, more) = match &self.search_type {
            SearchType::Handle => ("handle", json!({})),
            SearchType::Nick => ("nick", json!({})),
            SearchType::Email => ("email", json!({})),
            SearchType::Phone => ("phone", json!({})),
            SearchType::PartialName => ("partialName", json!({})),
            SearchType::WholeProfile => ("wholeProfile", json!({})),
            SearchType::OidcStdClaim(name) => ("oidcStdClaim", json!({ "claimName": name })),
            SearchType::VcardField(name) => ("vcardField", json!({ "propertyName": name })),
        };
        with(
            json!({ "searchType": name, "searchValue": self.search_value.show() }),
            more,
        )
    }
    fn read(value: &Value) -> Read<Self> {
        Ok(QueryElement {
            search_type: match text(member(value, "searchType")?)? {
                "handle" => SearchType::Handle,
                "nick" => SearchType::Nick,
                "email" => SearchType::Email,
                "phone" => SearchType::Phone,
                "partialName" => SearchType::PartialName,
                "wholeProfile" => SearchType::WholeProfile,
                "oidcStdClaim" => SearchType::OidcStdClaim(field(value, "claimName")?),
                "vcardField" => SearchType::VcardField(field(value, "propertyName")?),
                other => return Err(format!("{other} is unknown")),
            },
            search_value: field(value, "searchValue")?,
        })
    }
}

impl Fields for IdentifierResponse {
    fn show(&self) -> Value {
        let profiles = self.found_profiles();
        object([
            ("responseCode", self.response_code().show()),
            (
                "uri",
                profiles.iter().map(|profile| profile.stable_uri.show()).collect(),
            ),
            ("foundProfiles", Fields::show_all(profiles)),
            ("id_response_extensions", self.id_response_extensions.show()),
        ])
    }
    fn read(value: &Value) -> Read<Self> {
        let code: IdentifierQueryCode = field(value, "responseCode")?;
        let profiles: Vec<UserProfile> = field(value, "foundProfiles")?;
        let mut response = match code {
            IdentifierQueryCode::Success => IdentifierResponse::found(profiles),
            other => IdentifierResponse::refused(other).map_err(|error| error.to_string())?,
        };
        response.id_response_extensions = field(value, "id_response_extensions")?;
        Ok(response)
    }
}

impl Fields for GroupInfoRequest {
    fn show(&self) -> Value {
        with(self.tbs.show(), json!({ "signature": self.signature.show() }))
    }
    fn read(value: &Value) -> Read<Self> {
        Ok(GroupInfoRequest {
            tbs: Fields::read(value)?,
            signature: field(value, "signature")?,
        })
    }
}

impl Fields for GroupInfoResponse {
    fn show(&self) -> Value {
        match self {
            GroupInfoResponse::Success { tbs, signature } => with(
                tbs.show(),
                json!({ "status": "success", "signature": signature.show() }),
            ),
            GroupInfoResponse::NotAuthorized { room_id } => {
                json!({ "status": "notAuthorized", "room_id": room_id.show() })
            }
            GroupInfoResponse::NoSuchRoom { room_id } => json!({ "status": "noSuchRoom", "room_id": room_id.show() }),
        }
    }
    fn read(value: &Value) -> Read<Self> {
        Ok(match text(member(value, "status")?)? {
            "success" => GroupInfoResponse::Success {
                tbs: Fields::read(value)?,
                signature: field(value, "signature")?,
            },
            "notAuthorized" => GroupInfoResponse::NotAuthorized {
                room_id: field(value, "room_id")?,
            },
            "noSuchRoom" => GroupInfoResponse::NoSuchRoom {
                room_id: field(value, "room_id")?,
            },
            other => return Err(format!("{other} is unknown")),
        })
    }
}

impl Fields for PartialGroupInfo {
    fn show(&self) -> Value {
        object([
            ("ratchet_tree_presence", self.ratchet_tree_presence().show()),
            ("group_info_extensions", Fields::show_all(self.group_info_extensions())),
            ("signature", Fields::show_all(self.signature())),
        ])
    }
    fn read(value: &Value) -> Read<Self> {
        let presence = field(value, "ratchet_tree_presence")?;
        let extensions = field(value, "group_info_extensions")?;
        PartialGroupInfo::new(presence, extensions, field(value, "signature")?).map_err(|error| error.to_string())
    }
}

impl Fields for GroupInfoOption {
    fn show(&self) -> Value {
        match self {
            GroupInfoOption::Full(group_info) => json!({ "representation": "full", "groupInfo": group_info.show() }),
            GroupInfoOption::Partial(partial) => {
                json!({ "representation": "partial", "partialGroupInfo": partial.show() })
            }
        }
    }
    fn read(value: &Value) -> Read<Self> {
        match text(member(value, "representation")?)? {
            "full" => field(value, "groupInfo").map(GroupInfoOption::Full),
            "partial" => field(value, "partialGroupInfo").map(GroupInfoOption::Partial),
            other => Err(format!("{other} is unknown")),
        }
    }
}

impl Fields for RatchetTreeOption {
    fn show(&self) -> Value {
        match self {
            RatchetTreeOption::Full(tree) => json!({ "representation": "full", "ratchet_tree": tree.show() }),
            RatchetTreeOption::HttpsUri {
                ratchet_tree_url,
                tree_signature,
            } => json!({
                "representation": "httpsUri",
                "ratchet_tree_url": ratchet_tree_url,
                "tree_signature": tree_signature.show(),
            }),
            RatchetTreeOption::OutOfBand { tree_signature } => {
                json!({ "representation": "outOfBand", "tree_signature": tree_signature.show() })
            }
            RatchetTreeOption::DistributionService => json!({ "representation": "distributionService" }),
        }
    }
    fn read(value: &Value) -> Read<Self> {
        Ok(match text(member(value, "representation")?)? {
            "full" => RatchetTreeOption::Full(field(value, "ratchet_tree")?),
            "httpsUri" => RatchetTreeOption::HttpsUri {
                ratchet_tree_url: field(value, "ratchet_tree_url")?,
                tree_signature: field(value, "tree_signature")?,
            },
            "outOfBand" => RatchetTreeOption::OutOfBand {
                tree_signature: field(value, "tree_signature")?,
            },
            "distributionService" => RatchetTreeOption::DistributionService,
            other => return Err(format!("{other} is unknown")),
        })
    }
}

impl Fields for HandshakeBundle {
    fn show(&self) -> Value {
        match self {
            HandshakeBundle::Commit {
                commit,
                welcome,
                group_info,
                ratchet_tree,
            } => json!({
                "content_type": "commit",
                "proposalOrCommit": commit.show(),
                "welcome": welcome.show(),
                "groupInfoOption": group_info.show(),
                "ratchetTreeOption": ratchet_tree.show(),
            }),
            HandshakeBundle::Proposals {
                proposal,
                more_proposals,
            } => json!({
                "content_type": "proposal",
                "proposalOrCommit": proposal.show(),
                "moreProposals": more_proposals.show(),
            }),
        }
    }
    fn read(value: &Value) -> Read<Self> {
        Ok(match text(member(value, "content_type")?)? {
            "commit" => HandshakeBundle::Commit {
                commit: field(value, "proposalOrCommit")?,
                welcome: field(value, "welcome")?,
                group_info: field(value, "groupInfoOption")?,
                ratchet_tree: field(value, "ratchetTreeOption")?,
            },
            "proposal" => HandshakeBundle::Proposals {
                proposal: field(value, "proposalOrCommit")?,
                more_proposals: field(value, "moreProposals")?,
            },
            other => return Err(format!("{other} is unknown")),
        })
    }
}

impl Fields for UpdateRoomResponse {
    fn show(&self) -> Value {
        let (code, more) = match &self.outcome {
            UpdateOutcome::Success { accepted_timestamp } => {
                ("success", json!({ "accepted_timestamp": accepted_timestamp.show() }))
            }
            UpdateOutcome::WrongEpoch { current_epoch } => {
                ("wrongEpoch", json!({ "currentEpoch": current_epoch.show() }))
            }
            UpdateOutcome::NotAllowed => ("notAllowed", json!({})),
            UpdateOutcome::InvalidProposal { invalid_proposals } => (
                "invalidProposal",
                json!({ "invalidProposals": invalid_proposals.show() }),
            ),
        };
        with(
            json!({ "responseCode": code, "errorDescription": self.error_description }),
            more,
        )
    }
    fn read(value: &Value) -> Read<Self> {
        Ok(UpdateRoomResponse {
            error_description: field(value, "errorDescription")?,
            outcome: match text(member(value, "responseCode")?)? {
                "success" => UpdateOutcome::Success {
                    accepted_timestamp: field(value, "accepted_timestamp")?,
                },
                "wrongEpoch" => UpdateOutcome::WrongEpoch {
                    current_epoch: field(value, "currentEpoch")?,
                },
                "notAllowed" => UpdateOutcome::NotAllowed,
                "invalidProposal" => UpdateOutcome::InvalidProposal {
                    invalid_proposals: field(value, "invalidProposals")?,
                },
                other => return Err(format!("{other} is unknown")),
            },
        })
    }
}

impl Fields for SubmitMessageResponse {
    fn show(&self) -> Value {
        match self {
            SubmitMessageResponse::Accepted {
                accepted_timestamp,
                frank,
            } => json!({
                "statusCode": "success",
                "accepted_timestamp": accepted_timestamp.show(),
                "frank": frank.show(),
            }),
            SubmitMessageResponse::NotAllowed => json!({ "statusCode": "notAllowed" }),
            SubmitMessageResponse::EpochTooOld { current_epoch } => {
                json!({ "statusCode": "epochTooOld", "currentEpoch": current_epoch.show() })
            }
        }
    }
    fn read(value: &Value) -> Read<Self> {
        Ok(match text(member(value, "statusCode")?)? {
            "success" => SubmitMessageResponse::Accepted {
                accepted_timestamp: field(value, "accepted_timestamp")?,
                frank: field(value, "frank")?,
            },
            "notAllowed" => SubmitMessageResponse::NotAllowed,
            "epochTooOld" => SubmitMessageResponse::EpochTooOld {
                current_epoch: field(value, "currentEpoch")?,
            },
            other => return Err(format!("{other} is unknown")),
        })
    }
}

impl Fields for FanoutMessage {
    fn show(&self) -> Value {
        let (content, more) = match &self.event {
            FanoutEvent::Application { message, frank } => (
                "application",
                json!({ "message": message.show(), "frank": frank.show() }),
            ),
            FanoutEvent::Commit {
                commit,
                external_proposals,
            } => (
                "commit",
                json!({ "message": commit.show(), "externalProposals": external_proposals.show() }),
            ),
            FanoutEvent::Proposals {
                proposal,
                more_proposals,
            } => (
                "proposal",
                json!({ "message": proposal.show(), "moreProposals": more_proposals.show() }),
            ),
            FanoutEvent::Welcome { welcome, ratchet_tree } => (
                "welcome",
                json!({ "welcome": welcome.show(), "ratchetTreeOption": ratchet_tree.show() }),
            ),
        };
        with(json!({ "content": content, "timestamp": self.timestamp.show() }), more)
    }
    fn read(value: &Value) -> Read<Self> {
        Ok(FanoutMessage {
            timestamp: field(value, "timestamp")?,
            event: match text(member(value, "content")?)? {
                "application" => FanoutEvent::Application {
                    message: field(value, "message")?,
                    frank: field(value, "frank")?,
                },
                "commit" => FanoutEvent::Commit {
                    commit: field(value, "message")?,
                    external_proposals: field(value, "externalProposals")?,
                },
                "proposal" => FanoutEvent::Proposals {
                    proposal: field(value, "message")?,
                    more_proposals: field(value, "moreProposals")?,
                },
                "welcome" => FanoutEvent::Welcome {
                    welcome: field(value, "welcome")?,
                    ratchet_tree: field(value, "ratchetTreeOption")?,
                },
                other => return Err(format!("{other} is unknown")),
            },
        })
    }
}
