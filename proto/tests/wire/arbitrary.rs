//! Strategies: values of any content, within what the types allow.

use mimi_hub_proto::components::{
    AppDataDictionary, AppDataUpdate, AppDataUpdateOperation, AppEphemeral, BaseRoomPolicy, Capability,
    ParticipantListData, ParticipantListUpdate, RichDescription, Role, RoleData, RoomMetaData, SafeAad, SafeAadItem,
    SingleSourceRoleChangeTargets, UserRolePair, UserindexRolePair,
};
use mimi_hub_proto::mls::{
    Capabilities, CipherSuite, ContentType, Credential, CredentialType, Extension, ExtensionType, ExternalSender,
    HpkeCiphertext, RequiredCapabilities, Sender, SignaturePublicKey,
};
use mimi_hub_proto::tls::encode;
use mimi_hub_proto::uri::{ClientUri, IdentifierUri, RoomUri, UserUri};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::mls_bytes::{
    Commit, Content, EncryptedGroupSecrets, GroupInfo, KeyPackage, LeafNode, Node, PathNode, PrivateMessage, Proposal,
    ProposalOrRef, Psk, PublicMessage, Source, UpdatePath, Welcome,
};

/// Short mostly; now and then long enough for a prefix of two octets.
pub(crate) fn octets() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![4 => vec(any::<u8>(), 0..6), 1 => vec(any::<u8>(), 60..90)].boxed()
}

pub(crate) fn text() -> BoxedStrategy<String> {
    "[^\0]{0,12}".boxed()
}

fn uri_parts() -> BoxedStrategy<(String, String)> {
    (
        "[a-z0-9]{1,8}(\\.[a-z][a-z0-9]{0,6}){1,2}",
        "([A-Za-z0-9_~!$&'()*+,;=:@-]|%C3%A9|%25|%3F){1,20}",
    )
        .boxed()
}

macro_rules! uri {
    ($name:ident, $type:ty, $kind:literal) => {
        pub(crate) fn $name() -> BoxedStrategy<$type> {
            uri_parts()
                .prop_map(|(domain, id)| format!("mimi://{domain}/{}/{id}", $kind).parse().unwrap())
                .boxed()
        }
    };
}

uri!(client_uri, ClientUri, "d");
uri!(room_uri, RoomUri, "r");
uri!(user_uri, UserUri, "u");

pub(crate) fn avatar() -> BoxedStrategy<IdentifierUri> {
    "(https://[a-z]{1,9}/[a-z?#%]{0,9})?"
        .prop_map(|text| text.parse().unwrap())
        .boxed()
}

pub(crate) fn suite() -> BoxedStrategy<CipherSuite> {
    any::<u16>().prop_map(CipherSuite).boxed()
}

/// Extensions of distinct types, in any order.
pub(crate) fn extensions() -> BoxedStrategy<Vec<Extension>> {
    btree_map(any::<u16>(), octets(), 0..4)
        .prop_map(|map| {
            let pairs = map.into_iter();
            pairs
                .map(|(id, data)| Extension {
                    extension_type: ExtensionType(id),
                    data,
                })
                .collect::<Vec<_>>()
        })
        .prop_map(|mut extensions| {
            extensions.reverse();
            extensions
        })
        .boxed()
}

pub(crate) fn credential() -> BoxedStrategy<Credential> {
    let certificates = vec(octets(), 0..3).prop_map(|list| list.iter().flat_map(encode).collect::<Vec<u8>>());
    prop_oneof![
        octets().prop_map(Credential::basic),
        certificates.prop_map(|content| Credential::new(CredentialType::X509, content).unwrap()),
        (3u16.., octets()).prop_map(|(id, content)| Credential::new(CredentialType(id), content).unwrap()),
    ]
    .boxed()
}

fn types<T>(constructor: fn(u16) -> T) -> impl Strategy<Value = Vec<T>> + Clone
where
    T: std::fmt::Debug + Clone,
{
    vec(any::<u16>(), 0..4).prop_map(move |ids| ids.into_iter().map(constructor).collect())
}

pub(crate) fn capabilities() -> BoxedStrategy<Capabilities> {
    (
        types(|id| id),
        types(CipherSuite),
        types(ExtensionType),
        types(|id| id),
        types(CredentialType),
    )
        .prop_map(
            |(versions, cipher_suites, extensions, proposals, credentials)| Capabilities {
                versions,
                cipher_suites,
                extensions,
                proposals,
                credentials,
            },
        )
        .boxed()
}

