//! MLS objects as a hub sees them (RFC 9420, with the proposals of draft-ietf-mls-extensions).
//!
//! A hub forwards these objects octet for octet, so the large ones ([`MlsMessage`] and its bodies, [`KeyPackage`],
//! [`GroupInfo`], [`RatchetTree`], [`Welcome`]) keep exactly what arrived, and offer borrowed views of the fields a
//! hub decides by. They are checked once, when decoded, by a walker of the grammar that neither recurses nor copies;
//! a view can therefore not fail. What the walker checks is structure only: signatures, the tree and the key schedule
//! are an MLS library's business.
//!
//! Credentials and extensions of unknown types are carried as opaque octets; an unknown proposal type is refused, as
//! nobody could decide whether its sender may do what it does.

mod commit;
mod extensions;
mod group_info;
mod ids;
mod key_package;
mod label;
mod leaf_node;
mod message;
mod private_message;
mod proposal;
mod public_message;
mod ratchet_tree;
mod semi_private;
mod small;
mod verbatim;
mod welcome;

pub use commit::{Commit, ProposalOrRef};
pub use extensions::{Extension, Extensions};
pub use group_info::{GroupContext, GroupContextFields, GroupInfo};
pub use ids::{CipherSuite, ContentType, CredentialType, ExtensionType, ProposalType, WireFormat};
pub use key_package::KeyPackage;
pub use label::{encrypt_context, ref_hash_input, sign_content};
pub use leaf_node::{LeafNode, LeafNodeSource, Lifetime};
pub(crate) use message::encode_message;
pub use message::{ApplicationMessage, CommitMessage, MlsMessage, ProposalMessage};
pub use private_message::PrivateMessage;
pub use proposal::{Proposal, ProposalContent, ReInit};
pub use public_message::{FramedContent, PublicMessage, Sender};
pub use ratchet_tree::RatchetTree;
pub use semi_private::{
    ExternalReceiver, ExternalReceivers, KeyForExternalReceiver, PerMessageKeyAndNonces, SemiPrivateError,
    SemiPrivateMessage, SemiPrivateMessageContext,
};
pub use small::{
    Capabilities, Credential, CredentialRef, ExternalSender, HpkeCiphertext, HpkePublicKey, KeyPackageRef, ProposalRef,
    RequiredCapabilities, SignaturePublicKey,
};
pub use welcome::Welcome;
