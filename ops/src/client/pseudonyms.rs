//! Taking part in minimal metadata rooms (draft-ietf-mimi-protocol, 6): pseudonyms, and how members learn who is behind them.
//!
//! The draft leaves the key management open. Ours is the simplest that does it:
//! - a user takes a [`Pseudonym`] for one room: a user URI of its provider, drawn at random, and with it an
//!   [`IdentityLinkKey`]. Each client goes by a client URI drawn at random, with a signature key of its own, and its identity
//!   link is encrypted (AES-128-GCM, a fresh nonce before the ciphertext, the PseudonymousCredentialTBS as additional data)
//!   under that key. The provider knows the pseudonym, since it delivers to it; the key it never sees;
//! - the user hands both to whoever is to add it, out of sight of the room's hub; that one sees who it is before it adds;
//! - a member sends the keys it knows to the others as an application message, which MLS encrypts. Whoever adds a user does so
//!   in the epoch that begins with it: the others learn the newcomer's key, the newcomer learns theirs.
//!
//! Limits: who has a key keeps it, so that what a member knows it knows after its removal, too, as far as it has come to know
//! it: keys of those who come later are not sent to it. There is no other forward secrecy or post-compromise security of the
//! names. One who knows them can tell anybody, the hub too.
//!
//! Invariant: a real identity is told only where its client has signed the pseudonyms with a signature key that this client
//! knows to be its.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use mimi_hub_proto::content::{Disposition, MimiContent, Part};
use mimi_hub_proto::mls::SignaturePublicKey;
use mimi_hub_proto::tls::{Decode, Encode, Reader, Writer, decode_exact, encode};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{
    ClientIdentity, Error, IdentityLinkTbe, LeafCredential, PseudonymousCredential, PseudonymousCredentialTbs,
};
use openmls::group::MlsGroup;
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::types::AeadType;

use super::keys::ClientKeys;
use super::requests;
use super::room;
use super::state::{ClientState, TreeOption};
use crate::OpsError;

/// The content type of the messages that carry keys.
const LINK_KEYS: &str = "application/x-mimi-identity-link-keys";
const AEAD: AeadType = AeadType::Aes128Gcm;
const NONCE_LEN: usize = 12;

/// The key of the identity links of one user in one room.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityLinkKey([u8; 16]);

impl fmt::Debug for IdentityLinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityLinkKey(..)")
    }
}

/// A user's name in one room, and the key to who it is: what the user hands to whoever is to add it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pseudonym {
    user: UserUri,
    key: IdentityLinkKey,
}

impl Pseudonym {
    /// The user URI.
    #[must_use]
    pub fn user(&self) -> &UserUri {
        &self.user
    }
}

impl Encode for Pseudonym {
    fn encode(&self, out: &mut Writer) {
        self.user.encode(out);
        self.key.0.encode(out);
    }
}

impl Decode for Pseudonym {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Pseudonym {
            user: UserUri::decode(reader)?,
            key: IdentityLinkKey(Decode::decode(reader)?),
        })
    }
}

/// The signature keys that clients are known to have by their real names.
#[derive(Clone, Debug, Default)]
pub struct KnownClients(HashMap<ClientIdentity, BTreeSet<Vec<u8>>>);

impl KnownClients {
    /// Adds what is known of others by other means, as when two people compare keys.
    pub fn extend(&mut self, other: KnownClients) {
        for (identity, keys) in other.0 {
            self.0.entry(identity).or_default().extend(keys);
        }
    }
}

/// A member of a minimal metadata room, and who it is as far as this client can tell.
#[derive(Debug)]
pub struct MemberIdentity {
    /// By its pseudonyms.
    pub pseudonyms: ClientIdentity,
    /// By its real names; [`OpsError::Unlinked`] says why it is not known.
    pub real: Result<ClientIdentity, OpsError>,
}

impl ClientState {
    /// Draws a pseudonym for this client's user, to be used in one room.
    ///
    /// # Errors
    /// [`OpsError::Mls`] when there is no randomness.
    pub fn draw_pseudonym(&self) -> Result<Pseudonym, OpsError> {
        let provider = self.identity().user().provider();
        Ok(Pseudonym {
            user: drawn(&self.keys, &provider, 'u')?,
            key: IdentityLinkKey(self.keys.random()?),
        })
    }

    /// This client under a pseudonym of its user: another client, with keys of its own, that can prove to those who know the
    /// pseudonym's key that it is this one. All clients of a user share one pseudonym.
    ///
    /// # Errors
    /// [`OpsError::Mls`] when no key can be made, or the pseudonym is of another provider.
    pub fn under(&self, pseudonym: &Pseudonym) -> Result<ClientState, OpsError> {
        let provider = self.identity().user().provider();
        let client = drawn(&self.keys, &provider, 'd')?;
        let pseudonyms =
            ClientIdentity::new(client, pseudonym.user.clone()).map_err(OpsError::mls("make the credential"))?;
        let keys = ClientKeys::pseudonymous(pseudonyms, |tbs| {
            let link = IdentityLinkTbe {
                pseudonymous_credential_signature: self.keys.sign(&tbs.sign_content())?,
                client_credential: self.keys.wire_credential()?,
            };
            seal(&self.keys, &pseudonym.key, tbs, &link)
        })?;
        let mut state = ClientState {
            keys,
            rooms: BTreeMap::new(),
            tree: TreeOption::default(),
            link_keys: BTreeMap::new(),
        };
        state.introduced(pseudonym);
        Ok(state)
    }

