//! Minimal metadata rooms (draft-ietf-mimi-protocol, 6).

use mimi_hub_proto::{IdentityLinkTbe, PseudonymousCredential};

use super::*;
use crate::OpsError;

/// Alice, Bob and Cathy under pseudonyms, and what each is known by. They know each other from a room of real names.
struct Masked {
    hub: Hub,
    real: Vec<ClientState>,
    pseudonyms: Vec<Pseudonym>,
    all: Vec<ClientState>,
}

impl Masked {
    /// Alice has made the room of pseudonyms; nobody else is in.
    fn new() -> Self {
        let mut real = vec![client("alice", "A1"), client("bob", "B1"), client("cathy", "C1")];
        let mut hub = Hub::new();
        hub.create(&mut real[0]);
        hub.add(&mut real, 0, "bob");
        hub.add(&mut real, 0, "cathy");
        let pseudonyms: Vec<Pseudonym> = real.iter().map(|client| client.draw_pseudonym().unwrap()).collect();
        let mut all: Vec<ClientState> = real
            .iter()
            .zip(&pseudonyms)
            .map(|(client, pseudonym)| client.under(pseudonym).unwrap())
            .collect();
        // Full trees are what these tests' hub reads.
        all.iter_mut().for_each(|client| client.tree = TreeOption::Full);
        let mut hub = Hub::new();
        let initial = InitialState::minimal_metadata(&room(), pseudonyms[0].user().clone()).unwrap();
        let new = all[0].create_room(&room(), &encode(&hub.sender()), &initial).unwrap();
        hub.group_info = new.group_info;
        hub.ratchet_tree = RatchetTreeOption::Full(decode_exact(&new.ratchet_tree).unwrap());
        Self {
            hub,
            real,
            pseudonyms,
            all,
        }
    }

    fn key_material(&self, who: usize) -> Vec<u8> {
        let key_package = decode_exact(&self.all[who].key_packages(1).unwrap()[0]).unwrap();
        let entry = ClientKeyMaterial {
            client_uri: self.all[who].identity().client().clone(),
            outcome: ClientKeyMaterialOutcome::Success(key_package),
        };
        encode(&KeyMaterialResponse::from_clients(self.pseudonyms[who].user().clone(), vec![entry]).unwrap())
    }

    /// `who` hands its pseudonym to Alice, who looks and adds it.
    fn add(&mut self, who: usize) {
        let key_material = self.key_material(who);
        let introduction = decode_exact(&encode(&self.pseudonyms[who])).unwrap();
        self.all[0].introduced(&introduction);
        let known = self.real[0].known_clients().unwrap();
        let user = introduction.user().clone();
        let clients = self.all[0].introduced_clients(&user, &key_material, &known).unwrap();
        assert_eq!(clients, [self.real[who].identity().clone()]);
        let change = RoomChange::AddUser {
            user,
            role_index: ROLE_MEMBER,
            key_material,
        };
        self.hub.commit(&mut self.all, 0, &change);
    }

    /// `who` sends what it knows.
    fn share(&mut self, who: usize) -> Vec<u8> {
        let content = self.all[who].link_keys_message(&room()).unwrap();
        let submitted = self.all[who].encrypt(&room(), &content).unwrap();
        self.all[who].message_answered(&room(), &accepted()).unwrap();
        deliver(&mut self.all, &message_event(&submitted));
        submitted
    }

    /// Whom `who` takes the members for, `None` for those it cannot tell.
    fn sees(&self, who: usize) -> Vec<Option<UserUri>> {
        let known = self.real[who].known_clients().unwrap();
        let members = self.all[who].real_identities(&room(), &known).unwrap();
        members
            .into_iter()
            .map(|member| Some(member.real.ok()?.user().clone()))
            .collect()
    }
}

#[test]
fn protocol_6_members_learn_who_they_are_and_nothing_else_says_it() {
    let mut masked = Masked::new();
    masked.add(1);
    // Bob is in, and knows nobody but himself.
    assert_eq!(masked.sees(1), [None, Some(user("bob"))]);
    masked.share(0);
    assert_eq!(masked.sees(1), [Some(user("alice")), Some(user("bob"))]);
    masked.add(2);
    let message = masked.share(0);
    for who in 0..3 {
        assert_eq!(masked.sees(who), ["alice", "bob", "cathy"].map(|name| Some(user(name))));
    }
    assert_agreement(&masked.all);
    // What the hub has of it all names nobody: neither a URI, nor a key by which the clients are known elsewhere.
    let RatchetTreeOption::Full(tree) = &masked.hub.ratchet_tree else {
        panic!("no tree")
    };
    let seen = [encode(tree), masked.hub.group_info.clone(), message].concat();
    let holds = |octets: &[u8]| seen.windows(octets.len()).any(|window| window == octets);
    for (real, pseudonym) in masked.real.iter().zip(&masked.pseudonyms) {
        assert!(holds(pseudonym.user().as_str().as_bytes()));
        assert!(!holds(real.identity().user().as_str().as_bytes()));
        assert!(!holds(real.identity().client().as_str().as_bytes()));
        assert!(!holds(real.keys.signer.public()));
    }
}

