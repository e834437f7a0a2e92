//! The further policy components of draft-ietf-mimi-room-policy.

use mimi_hub_proto::components::{
    AppMessagePolicy, AssetPolicy, AssetUploadLocation, Bot, BotPolicy, Claim, DomainName, DownloadPrivacy,
    DownloadPrivacyType, ExtendedCapabilities, HistoryPolicy, HistorySharing, JoinLink, JoinLinkPolicy, JoinLinksData,
    JoinLinksUpdate, LinkPreviewPolicy, Logging, LoggingPolicy, MediaType, MediaTypeParameter, MessageExpiration,
    MessageExpirationPolicy, MinDefaultMaxTime, OperationalParameters, Optionality, PendingProposalPolicy, PreAuthData,
    PreAuthRoleEntry, ProviderAssetUploadDomains, Role, Ruled, StatusNotificationPolicy,
};
use mimi_hub_proto::mls::CredentialType;
use mimi_hub_proto::uri::IdentifierUri;

use super::parts::{SUITE, bob};
use super::{Sample, sample};

fn uri(text: &str) -> IdentifierUri {
    text.parse().unwrap()
}

fn link(text: &str) -> JoinLink {
    JoinLink {
        join_link: text.as_bytes().to_vec(),
    }
}

pub(super) fn policies() -> Vec<Sample> {
    vec![
        sample("preauth_list", preauth_list()),
        sample(
            "status_notification_policy",
            StatusNotificationPolicy {
                delivery_notifications: Optionality::Optional,
                read_receipts: Optionality::Forbidden,
            },
        ),
        sample(
            "join_link_policy",
            JoinLinkPolicy {
                on_request: true,
                join_link: uri("https://a.example/links"),
                multiuser: true,
                expiration: 3600,
            },
        ),
        sample(
            "join_links",
            JoinLinksData {
                links: vec![link("mimi://a.example/r/clubhouse#one"), link("two")],
            },
        ),
        sample(
            "join_links_update",
            JoinLinksUpdate {
                removed_indices: vec![0, 7],
                added_links: vec![link("three")],
            },
        ),
        sample(
            "link_preview_policy",
            LinkPreviewPolicy {
                autodetect_hyperlinks_in_text: Optionality::Optional,
                send_link_previews: Optionality::Required,
                automatic_link_previews: Optionality::Forbidden,
                link_preview_proxy: Ruled::Required(vec![uri("https://proxy.a.example/")]),
            },
        ),
        sample("asset_policy", asset_policy()),
        sample(
            "logging_policy",
            LoggingPolicy {
                logging: Ruled::Optional(Logging {
                    logging_clients: vec![uri("mimi://a.example/d/logger")],
                    machine_readable_policy: uri("https://a.example/policy.json"),
                    human_readable_policy: IdentifierUri::default(),
                }),
            },
        ),
        sample(
            "logging_policy.forbidden",
            LoggingPolicy {
                logging: Ruled::Forbidden,
            },
        ),
        sample(
            "chat_history_policy",
            HistoryPolicy {
                history_sharing: Ruled::Required(HistorySharing {
                    roles_that_can_share: vec![2, 3],
                    automatically_share: true,
                    max_time_period: 86_400,
                }),
            },
        ),
        sample(
            "bot_policy",
            BotPolicy {
                allowed_bots: vec![Bot {
                    name: "dealer".into(),
                    description: "deals cards".into(),
                    homepage: uri("https://a.example/dealer"),
                    local_client_bot: false,
                    bot_role_index: 4,
                    can_target_message_in_group: true,
                    per_user_content: true,
                }],
            },
        ),
        sample(
            "message_expiration_policy",
            MessageExpirationPolicy {
                expiring_messages: Ruled::Optional(MessageExpiration {
                    min_expiration_duration: 60,
                    max_expiration_duration: 604_800,
                    default_expiration_duration: Some(3600),
                }),
            },
        ),
        sample(
            "mls_operational_policy",
            operational(PendingProposalPolicy::Unspecified),
        ),
        sample(
            "mls_operational_policy.random_delay",
            operational(PendingProposalPolicy::RandomDelay {
                minimum_delay_ms: 10,
                maximum_delay_ms: 500,
            }),
        ),
    ]
}

fn preauth_list() -> PreAuthData {
    let entry = |claimset, role_index| PreAuthRoleEntry {
        claimset,
        target_role: Role {
            role_index,
            role_name: "ordinary_user".into(),
            ..Role::default()
        },
    };
    let mut other = Claim::user(&bob());
    other.claim_id.credential_type = CredentialType::X509;
    PreAuthData {
        preauthorized_entries: vec![
            entry(vec![Claim::domain("b.example"), Claim::user(&bob())], 3),
            entry(vec![other], 2),
        ],
    }
}

fn asset_policy() -> AssetPolicy {
    let domain = |domain: &str| DomainName {
        domain: domain.to_owned(),
    };
    let mut markdown = MediaType::new("text/markdown");
    markdown.parameters.push(MediaTypeParameter {
        parameter_name: "variant".into(),
        parameter_value: b"GFM".to_vec(),
    });
    AssetPolicy {
        asset_upload_location: AssetUploadLocation::LocalProvider,
        upload_domains: vec![ProviderAssetUploadDomains {
            provider: domain("b.example"),
            asset_upload_destinations: vec![domain("assets.b.example")],
        }],
        download_privacy: DownloadPrivacy {
            allowed_download_types: vec![DownloadPrivacyType::HubProxy, DownloadPrivacyType::Ohttp],
            forbidden_download_types: vec![DownloadPrivacyType::Direct],
            default_download_type: DownloadPrivacyType::Ohttp,
        },
        max_image: 1 << 20,
        max_audio: 1 << 21,
        max_video: 1 << 33,
        max_attachment: 5,
        forbidden_media_types: vec![MediaType::new("image/svg+xml")],
        permitted_media_types: Some(vec![markdown]),
    }
}

fn operational(pending_proposal_policy: PendingProposalPolicy) -> OperationalParameters {
    let time = MinDefaultMaxTime {
        minimum_time: 1,
        default_time: 2,
        maximum_time: 3,
    };
    OperationalParameters {
        mandatory_capabilities: ExtendedCapabilities {
            versions: vec![1],
            cipher_suites: vec![SUITE],
            proposals: vec![8],
            credentials: vec![CredentialType::BASIC],
            wire_formats: vec![1, 2],
            component_ids: vec![0x22, 0x25],
            media_types: vec![MediaType::new("application/mimi-content")],
            content_types: vec![1, 2, 3],
            ..ExtendedCapabilities::default()
        },
        default_capabilities: ExtendedCapabilities::default(),
        forbidden_capabilities: ExtendedCapabilities::default(),
        handshake_formats: vec![1],
        external_proposal_allowed: false,
        external_commit_allowed: true,
        pending_proposal_policy,
        leaf_node_update_time: time,
        app_message_policy: AppMessagePolicy {
            epoch_tolerance: 2,
            pad_to_size: 256,
            max_generations_skipahead: 1000,
        },
        max_kp_lifetime: 7_776_000,
        max_credential_lifetime: 31_536_000,
        resumption_psk_lifetime: 86_400,
        sender_nonce_keypair_lifetime: time,
        max_keypairs: 10,
        buffer_incoming_message_time: time,
        max_buffered_messages: 20,
    }
}
