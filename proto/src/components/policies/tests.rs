//! Each component comes back as it was written, and refuses what its section rules out.

use super::*;
use crate::components::Role;
use crate::mls::{CipherSuite, CredentialType};
use crate::tls::{decode_exact, encode};
use crate::uri::{IdentifierUri, UserUri};

/// Written and read again, also when it is cut short anywhere: then it is refused.
fn survives<T: Encode + Decode + PartialEq + std::fmt::Debug>(value: &T) {
    let octets = encode(value);
    assert_eq!(decode_exact::<T>(&octets).as_ref(), Ok(value));
    for end in 0..octets.len() {
        assert!(decode_exact::<T>(&octets[..end]).is_err(), "{end} of {}", octets.len());
    }
}

fn refused<T: Encode + Decode + std::fmt::Debug>(value: &T, what: &str) {
    match decode_exact::<T>(&encode(value)) {
        Err(Error::Invalid { what: found, .. }) => assert_eq!(found, what),
        other => panic!("{other:?}"),
    }
}

fn uri(text: &str) -> IdentifierUri {
    text.parse().unwrap()
}

fn user(text: &str) -> UserUri {
    text.parse().unwrap()
}

#[test]
fn room_policy_6_1_status_notifications_are_optional_required_or_forbidden() {
    let policy = StatusNotificationPolicy {
        delivery_notifications: Optionality::Forbidden,
        read_receipts: Optionality::Required,
    };
    survives(&policy);
    assert_eq!(encode(&policy), [2, 1]);
    assert!(decode_exact::<StatusNotificationPolicy>(&[0, 3]).is_err());
}

#[test]
fn room_policy_6_2_join_link_policy_and_links() {
    survives(&JoinLinkPolicy {
        on_request: true,
        join_link: uri("https://a.example/links"),
        multiuser: false,
        expiration: 3600,
    });
    let link = |text: &str| JoinLink {
        join_link: text.as_bytes().to_vec(),
    };
    let links = JoinLinksData {
        links: vec![link("one"), link("two")],
    };
    survives(&links);
    let update = JoinLinksUpdate {
        removed_indices: vec![0],
        added_links: vec![link("three")],
    };
    survives(&update);
    let after = links.apply(None, &update).unwrap();
    assert_eq!(after.links, [link("two"), link("three")]);
    for bad in [vec![2], vec![0, 0]] {
        let update = JoinLinksUpdate {
            removed_indices: bad,
            added_links: vec![],
        };
        assert!(links.apply(None, &update).is_err());
    }
    let twice = JoinLinksUpdate {
        removed_indices: vec![],
        added_links: vec![link("two")],
    };
    assert!(links.apply(None, &twice).is_err());
}

#[test]
fn room_policy_6_2_on_request_keeps_at_most_one_link() {
    let policy = JoinLinkPolicy {
        on_request: true,
        ..Default::default()
    };
    let link = |text: &str| JoinLink {
        join_link: text.as_bytes().to_vec(),
    };
    let one = JoinLinksData {
        links: vec![link("one")],
    };
    let mut update = JoinLinksUpdate {
        removed_indices: vec![],
        added_links: vec![link("two")],
    };
    assert!(matches!(one.apply(Some(&policy), &update), Err(Error::Limit { .. })));
    update.removed_indices.push(0);
    assert_eq!(one.apply(Some(&policy), &update).unwrap().links, [link("two")]);
}

fn previews(autodetect: Optionality, proxies: Ruled<Vec<IdentifierUri>>) -> LinkPreviewPolicy {
    LinkPreviewPolicy {
        autodetect_hyperlinks_in_text: autodetect,
        send_link_previews: Optionality::Required,
        automatic_link_previews: Optionality::Forbidden,
        link_preview_proxy: proxies,
    }
}

#[test]
fn room_policy_6_3_autodetection_must_not_be_mandatory() {
    survives(&previews(Optionality::Optional, Ruled::Forbidden));
    refused(
        &previews(Optionality::Required, Ruled::Forbidden),
        "autodetect_hyperlinks_in_text",
    );
}