    /// Takes in a pseudonym that its user has handed over.
    pub fn introduced(&mut self, pseudonym: &Pseudonym) {
        self.link_keys.insert(pseudonym.user.clone(), pseudonym.key.clone());
    }

    /// The clients that this one shares rooms of real names with, and itself: their keys are what it knows them by.
    ///
    /// # Errors
    /// [`OpsError::Mls`] when a member's credential cannot be read.
    pub fn known_clients(&self) -> Result<KnownClients, OpsError> {
        let mut known = KnownClients::default();
        let groups = self.rooms.values().filter_map(|membership| membership.group.as_ref());
        for member in groups.flat_map(MlsGroup::members) {
            if let LeafCredential::Basic(identity) = room::leaf_credential(&member.credential)? {
                known.0.entry(identity).or_default().insert(member.signature_key);
            }
        }
        if let LeafCredential::Basic(identity) = room::leaf_credential(&self.keys.credential_with_key().credential)? {
            let own = self.keys.signer.public().to_vec();
            known.0.entry(identity).or_default().insert(own);
        }
        Ok(known)
    }

    /// Who the members of a minimal metadata room are.
    ///
    /// # Errors
    /// [`OpsError::NotMember`]. That a single one cannot be told stands in its place.
    pub fn real_identities(&self, room: &RoomUri, known: &KnownClients) -> Result<Vec<MemberIdentity>, OpsError> {
        let mut members = Vec::new();
        // All clients of a pseudonym are one user's, and one user has one pseudonym.
        let (mut users, mut masks) = (BTreeMap::new(), BTreeMap::new());
        for credential in credentials(self.membership(room)?.group()?)? {
            let pseudonyms = credential.pseudonyms().clone();
            let real = self.resolve(&credential, known).and_then(|real| {
                let (user, mask) = (real.user().clone(), pseudonyms.user().clone());
                if *users.entry(mask.clone()).or_insert_with(|| user.clone()) != user {
                    return Err(unlinked(
                        &credential,
                        "another client of this pseudonym is another user's",
                    ));
                }
                if *masks.entry(user).or_insert_with(|| mask.clone()) != mask {
                    return Err(unlinked(&credential, "its user goes by another pseudonym, too"));
                }
                Ok(real)
            });
            members.push(MemberIdentity { pseudonyms, real });
        }
        Ok(members)
    }

    /// The clients in a KeyMaterialResponse for a pseudonym that was handed over, by their real names: to be looked at before
    /// they are added.
    ///
    /// # Errors
    /// [`OpsError::Unlinked`] for a client that cannot be told; otherwise what is wrong with the answer.
    pub fn introduced_clients(
        &self,
        pseudonym: &UserUri,
        key_material: &[u8],
        known: &KnownClients,
    ) -> Result<Vec<ClientIdentity>, OpsError> {
        let key_packages = requests::key_packages(&self.keys, pseudonym, key_material)?;
        key_packages
            .iter()
            .map(
                |key_package| match room::leaf_credential(key_package.leaf_node().credential())? {
                    LeafCredential::Pseudonymous(credential) => self.resolve(&credential, known),
                    LeafCredential::Basic(identity) => Err(OpsError::Unlinked {
                        client: identity.client().clone(),
                        why: "it goes by its real name",
                    }),
                },
            )
            .collect()
    }

    /// A message with the keys that this client knows of the room's members, to be sent to them.
    ///
    /// # Errors
    /// [`OpsError::NotMember`], or [`OpsError::Mls`] when there is no randomness.
    pub fn link_keys_message(&self, room: &RoomUri) -> Result<MimiContent, OpsError> {
        let members: BTreeSet<UserUri> = credentials(self.membership(room)?.group()?)?
            .iter()
            .map(|credential| credential.pseudonyms().user().clone())
            .collect();
        let keys: Vec<Pseudonym> = members
            .into_iter()
            .filter_map(|user| {
                let key = self.link_keys.get(&user)?.clone();
                Some(Pseudonym { user, key })
            })
            .collect();
        let mut content = self.text(room, "")?;
        content.nested_part.disposition = Disposition::UNSPECIFIED;
        content.nested_part.part = Part::Single {
            content_type: LINK_KEYS.to_owned(),
            content: encode(&keys),
        };
        Ok(content)
    }