pub(crate) fn required_capabilities() -> BoxedStrategy<RequiredCapabilities> {
    (types(ExtensionType), types(|id| id), types(CredentialType))
        .prop_map(
            |(extension_types, proposal_types, credential_types)| RequiredCapabilities {
                extension_types,
                proposal_types,
                credential_types,
            },
        )
        .boxed()
}

pub(crate) fn external_sender() -> BoxedStrategy<ExternalSender> {
    (octets(), credential())
        .prop_map(|(key, credential)| ExternalSender {
            signature_key: SignaturePublicKey::new(key),
            credential,
        })
        .boxed()
}

pub(crate) fn ciphertext() -> BoxedStrategy<HpkeCiphertext> {
    (octets(), octets())
        .prop_map(|(kem_output, ciphertext)| HpkeCiphertext { kem_output, ciphertext })
        .boxed()
}

pub(crate) fn key_package_source() -> BoxedStrategy<Source> {
    any::<(u64, u64)>()
        .prop_map(|(from, to)| Source::KeyPackage(from, to))
        .boxed()
}

pub(crate) fn any_source() -> BoxedStrategy<Source> {
    prop_oneof![
        key_package_source(),
        Just(Source::Update),
        octets().prop_map(Source::Commit)
    ]
    .boxed()
}

pub(crate) fn leaf_node(source: impl Strategy<Value = Source> + 'static) -> BoxedStrategy<LeafNode> {
    (
        octets(),
        octets(),
        credential(),
        capabilities(),
        source,
        extensions(),
        octets(),
    )
        .prop_map(
            |(encryption_key, signature_key, credential, capabilities, source, extensions, signature)| LeafNode {
                encryption_key,
                signature_key,
                credential,
                capabilities,
                source,
                extensions,
                signature,
            },
        )
        .boxed()
}

pub(crate) fn key_package() -> BoxedStrategy<KeyPackage> {
    (
        suite(),
        octets(),
        leaf_node(key_package_source()),
        extensions(),
        octets(),
    )
        .prop_map(
            |(cipher_suite, init_key, leaf_node, extensions, signature)| KeyPackage {
                cipher_suite,
                init_key,
                leaf_node,
                extensions,
                signature,
            },
        )
        .boxed()
}

pub(crate) fn app_data_update() -> BoxedStrategy<AppDataUpdate> {
    let op = prop_oneof![
        octets().prop_map(AppDataUpdateOperation::Update),
        Just(AppDataUpdateOperation::Remove)
    ];
    (any::<u16>(), op)
        .prop_map(|(component_id, op)| AppDataUpdate { component_id, op })
        .boxed()
}

pub(crate) fn app_ephemeral() -> BoxedStrategy<AppEphemeral> {
    (any::<u16>(), octets())
        .prop_map(|(component_id, data)| AppEphemeral { component_id, data })
        .boxed()
}

fn psk() -> BoxedStrategy<Psk> {
    prop_oneof![
        octets().prop_map(|id| Psk::External { id }),
        (1u8..4, octets(), any::<u64>()).prop_map(|(usage, group_id, epoch)| Psk::Resumption {
            usage,
            group_id,
            epoch
        }),
        (any::<u16>(), octets()).prop_map(|(component_id, id)| Psk::Application { component_id, id }),
    ]
    .boxed()
}

pub(crate) fn proposal() -> BoxedStrategy<Proposal> {
    prop_oneof![
        key_package().prop_map(Proposal::Add),
        leaf_node(Just(Source::Update)).prop_map(Proposal::Update),
        any::<u32>().prop_map(Proposal::Remove),
        (psk(), octets()).prop_map(|(psk, nonce)| Proposal::PreSharedKey(psk, nonce)),
        (octets(), suite(), extensions()).prop_map(|(group_id, cipher_suite, extensions)| Proposal::ReInit {
            group_id,
            cipher_suite,
            extensions
        }),
        octets().prop_map(Proposal::ExternalInit),
        extensions().prop_map(Proposal::GroupContextExtensions),
        app_data_update().prop_map(Proposal::AppDataUpdate),
        app_ephemeral().prop_map(Proposal::AppEphemeral),
        Just(Proposal::SelfRemove),
    ]
    .boxed()
}