#[test]
fn a_key_that_does_not_fit_is_passed_over() {
    let mut masked = Masked::new();
    masked.add(1);
    masked.share(0);
    // Bob sends others' keys wrongly.
    let foreign = masked.real[1].draw_pseudonym().unwrap();
    let alice = masked.pseudonyms[0].user().clone();
    let right = masked.all[1].link_keys[&alice].clone();
    let wrong = foreign_key(&foreign, &alice);
    masked.all[1].introduced(&wrong);
    assert_eq!(masked.sees(1), [None, Some(user("bob"))]);
    masked.share(1);
    assert_eq!(masked.sees(0), [Some(user("alice")), Some(user("bob"))]);
    // And takes the right one again.
    masked.share(0);
    assert_eq!(masked.all[1].link_keys[&alice], right);
}

/// A pseudonym's key under another name.
fn foreign_key(of: &Pseudonym, user: &UserUri) -> Pseudonym {
    let octets = encode(of);
    let key = &octets[octets.len() - 16..];
    decode_exact(&[&encode(user)[..], key].concat()).unwrap()
}

fn why(outcome: Result<Vec<mimi_hub_proto::ClientIdentity>, OpsError>) -> &'static str {
    match outcome {
        Err(OpsError::Unlinked { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn protocol_6_1_the_link_is_believed_when_the_real_key_has_signed_it() {
    let mut masked = Masked::new();
    let key_material = masked.key_material(1);
    let bob = masked.pseudonyms[1].clone();
    let known = masked.real[0].known_clients().unwrap();
    let look = |alice: &ClientState, known: &KnownClients| alice.introduced_clients(bob.user(), &key_material, known);
    assert_eq!(why(look(&masked.all[0], &known)), "its user's key has not come yet");
    masked.all[0].introduced(&foreign_key(&masked.pseudonyms[2], bob.user()));
    assert_eq!(why(look(&masked.all[0], &known)), "its identity link does not open");
    masked.all[0].introduced(&bob);
    assert!(look(&masked.all[0], &known).is_ok());
    // Somebody whom Alice has never met by its real name.
    let nobody = KnownClients::default();
    assert_eq!(why(look(&masked.all[0], &nobody)), "nobody by its real name is known");
    // Somebody who says that it is Bob, and has another key.
    let impostor = client("bob", "B1").under(&bob).unwrap();
    masked.all[1] = impostor;
    let key_material = masked.key_material(1);
    let impostor = masked.all[0].introduced_clients(bob.user(), &key_material, &known);
    assert_eq!(why(impostor), "the link is not signed by whom it names");
}

#[test]
fn protocol_6_1_the_link_is_bound_to_its_credential() {
    let masked = Masked::new();
    let wire = masked.all[1].keys.wire_credential().unwrap();
    let bobs: PseudonymousCredential = decode_exact(wire.as_ref().content).unwrap();
    // Cathy takes Bob's link for her own.
    let wire = masked.all[2].keys.wire_credential().unwrap();
    let cathys: PseudonymousCredential = decode_exact(wire.as_ref().content).unwrap();
    let taken = PseudonymousCredential::new(cathys.tbs(), bobs.identity_link_ciphertext().to_vec());
    let keys = &masked.all[0].keys;
    let key = &masked.all[1].link_keys[masked.pseudonyms[1].user()];
    let open = crate::client::pseudonyms::open;
    let link: IdentityLinkTbe = open(keys, key, &bobs).unwrap();
    assert_eq!(link.client_credential, masked.real[1].identity().to_credential());
    assert!(matches!(open(keys, key, &taken), Err(OpsError::Unlinked { .. })));
    let short = PseudonymousCredential::new(bobs.tbs(), vec![1; 11]);
    assert!(matches!(open(keys, key, &short), Err(OpsError::Unlinked { .. })));
}

#[test]
fn protocol_6_1_one_user_has_one_pseudonym_in_a_room() {
    let mut masked = Masked::new();
    masked.add(1);
    // Another client of Bob's comes under a pseudonym of its own.
    let again = masked.real[1].draw_pseudonym().unwrap();
    masked.all[2] = masked.real[1].under(&again).unwrap();
    masked.all[2].tree = TreeOption::Full;
    masked.real[2] = client("bob", "B2");
    masked.pseudonyms[2] = again.clone();
    masked.all[0].introduced(&again);
    let change = RoomChange::AddUser {
        user: again.user().clone(),
        role_index: ROLE_MEMBER,
        key_material: masked.key_material(2),
    };
    masked.hub.commit(&mut masked.all, 0, &change);
    assert_eq!(masked.sees(0), [Some(user("alice")), Some(user("bob")), None]);
}

#[test]
fn protocol_6_1_pseudonyms_are_drawn_for_each_room() {
    let alice = client("alice", "A1");
    let (one, other) = (alice.draw_pseudonym().unwrap(), alice.draw_pseudonym().unwrap());
    assert_ne!(one.user(), other.user());
    assert_ne!(one, foreign_key(&other, one.user()));
    let (first, second) = (alice.under(&one).unwrap(), alice.under(&one).unwrap());
    assert_eq!(first.identity().user(), second.identity().user());
    assert_ne!(first.identity().client(), second.identity().client());
    assert_ne!(first.keys.signer.public(), alice.keys.signer.public());
    assert_eq!(
        format!("{one:?}"),
        format!("Pseudonym {{ user: {}, key: IdentityLinkKey(..) }}", one.user())
    );
}