    fn resolve(&self, credential: &PseudonymousCredential, known: &KnownClients) -> Result<ClientIdentity, OpsError> {
        let user = credential.pseudonyms().user();
        let key = self.link_keys.get(user);
        let key = key.ok_or_else(|| unlinked(credential, "its user's key has not come yet"))?;
        let link = open(&self.keys, key, credential)?;
        let real = ClientIdentity::from_credential(link.client_credential.as_ref())
            .map_err(|_| unlinked(credential, "the credential in the link is no basic one"))?;
        if real.user().provider() != user.provider() {
            return Err(unlinked(credential, "the link is to a user of another provider"));
        }
        let signature_keys = known.0.get(&real);
        let signature_keys = signature_keys.ok_or_else(|| unlinked(credential, "nobody by its real name is known"))?;
        let (signed, signature) = (credential.tbs().sign_content(), &link.pseudonymous_credential_signature);
        let holds = |key: &Vec<u8>| self.keys.verify(key, &signed, signature, "identity link").is_ok();
        if signature_keys.iter().any(holds) {
            return Ok(real);
        }
        Err(unlinked(credential, "the link is not signed by whom it names"))
    }
}

/// Takes in the keys in a message, those that fit: who sends others cannot make this client forget one that does.
pub(super) fn learn(
    keys: &ClientKeys,
    link_keys: &mut BTreeMap<UserUri, IdentityLinkKey>,
    group: &MlsGroup,
    content: &MimiContent,
) -> Result<(), OpsError> {
    let Part::Single { content_type, content } = &content.nested_part.part else {
        return Ok(());
    };
    if content_type != LINK_KEYS {
        return Ok(());
    }
    let sent: Vec<Pseudonym> = decode_exact(content).map_err(OpsError::mls("read identity link keys"))?;
    let members = credentials(group)?;
    for Pseudonym { user, key } in sent {
        let fits = |key: &IdentityLinkKey| {
            let mut own = members.iter().filter(|member| *member.pseudonyms().user() == user);
            own.any(|member| open(keys, key, member).is_ok())
        };
        if !link_keys.get(&user).is_some_and(fits) && fits(&key) {
            link_keys.insert(user, key);
        }
    }
    Ok(())
}

/// The pseudonymous credentials of a group's members.
fn credentials(group: &MlsGroup) -> Result<Vec<PseudonymousCredential>, OpsError> {
    let mut credentials = Vec::new();
    for member in group.members() {
        if let LeafCredential::Pseudonymous(credential) = room::leaf_credential(&member.credential)? {
            credentials.push(*credential);
        }
    }
    Ok(credentials)
}

fn unlinked(credential: &PseudonymousCredential, why: &'static str) -> OpsError {
    OpsError::Unlinked {
        client: credential.pseudonyms().client().clone(),
        why,
    }
}

fn seal(
    keys: &ClientKeys,
    key: &IdentityLinkKey,
    tbs: &PseudonymousCredentialTbs,
    link: &IdentityLinkTbe,
) -> Result<Vec<u8>, OpsError> {
    let nonce: [u8; NONCE_LEN] = keys.random()?;
    let crypto = keys.provider.crypto();
    let sealed = crypto
        .aead_encrypt(AEAD, &key.0, &encode(link), &nonce, &encode(tbs))
        .map_err(|error| OpsError::mls("encrypt the identity link")(format!("{error:?}")))?;
    Ok([&nonce[..], &sealed].concat())
}

pub(super) fn open(
    keys: &ClientKeys,
    key: &IdentityLinkKey,
    credential: &PseudonymousCredential,
) -> Result<IdentityLinkTbe, OpsError> {
    let (nonce, sealed) = credential
        .identity_link_ciphertext()
        .split_at_checked(NONCE_LEN)
        .ok_or_else(|| unlinked(credential, "its identity link is too short"))?;
    let crypto = keys.provider.crypto();
    let opened = crypto
        .aead_decrypt(AEAD, &key.0, sealed, nonce, &encode(&credential.tbs()))
        .map_err(|_| unlinked(credential, "its identity link does not open"))?;
    decode_exact(&opened).map_err(|_| unlinked(credential, "its identity link is malformed"))
}

/// A URI of the provider in the shape of a random UUID (RFC 9562, 5.4).
fn drawn<T: std::str::FromStr<Err = Error>>(
    keys: &ClientKeys,
    provider: &ProviderDomain,
    kind: char,
) -> Result<T, OpsError> {
    let mut octets: [u8; 16] = keys.random()?;
    octets[6] = octets[6] & 0x0f | 0x40;
    octets[8] = octets[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(octets));
    let uuid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    format!("mimi://{provider}/{kind}/{uuid}")
        .parse()
        .map_err(OpsError::mls("draw a pseudonym"))
}

impl ClientKeys {
    /// Fresh keys for a client under pseudonyms, whose identity link `seal` makes.
    fn pseudonymous(
        pseudonyms: ClientIdentity,
        seal: impl FnOnce(&PseudonymousCredentialTbs) -> Result<Vec<u8>, OpsError>,
    ) -> Result<Self, OpsError> {
        Self::generate_with(pseudonyms, |pseudonyms, signature_key| {
            let (client, user) = (pseudonyms.client().clone(), pseudonyms.user().clone());
            let key = SignaturePublicKey::new(signature_key);
            let tbs =
                PseudonymousCredentialTbs::new(client, user, key).map_err(OpsError::mls("make the credential"))?;
            let link = seal(&tbs)?;
            Ok(PseudonymousCredential::new(tbs, link).to_credential())
        })
    }
}