pub(crate) fn commit() -> BoxedStrategy<Commit> {
    let item = prop_oneof![
        proposal().prop_map(|proposal| ProposalOrRef::Proposal(Box::new(proposal))),
        octets().prop_map(ProposalOrRef::Reference),
    ];
    let node = (octets(), vec(ciphertext(), 0..3)).prop_map(|(encryption_key, secrets)| PathNode {
        encryption_key,
        secrets,
    });
    let leaf = leaf_node(octets().prop_map(Source::Commit));
    let path = (leaf, vec(node, 0..3)).prop_map(|(leaf_node, nodes)| UpdatePath { leaf_node, nodes });
    (vec(item, 0..5), option::of(path))
        .prop_map(|(proposals, path)| Commit { proposals, path })
        .boxed()
}

pub(crate) fn public_message() -> BoxedStrategy<PublicMessage> {
    let proposal_sender = prop_oneof![
        any::<u32>().prop_map(Sender::Member),
        any::<u32>().prop_map(Sender::External),
        Just(Sender::NewMemberProposal)
    ];
    let commit_sender = prop_oneof![any::<u32>().prop_map(Sender::Member), Just(Sender::NewMemberCommit)];
    let content = prop_oneof![
        (proposal_sender, proposal()).prop_map(|(sender, proposal)| (sender, Content::Proposal(Box::new(proposal)))),
        (commit_sender, commit(), octets()).prop_map(|(sender, commit, confirmation_tag)| {
            (
                sender,
                Content::Commit {
                    commit: Box::new(commit),
                    confirmation_tag,
                },
            )
        }),
    ];
    (octets(), any::<u64>(), octets(), content, octets(), octets())
        .prop_map(
            |(group_id, epoch, authenticated_data, (sender, content), signature, membership_tag)| PublicMessage {
                group_id,
                epoch,
                sender,
                authenticated_data,
                content,
                signature,
                membership_tag,
            },
        )
        .boxed()
}

pub(crate) fn private_message() -> BoxedStrategy<PrivateMessage> {
    let content_type = prop_oneof![
        Just(ContentType::Application),
        Just(ContentType::Proposal),
        Just(ContentType::Commit)
    ];
    (octets(), any::<u64>(), content_type, octets(), octets(), octets())
        .prop_map(
            |(group_id, epoch, content_type, authenticated_data, encrypted_sender_data, ciphertext)| PrivateMessage {
                group_id,
                epoch,
                content_type,
                authenticated_data,
                encrypted_sender_data,
                ciphertext,
            },
        )
        .boxed()
}

pub(crate) fn welcome() -> BoxedStrategy<Welcome> {
    let secrets =
        (octets(), ciphertext()).prop_map(|(new_member, secrets)| EncryptedGroupSecrets { new_member, secrets });
    (suite(), vec(secrets, 0..4), octets())
        .prop_map(|(cipher_suite, secrets, encrypted_group_info)| Welcome {
            cipher_suite,
            secrets,
            encrypted_group_info,
        })
        .boxed()
}

pub(crate) fn group_info() -> BoxedStrategy<GroupInfo> {
    let context = (suite(), octets(), any::<u64>(), octets(), octets(), extensions());
    (context, extensions(), octets(), any::<u32>(), octets())
        .prop_map(|(context, extensions, confirmation_tag, signer, signature)| {
            let (cipher_suite, group_id, epoch, tree_hash, confirmed_transcript_hash, context_extensions) = context;
            GroupInfo {
                cipher_suite,
                group_id,
                epoch,
                tree_hash,
                confirmed_transcript_hash,
                context_extensions,
                extensions,
                confirmation_tag,
                signer,
                signature,
            }
        })
        .boxed()
}

/// Leaves with parents or blanks between them; the last is a leaf.
pub(crate) fn tree() -> BoxedStrategy<Vec<Option<Node>>> {
    let leaf = || leaf_node(any_source()).prop_map(|leaf| Node::Leaf(Box::new(leaf)));
    let parent =
        (octets(), octets(), vec(any::<u32>(), 0..3)).prop_map(|(encryption_key, parent_hash, unmerged_leaves)| {
            Node::Parent {
                encryption_key,
                parent_hash,
                unmerged_leaves,
            }
        });
    (vec((option::of(leaf()), option::of(parent)), 0..4), leaf())
        .prop_map(|(pairs, last)| {
            let mut nodes: Vec<_> = pairs.into_iter().flat_map(|(leaf, parent)| [leaf, parent]).collect();
            nodes.push(Some(last));
            nodes
        })
        .boxed()
}

