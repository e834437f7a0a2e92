//! Clients with each other, without a network: what one sends is framed as a hub would fan it out.

mod answers;
mod deliveries;
mod external_senders;
mod franking;
mod group_info;
mod pseudonyms;
mod requests;
mod story;

use mimi_hub_proto::components::RoleData;
use mimi_hub_proto::mls::{Credential, ExternalSender, GroupInfo, HpkeCiphertext, SignaturePublicKey};
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{
    ClientKeyMaterial, ClientKeyMaterialOutcome, FanoutEvent, FanoutMessage, GroupInfoOption, GroupInfoRatchetTreeTbe,
    GroupInfoRequest, GroupInfoResponse, GroupInfoResponseTbs, HandshakeBundle, KeyMaterialResponse, RatchetTreeOption,
    SubmitMessageRequest, SubmitMessageResponse, UpdateOutcome, UpdateRequest, UpdateRoomResponse,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::signatures::Signer as _;

use super::keys::CIPHERSUITE;
use super::*;

/// When everything here is accepted.
const ACCEPTED_MS: u64 = 1_790_000_000_000;

fn room() -> RoomUri {
    "mimi://a.example/r/clubhouse".parse().unwrap()
}

fn user(name: &str) -> UserUri {
    format!("mimi://{}.example/u/{name}", &name[..1]).parse().unwrap()
}

fn client(name: &str, device: &str) -> ClientState {
    let client = format!("mimi://{}.example/d/{device}", &name[..1]).parse().unwrap();
    ClientState::new(client, user(name), TreeOption::Full).unwrap()
}

/// The hub's key, and what it knows of the room's current epoch.
struct Hub {
    signer: SignatureKeyPair,
    group_info: Vec<u8>,
    ratchet_tree: RatchetTreeOption,
}

impl Hub {
    fn new() -> Self {
        Self {
            signer: SignatureKeyPair::new(CIPHERSUITE.signature_algorithm()).unwrap(),
            group_info: Vec::new(),
            ratchet_tree: RatchetTreeOption::DistributionService,
        }
    }

    fn sender(&self) -> ExternalSender {
        ExternalSender {
            signature_key: SignaturePublicKey::new(self.signer.public()),
            credential: Credential::basic(*b"mimi://a.example"),
        }
    }

    /// Alice's room.
    fn create(&mut self, creator: &mut ClientState) {
        let initial = InitialState::new(&room(), creator.identity().user().clone(), "Clubhouse").unwrap();
        let new = creator.create_room(&room(), &encode(&self.sender()), &initial).unwrap();
        self.group_info = new.group_info;
        self.ratchet_tree = RatchetTreeOption::Full(decode_exact(&new.ratchet_tree).unwrap());
    }

    /// What an accepted update becomes for everybody.
    fn fan_out(&mut self, update: &[u8]) -> Vec<Vec<u8>> {
        let UpdateRequest { bundle } = decode_exact(update).unwrap();
        let events = match bundle {
            HandshakeBundle::Commit {
                commit,
                welcome,
                group_info,
                ratchet_tree,
            } => {
                let GroupInfoOption::Full(group_info) = group_info else {
                    panic!("a partial GroupInfo")
                };
                assert!(!group_info.has_ratchet_tree());
                self.group_info = encode(&group_info);
                self.ratchet_tree = ratchet_tree.clone();
                let mut events = vec![FanoutEvent::Commit {
                    commit,
                    external_proposals: Vec::new(),
                }];
                events.extend(welcome.map(|welcome| FanoutEvent::Welcome { welcome, ratchet_tree }));
                events
            }
            HandshakeBundle::Proposals {
                proposal,
                more_proposals,
            } => {
                vec![FanoutEvent::Proposals {
                    proposal,
                    more_proposals,
                }]
            }
        };
        events.into_iter().map(fanout).collect()
    }

    /// The answer to a GroupInfoRequest, as the hub makes it.
    fn group_info_response(&self, request: &[u8]) -> Vec<u8> {
        let request: GroupInfoRequest = decode_exact(request).unwrap();
        let tbe = GroupInfoRatchetTreeTbe {
            group_info: decode_exact::<GroupInfo>(&self.group_info).unwrap(),
            ratchet_tree: self.ratchet_tree.clone(),
            pending_proposals: Vec::new(),
        };
        let sealed = OpenMlsRustCrypto::default()
            .crypto()
            .hpke_seal(
                CIPHERSUITE.hpke_config(),
                request.tbs.group_info_public_key.as_bytes(),
                &GroupInfoRatchetTreeTbe::encrypt_context(&room()),
                &[],
                &encode(&tbe),
            )
            .unwrap();
        let tbs = GroupInfoResponseTbs {
            room_id: room(),
            cipher_suite: request.tbs.cipher_suite,
            hub_sender: self.sender(),
            encrypted_groupinfo_and_tree: HpkeCiphertext {
                kem_output: sealed.kem_output.as_slice().to_vec(),
                ciphertext: sealed.ciphertext.as_slice().to_vec(),
            },
        };
        let signature = self.signer.sign(&tbs.sign_content()).unwrap();
        encode(&GroupInfoResponse::Success { tbs, signature })
    }

    /// Sends an update of `all[sender]`: accepted, answered, delivered to everybody.
    fn update(&mut self, all: &mut [ClientState], sender: usize, update: &[u8]) {
        assert_eq!(
            all[sender].update_answered(&room(), &success()).unwrap(),
            UpdateAnswer::Accepted
        );
        for event in self.fan_out(update) {
            deliver(all, &event);
        }
    }

    fn commit(&mut self, all: &mut [ClientState], sender: usize, change: &RoomChange) {
        let update = all[sender].commit(&room(), change).unwrap();
        self.update(all, sender, &update);
    }

    /// `all[sender]` adds all clients in `all` of a user that are not in the room.
    fn add(&mut self, all: &mut [ClientState], sender: usize, name: &str) {
        let change = add_user(all, name);
        self.commit(all, sender, &change);
    }

    fn say(&self, all: &mut [ClientState], sender: usize, text: &str) {
        let content = all[sender].text(&room(), text).unwrap();
        let submitted = all[sender].encrypt(&room(), &content).unwrap();
        assert_eq!(
            all[sender].message_answered(&room(), &accepted()).unwrap(),
            MessageAnswer::Accepted
        );
        deliver(all, &message_event(&submitted));
    }
}

/// The change that adds every client of a user, with fresh KeyPackages.
fn add_user(all: &[ClientState], name: &str) -> RoomChange {
    let clients = all
        .iter()
        .filter(|client| *client.identity().user() == user(name))
        .map(|client| ClientKeyMaterial {
            client_uri: client.identity().client().clone(),
            outcome: ClientKeyMaterialOutcome::Success(decode_exact(&client.key_packages(1).unwrap()[0]).unwrap()),
        })
        .collect();
    RoomChange::AddUser {
        user: user(name),
        role_index: ROLE_MEMBER,
        key_material: encode(&KeyMaterialResponse::from_clients(user(name), clients).unwrap()),
    }
}

fn fanout(event: FanoutEvent) -> Vec<u8> {
    encode(&FanoutMessage {
        timestamp: ACCEPTED_MS,
        event,
    })
}

/// What an accepted message becomes for everybody.
fn message_event(submitted: &[u8]) -> Vec<u8> {
    let SubmitMessageRequest { app_message, .. } = decode_exact(submitted).unwrap();
    fanout(FanoutEvent::Application {
        message: app_message,
        frank: None,
    })
}

fn deliver(all: &mut [ClientState], event: &[u8]) {
    for client in all {
        let received = client.receive(&room(), event).unwrap();
        assert_ne!(
            received,
            Received::Failed,
            "{}: {:?}",
            client.identity().client(),
            client.failures(&room())
        );
    }
}

fn response(outcome: UpdateOutcome) -> Vec<u8> {
    encode(&UpdateRoomResponse {
        error_description: String::new(),
        outcome,
    })
}

fn success() -> Vec<u8> {
    response(UpdateOutcome::Success {
        accepted_timestamp: ACCEPTED_MS,
    })
}

fn wrong_epoch(current_epoch: u64) -> Vec<u8> {
    response(UpdateOutcome::WrongEpoch { current_epoch })
}

fn accepted() -> Vec<u8> {
    encode(&SubmitMessageResponse::Accepted {
        accepted_timestamp: ACCEPTED_MS,
        frank: None,
    })
}

fn epoch(client: &ClientState) -> u64 {
    client.room(&room()).unwrap().epoch
}

fn texts(client: &ClientState) -> Vec<&str> {
    client
        .transcript(&room())
        .iter()
        .map(|entry| entry.text.as_str())
        .collect()
}

/// All members see the same room.
fn assert_agreement(all: &[ClientState]) {
    let states: Vec<RoomState> = all
        .iter()
        .filter(|client| client.is_member(&room()))
        .map(|client| client.room(&room()).unwrap())
        .collect();
    for state in &states {
        assert_eq!(state.epoch_authenticator, states[0].epoch_authenticator);
        assert_eq!(state.participants, states[0].participants);
        assert_eq!(state.members, states[0].members);
        assert_eq!(state.tree_hash, states[0].tree_hash);
    }
}

/// Alice's room with both of Bob's clients in it.
fn alice_and_bob() -> (Hub, Vec<ClientState>) {
    let mut hub = Hub::new();
    let mut all = vec![client("alice", "A1"), client("bob", "B1"), client("bob", "B2")];
    hub.create(&mut all[0]);
    hub.add(&mut all, 0, "bob");
    assert_agreement(&all);
    (hub, all)
}