#[test]
fn room_policy_6_3_a_proxy_must_be_named_unless_proxies_are_forbidden() {
    let proxy = vec![uri("https://proxy.a.example/")];
    survives(&previews(Optionality::Forbidden, Ruled::Optional(proxy.clone())));
    survives(&previews(Optionality::Forbidden, Ruled::Required(proxy)));
    for none in [Ruled::Optional(vec![]), Ruled::Required(vec![IdentifierUri::default()])] {
        refused(&previews(Optionality::Forbidden, none), "link_preview_proxy");
    }
}

fn assets() -> AssetPolicy {
    let domain = |domain: &str| DomainName {
        domain: domain.to_owned(),
    };
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
        max_audio: 2,
        max_video: 3,
        max_attachment: 4,
        forbidden_media_types: vec![MediaType::new("image/svg+xml")],
        permitted_media_types: None,
    }
}

#[test]
fn room_policy_6_4_media_types_must_be_permitted_and_not_forbidden() {
    let mut policy = assets();
    survives(&policy);
    assert!(policy.permits(&MediaType::new("image/png")));
    assert!(!policy.permits(&MediaType::new("IMAGE/SVG+XML")));
    policy.permitted_media_types = Some(vec![MediaType::new("text/markdown"), MediaType::new("image/svg+xml")]);
    survives(&policy);
    let mut variant = MediaType::new("text/markdown");
    variant.parameters.push(MediaTypeParameter {
        parameter_name: "variant".into(),
        parameter_value: b"GFM".to_vec(),
    });
    assert!(policy.permits(&variant));
    assert!(!policy.permits(&MediaType::new("image/png")));
    assert!(!policy.permits(&MediaType::new("image/svg+xml")));
}

#[test]
fn room_policy_6_4_assets_are_at_the_senders_provider_or_the_hub() {
    let mut policy = assets();
    assert!(policy.permits_host("b.example", "Assets.B.example"));
    assert!(!policy.permits_host("c.example", "assets.b.example"));
    assert!(!policy.permits_host("b.example", "evil.example"));
    policy.asset_upload_location = AssetUploadLocation::Hub;
    survives(&policy);
    assert!(policy.permits_host("c.example", "assets.b.example"));
    policy.upload_domains.clear();
    refused(&policy, "upload_domains");
    policy.asset_upload_location = AssetUploadLocation::Unspecified;
    assert!(policy.permits_host("c.example", "evil.example"));
    policy.download_privacy.default_download_type = DownloadPrivacyType::Direct;
    refused(&policy, "download_privacy");
}

#[test]
fn room_policy_6_5_required_logging_names_a_client() {
    let logging = Logging {
        logging_clients: vec![uri("mimi://a.example/d/logger")],
        ..Default::default()
    };
    let active = LoggingPolicy {
        logging: Ruled::Required(logging),
    };
    survives(&active);
    assert!(active.is_active());
    let idle = LoggingPolicy {
        logging: Ruled::Optional(Logging::default()),
    };
    survives(&idle);
    assert!(!idle.is_active());
    refused(
        &LoggingPolicy {
            logging: Ruled::Required(Logging::default()),
        },
        "logging_clients",
    );
    assert_eq!(
        encode(&LoggingPolicy {
            logging: Ruled::Forbidden
        }),
        [2]
    );
}

#[test]
fn room_policy_6_6_nobody_and_the_banned_share_no_history() {
    let sharing = |roles: &[u32]| HistoryPolicy {
        history_sharing: Ruled::Required(HistorySharing {
            roles_that_can_share: roles.to_vec(),
            automatically_share: true,
            max_time_period: 86400,
        }),
    };
    survives(&sharing(&[2, 3]));
    refused(&sharing(&[2, 0]), "roles_that_can_share");
    refused(&sharing(&[1]), "roles_that_can_share");
}

#[test]
fn room_policy_6_7_a_local_client_bot_has_role_0() {
    let mut bot = Bot {
        name: "dealer".into(),
        bot_role_index: 4,
        per_user_content: true,
        ..Default::default()
    };
    survives(&BotPolicy {
        allowed_bots: vec![bot.clone()],
    });
    bot.local_client_bot = true;
    refused(&bot, "bot_role_index");
    bot.bot_role_index = 0;
    survives(&bot);
}