pub(crate) fn dictionary() -> BoxedStrategy<AppDataDictionary> {
    vec((any::<u16>(), octets()), 0..5)
        .prop_map(|entries| {
            let mut dictionary = AppDataDictionary::new();
            for (component_id, data) in entries {
                dictionary.set(component_id, data);
            }
            dictionary
        })
        .boxed()
}

pub(crate) fn safe_aad() -> BoxedStrategy<SafeAad> {
    btree_map(any::<u16>(), octets(), 0..4)
        .prop_map(|items| {
            let items = items.into_iter();
            SafeAad::new(
                items
                    .map(|(component_id, aad_item_data)| SafeAadItem {
                        component_id,
                        aad_item_data,
                    })
                    .collect(),
            )
            .unwrap()
        })
        .boxed()
}

fn user_role_pairs() -> BoxedStrategy<Vec<UserRolePair>> {
    vec(
        (user_uri(), any::<u32>()).prop_map(|(user, role_index)| UserRolePair { user, role_index }),
        0..4,
    )
    .boxed()
}

pub(crate) fn participant_list() -> BoxedStrategy<ParticipantListData> {
    user_role_pairs()
        .prop_map(|participants| ParticipantListData { participants })
        .boxed()
}

pub(crate) fn participant_list_update() -> BoxedStrategy<ParticipantListUpdate> {
    let changed = any::<(u32, u32)>().prop_map(|(user_index, role_index)| UserindexRolePair { user_index, role_index });
    (vec(changed, 0..4), vec(any::<u32>(), 0..4), user_role_pairs())
        .prop_map(
            |(changed_role_participants, removed_indices, added_participants)| ParticipantListUpdate {
                changed_role_participants,
                removed_indices,
                added_participants,
            },
        )
        .boxed()
}

pub(crate) fn roles() -> BoxedStrategy<RoleData> {
    let change = (any::<u32>(), vec(any::<u32>(), 0..4)).prop_map(|(from_role_index, target_role_indexes)| {
        SingleSourceRoleChangeTargets {
            from_role_index,
            target_role_indexes,
        }
    });
    let bounds = any::<(u32, Option<u32>, u32, Option<u32>)>();
    let role = (
        any::<u32>(),
        text(),
        text(),
        types(Capability),
        bounds,
        vec(change, 0..3),
    )
        .prop_map(
            |(role_index, role_name, role_description, role_capabilities, bounds, authorized_role_changes)| Role {
                role_index,
                role_name,
                role_description,
                role_capabilities,
                minimum_participants_constraint: bounds.0,
                maximum_participants_constraint: bounds.1,
                minimum_active_participants_constraint: bounds.2,
                maximum_active_participants_constraint: bounds.3,
                authorized_role_changes,
            },
        );
    vec(role, 0..4).prop_map(|roles| RoleData { roles }).boxed()
}

pub(crate) fn base_room_policy() -> BoxedStrategy<BaseRoomPolicy> {
    let flags = any::<[bool; 5]>();
    (
        flags,
        option::of(room_uri()),
        any::<(Option<u32>, Option<u32>)>(),
        types(|id| id),
    )
        .prop_map(
            |(flags, parent_room, (max_clients, max_users), policy_component_ids)| BaseRoomPolicy {
                fixed_membership: flags[0],
                parent_room,
                multi_device: flags[1],
                max_clients,
                max_users,
                pseudonyms_allowed: flags[2],
                persistent_room: flags[3],
                discoverable: flags[4],
                policy_component_ids,
            },
        )
        .boxed()
}

pub(crate) fn metadata() -> BoxedStrategy<RoomMetaData> {
    let plain = text().prop_map(|text| RichDescription {
        description_content: text.into_bytes(),
        ..Default::default()
    });
    let rich =
        ("[a-z]{1,5}/[a-z]{1,5}", text(), octets()).prop_map(|(media_type, language_tag, description_content)| {
            RichDescription {
                media_type,
                language_tag,
                description_content,
            }
        });
    let description = prop_oneof![plain, rich];
    (room_uri(), text(), vec(description, 0..3), avatar(), text(), text())
        .prop_map(
            |(room, room_name, room_descriptions, room_avatar, room_subject, room_mood)| RoomMetaData {
                room_uri: room.as_str().parse().unwrap(),
                room_name,
                room_descriptions,
                room_avatar,
                room_subject,
                room_mood,
            },
        )
        .boxed()
}
