//! Associated parties (draft-kohbrok-mls-associated-parties): key material that a group shares with somebody outside it,
//! as a hub. Owns the structs and the key schedule, which members and the party run alike; the group's exporter and the
//! cryptography are the caller's.

use crate::crypto::{Crypto, CryptoFailed};
use crate::mls::{CipherSuite, GroupContext, HpkePublicKey, encrypt_context, sign_content};
use crate::tls::{Encode, Writer, encode, tls_struct};

/// An associated party in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociatedPartyEntry {
    /// What shared secrets are encrypted to.
    pub encryption_key: HpkePublicKey,
    /// Its place in the group's `external_senders`.
    pub external_sender_index: u32,
    /// The external sender's signature over [`AssociatedPartyEntryTbs::sign_content`].
    pub signature: Vec<u8>,
}

tls_struct!(AssociatedPartyEntry {
    encryption_key,
    external_sender_index,
    signature
});

/// What an associated party signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociatedPartyEntryTbs {
    /// As in the entry.
    pub encryption_key: HpkePublicKey,
    /// As in the entry.
    pub external_sender_index: u32,
}

tls_struct!(AssociatedPartyEntryTbs {
    encryption_key,
    external_sender_index
});

impl AssociatedPartyEntryTbs {
    /// The octets that are signed: SignContent under the label `AssociatedPartyEntryTBS`.
    pub fn sign_content(&self) -> Vec<u8> {
        sign_content("AssociatedPartyEntryTBS", &encode(self))
    }
}

impl AssociatedPartyEntry {
    /// What the signature covers.
    pub fn tbs(&self) -> AssociatedPartyEntryTbs {
        AssociatedPartyEntryTbs {
            encryption_key: self.encryption_key.clone(),
            external_sender_index: self.external_sender_index,
        }
    }
}

/// The `associated_parties` component of a GroupContext.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssociatedParties {
    /// The parties.
    pub associated_parties: Vec<AssociatedPartyEntry>,
}

tls_struct!(AssociatedParties { associated_parties });

/// What tells the secrets of one party from those of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociatedPartyExportContext {
    /// Its place in [`AssociatedParties`].
    pub ap_index: u32,
    /// Its entry.
    pub ap_entry: AssociatedPartyEntry,
}

tls_struct!(AssociatedPartyExportContext { ap_index, ap_entry });

/// The context under which a committer encrypts the `ap_commit_base_secret` to a party: the `info` of HPKE.
/// `group_context` is that of the new epoch.
pub fn commit_encrypt_context(group_context: GroupContext<'_>, ap_commit_secret_id: &[u8]) -> Vec<u8> {
    let mut context = Writer::new();
    context.opaque(b"AP Commit Secret");
    context.raw(group_context.as_bytes());
    context.opaque(ap_commit_secret_id);
    encrypt_context("AP Commit Secret", &context.into_vec())
}

/// `ap_commit_base_secret`: what the group has for one party in one epoch. `ap_secret` is what the members' key schedule
/// exports for the component 0x0007 (`SafeExportSecret`).
///
/// # Errors
/// If the suite is not supported.
pub fn commit_base_secret(
    crypto: &impl Crypto,
    suite: CipherSuite,
    ap_secret: &[u8],
    context: &AssociatedPartyExportContext,
) -> Result<Vec<u8>, CryptoFailed> {
    expand_with_label(crypto, suite, ap_secret, "AP Commit Base Secret", &encode(context))
}

/// What a commit adds to a party's key schedule.
#[derive(Clone, PartialEq, Eq)]
pub struct CommitSecret {
    /// `ap_commit_secret`. Secret.
    pub secret: Vec<u8>,
    /// `ap_commit_secret_id`, which everybody compares with the one that was sent.
    pub id: Vec<u8>,
}

impl CommitSecret {
    /// From the `ap_commit_base_secret`.
    ///
    /// # Errors
    /// If the suite is not supported.
    pub fn new(crypto: &impl Crypto, suite: CipherSuite, base_secret: &[u8]) -> Result<Self, CryptoFailed> {
        Ok(CommitSecret {
            secret: derive_secret(crypto, suite, base_secret, "AP Commit Secret")?,
            id: derive_secret(crypto, suite, base_secret, "AP Commit Secret ID")?,
        })
    }
}

/// The secrets of one party's key schedule in one epoch. They are deleted once used.
#[derive(Clone, PartialEq, Eq)]
pub struct EpochSecrets {
    /// `ap_exporter_secret`, from which the application derives its own.
    pub exporter: Vec<u8>,
    /// `ap_init_secret`, for the next epoch and for new members.
    pub init: Vec<u8>,
}

impl EpochSecrets {
    /// The secrets of the epoch that a commit starts. `previous_init` is the `ap_init_secret` of the epoch before, absent
    /// if the party was added by this commit or the committer joined by it. `group_context` is that of the new epoch.
    ///
    /// # Errors
    /// If the suite is not supported.
    pub fn next(
        crypto: &impl Crypto,
        previous_init: Option<&[u8]>,
        commit: &CommitSecret,
        group_context: GroupContext<'_>,
    ) -> Result<Self, CryptoFailed> {
        let suite = group_context.cipher_suite();
        let zero = vec![0; commit.secret.len()];
        let extracted = crypto.kdf_extract(suite, previous_init.unwrap_or(&zero), &commit.secret)?;
        let epoch = expand_with_label(crypto, suite, &extracted, "ap_epoch", group_context.as_bytes())?;
        Ok(EpochSecrets {
            exporter: derive_secret(crypto, suite, &epoch, "ap_exporter")?,
            init: derive_secret(crypto, suite, &epoch, "init")?,
        })
    }
}

/// `DeriveSecret` of RFC 9420, section 8.
fn derive_secret(
    crypto: &impl Crypto,
    suite: CipherSuite,
    secret: &[u8],
    label: &str,
) -> Result<Vec<u8>, CryptoFailed> {
    expand_with_label(crypto, suite, secret, label, &[])
}

/// `ExpandWithLabel` of RFC 9420, section 8, to `KDF.Nh` octets, which every secret here has.
fn expand_with_label(
    crypto: &impl Crypto,
    suite: CipherSuite,
    secret: &[u8],
    label: &str,
    context: &[u8],
) -> Result<Vec<u8>, CryptoFailed> {
    let length = u16::try_from(crypto.hash(suite, &[])?.len()).map_err(|_| CryptoFailed)?;
    let mut info = Writer::new();
    length.encode(&mut info);
    info.opaque(format!("MLS 1.0 {label}").as_bytes());
    info.opaque(context);
    crypto.kdf_expand(suite, secret, &info.into_vec(), length)
}