#[test]
fn room_policy_6_8_durations_are_in_order() {
    let expiring = |min, max, default| MessageExpirationPolicy {
        expiring_messages: Ruled::Optional(MessageExpiration {
            min_expiration_duration: min,
            max_expiration_duration: max,
            default_expiration_duration: default,
        }),
    };
    survives(&expiring(60, 3600, Some(600)));
    survives(&expiring(60, 3600, None));
    refused(&expiring(61, 60, None), "expiration durations");
    refused(&expiring(60, 3600, Some(59)), "expiration durations");
    assert_eq!(
        encode(&MessageExpirationPolicy {
            expiring_messages: Ruled::Forbidden
        }),
        [2]
    );
}

#[test]
fn room_policy_7_operational_parameters() {
    let time = MinDefaultMaxTime {
        minimum_time: 1,
        default_time: 2,
        maximum_time: 3,
    };
    let mut parameters = OperationalParameters {
        mandatory_capabilities: ExtendedCapabilities {
            versions: vec![1],
            cipher_suites: vec![CipherSuite(1)],
            media_types: vec![MediaType::new("application/mimi-content")],
            ..Default::default()
        },
        default_capabilities: ExtendedCapabilities::default(),
        forbidden_capabilities: ExtendedCapabilities::default(),
        handshake_formats: vec![1],
        external_proposal_allowed: false,
        external_commit_allowed: true,
        pending_proposal_policy: PendingProposalPolicy::RandomDelay {
            minimum_delay_ms: 5,
            maximum_delay_ms: 9,
        },
        leaf_node_update_time: time,
        app_message_policy: AppMessagePolicy {
            epoch_tolerance: 2,
            pad_to_size: 256,
            max_generations_skipahead: 1000,
        },
        max_kp_lifetime: 90,
        max_credential_lifetime: 365,
        resumption_psk_lifetime: 7,
        sender_nonce_keypair_lifetime: time,
        max_keypairs: 10,
        buffer_incoming_message_time: time,
        max_buffered_messages: 20,
    };
    survives(&parameters);
    for strategy in [
        PendingProposalPolicy::Unspecified,
        PendingProposalPolicy::ImmediateCommit,
        PendingProposalPolicy::Extension {
            strategy: 3,
            id_of_strategy_params: 0x8001,
        },
    ] {
        survives(&strategy);
    }
    let backwards = PendingProposalPolicy::RandomDelay {
        minimum_delay_ms: 9,
        maximum_delay_ms: 5,
    };
    refused(&backwards, "minimum_delay_ms");
    parameters.leaf_node_update_time.default_time = 4;
    refused(&parameters, "MinDefaultMaxTime");
}

fn entry(claimset: Vec<Claim>, role_index: u32) -> PreAuthRoleEntry {
    PreAuthRoleEntry {
        claimset,
        target_role: Role {
            role_index,
            ..Role::default()
        },
    }
}

#[test]
fn room_policy_4_every_claim_must_match_and_the_first_entry_that_matches_counts() {
    let (alice, bob) = (user("mimi://a.example/u/alice"), user("mimi://b.example/u/bob"));
    let list = PreAuthData {
        preauthorized_entries: vec![
            entry(vec![Claim::domain("a.example"), Claim::user(&bob)], 5),
            entry(vec![Claim::user(&alice)], 4),
            entry(vec![Claim::domain("a.example")], 2),
        ],
    };
    survives(&list);
    assert_eq!(list.first_match(&alice), Some(4));
    assert_eq!(list.first_match(&user("mimi://a.example/u/carol")), Some(2));
    assert_eq!(list.first_match(&bob), None);
    assert_eq!(PreAuthData::default().first_match(&alice), None);
}

#[test]
fn room_policy_4_a_claim_of_another_kind_matches_nobody() {
    let alice = user("mimi://a.example/u/alice");
    let mut claim = Claim::user(&alice);
    claim.claim_id.credential_type = CredentialType::X509;
    let mut other = Claim::user(&alice);
    other.claim_id.id = b"sub".to_vec();
    for claim in [claim, other] {
        let list = PreAuthData {
            preauthorized_entries: vec![entry(vec![claim], 2)],
        };
        assert_eq!(list.first_match(&alice), None);
    }
}
