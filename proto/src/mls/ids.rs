//! The registries of RFC 9420, section 17.

use crate::Error;
use crate::tls::{Decode, Encode, Reader, Writer, tls_enum};

/// An open registry of two octets: unknown values are carried, not refused.
macro_rules! registry {
    (
        $(#[$meta:meta])*
        pub struct $name:ident;
        $( $(#[$const_meta:meta])* $constant:ident = $value:literal; )*
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u16);

        impl $name {
            $( $(#[$const_meta])* pub const $constant: $name = $name($value); )*
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Writer) {
                self.0.encode(out);
            }
        }

        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
                u16::decode(reader).map($name)
            }
        }
    };
}

registry! {
    /// A cipher suite (RFC 9420, section 17.1).
    pub struct CipherSuite;
    /// MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519, which every implementation has.
    MLS_128_DHKEMX25519_AES128GCM_SHA256_ED25519 = 1;
    /// MLS_128_DHKEMP256_AES128GCM_SHA256_P256.
    MLS_128_DHKEMP256_AES128GCM_SHA256_P256 = 2;
    /// MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519.
    MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_ED25519 = 3;
}

registry! {
    /// A credential type (RFC 9420, section 17.5).
    pub struct CredentialType;
    /// `basic`.
    BASIC = 1;
    /// `x509`.
    X509 = 2;
    /// PseudonymousCredential of draft-ietf-mimi-protocol, which has no type yet: one for private use, see `SPEC_NOTES.md`.
    PSEUDONYMOUS = 0xf061;
}

registry! {
    /// An extension type (RFC 9420, section 17.3; draft-ietf-mls-extensions, section 7.1).
    pub struct ExtensionType;
    /// `application_id`.
    APPLICATION_ID = 1;
    /// `ratchet_tree`.
    RATCHET_TREE = 2;
    /// `required_capabilities`.
    REQUIRED_CAPABILITIES = 3;
    /// `external_pub`.
    EXTERNAL_PUB = 4;
    /// `external_senders`.
    EXTERNAL_SENDERS = 5;
    /// `app_data_dictionary`.
    APP_DATA_DICTIONARY = 6;
}

tls_enum! {
    /// What a framed message contains (RFC 9420, section 6).
    pub enum ContentType: u8 {
        /// An application message.
        Application = 1,
        /// A Proposal.
        Proposal = 2,
        /// A Commit.
        Commit = 3,
    }
}

tls_enum! {
    /// The proposals a hub can judge (RFC 9420, section 17.4; draft-ietf-mls-extensions, section 7.2).
    pub enum ProposalType: u16 {
        /// `add`.
        Add = 1,
        /// `update`.
        Update = 2,
        /// `remove`.
        Remove = 3,
        /// `psk`.
        PreSharedKey = 4,
        /// `reinit`.
        ReInit = 5,
        /// `external_init`.
        ExternalInit = 6,
        /// `group_context_extensions`.
        GroupContextExtensions = 7,
        /// `app_data_update`.
        AppDataUpdate = 8,
        /// `app_ephemeral`.
        AppEphemeral = 9,
        /// `self_remove`.
        SelfRemove = 10,
    }
}

tls_enum! {
    /// What an MLSMessage holds (RFC 9420, section 17.2).
    pub enum WireFormat: u16 {
        /// `mls_public_message`.
        PublicMessage = 1,
        /// `mls_private_message`.
        PrivateMessage = 2,
        /// `mls_welcome`.
        Welcome = 3,
        /// `mls_group_info`.
        GroupInfo = 4,
        /// `mls_key_package`.
        KeyPackage = 5,
        /// `mls_semiprivate_message` (draft-mahy-mls-semiprivatemessage). Not assigned yet: a value for private use.
        SemiPrivateMessage = 0xf0a0,
    }
}

/// Reads a ProtocolVersion, of which there is one: `mls10(1)`.
pub(super) fn protocol_version(reader: &mut Reader<'_>) -> Result<(), Error> {
    match u16::decode(reader)? {
        MLS10 => Ok(()),
        version => Err(Error::UnknownValue {
            what: "ProtocolVersion",
            value: version.into(),
        }),
    }
}

/// `ProtocolVersion.mls10`.
pub(super) const MLS10: u16 = 1;
