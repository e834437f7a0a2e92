//! Ways to convey the ratchet tree and the GroupInfo (draft-mahy-mls-ratchet-tree-options;
//! draft-ietf-mimi-protocol, section 5.3).

use crate::Error;
use crate::mls::{Extension, ExtensionType, GroupInfo, RatchetTree};
use crate::tls::{Decode, Encode, Reader, Writer, tls_enum};

/// Where the ratchet tree is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RatchetTreeOption {
    /// Here.
    Full(RatchetTree),
    /// At a URL with the scheme `https`.
    HttpsUri {
        /// The URL.
        ratchet_tree_url: String,
        /// A signature over the tree; the draft does not say by which key.
        tree_signature: Vec<u8>,
    },
    /// Somewhere both sides know of.
    OutOfBand {
        /// As for [`RatchetTreeOption::HttpsUri`].
        tree_signature: Vec<u8>,
    },
    /// At the hub, which follows all handshakes.
    DistributionService,
}

impl Encode for RatchetTreeOption {
    fn encode(&self, out: &mut Writer) {
        match self {
            RatchetTreeOption::Full(tree) => {
                1u8.encode(out);
                tree.encode(out);
            }
            RatchetTreeOption::HttpsUri {
                ratchet_tree_url,
                tree_signature,
            } => {
                2u8.encode(out);
                ratchet_tree_url.encode(out);
                tree_signature.encode(out);
            }
            RatchetTreeOption::OutOfBand { tree_signature } => {
                3u8.encode(out);
                tree_signature.encode(out);
            }
            RatchetTreeOption::DistributionService => 4u8.encode(out),
        }
    }
}

impl Decode for RatchetTreeOption {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(match u8::decode(reader)? {
            1 => RatchetTreeOption::Full(RatchetTree::decode(reader)?),
            2 => RatchetTreeOption::HttpsUri {
                ratchet_tree_url: String::decode(reader)?,
                tree_signature: Vec::decode(reader)?,
            },
            3 => RatchetTreeOption::OutOfBand {
                tree_signature: Vec::decode(reader)?,
            },
            4 => RatchetTreeOption::DistributionService,
            value => {
                return Err(Error::UnknownValue {
                    what: "RatchetTreeRepresentation",
                    value: value.into(),
                });
            }
        })
    }
}

/// The GroupInfo of the epoch a Commit starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupInfoOption {
    /// All of it.
    Full(GroupInfo),
    /// What the hub cannot know itself.
    Partial(PartialGroupInfo),
}

impl Encode for GroupInfoOption {
    fn encode(&self, out: &mut Writer) {
        match self {
            GroupInfoOption::Full(group_info) => {
                1u8.encode(out);
                group_info.encode(out);
            }
            GroupInfoOption::Partial(partial) => {
                2u8.encode(out);
                partial.encode(out);
            }
        }
    }
}

impl Decode for GroupInfoOption {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        match u8::decode(reader)? {
            1 => GroupInfo::decode(reader).map(GroupInfoOption::Full),
            2 => PartialGroupInfo::decode(reader).map(GroupInfoOption::Partial),
            value => Err(Error::UnknownValue {
                what: "GroupInfoRepresentation",
                value: value.into(),
            }),
        }
    }
}

tls_enum! {
    /// Whether the `ratchet_tree` extension is in the GroupInfo of the previous and of the current epoch.
    pub enum RatchetTreePresence: u8 {
        /// In neither.
        NoRatchetTree = 0,
        /// In both.
        Present = 1,
        /// In the previous only.
        Removed = 2,
        /// In the current only.
        Added = 3,
    }
}

/// The fields of a GroupInfo that handshakes do not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialGroupInfo {
    ratchet_tree_presence: RatchetTreePresence,
    group_info_extensions: Vec<Extension>,
    signature: Vec<u8>,
}

impl PartialGroupInfo {
    /// What of a GroupInfo without ratchet tree has to be sent to a hub that follows all handshakes.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the GroupInfo has the tree.
    pub fn of(group_info: &GroupInfo) -> Result<Self, Error> {
        let extensions = group_info.extensions();
        let extensions = extensions.iter().map(|(extension_type, data)| Extension {
            extension_type,
            data: data.to_vec(),
        });
        let signature = group_info.signature().to_vec();
        PartialGroupInfo::new(RatchetTreePresence::NoRatchetTree, extensions.collect(), signature)
    }

    /// Checks that the extensions are those of the draft: all but `ratchet_tree`.
    ///
    /// # Errors
    /// If `ratchet_tree` is among the extensions, or a type is there twice.
    pub fn new(
        ratchet_tree_presence: RatchetTreePresence,
        group_info_extensions: Vec<Extension>,
        signature: Vec<u8>,
    ) -> Result<Self, Error> {
        let mut types: Vec<ExtensionType> = group_info_extensions.iter().map(|e| e.extension_type).collect();
        types.sort_unstable();
        if let Some(pair) = types.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::Duplicate {
                what: "ExtensionType",
                value: pair[0].0.to_string(),
            });
        }
        if types.contains(&ExtensionType::RATCHET_TREE) {
            return Err(Error::Invalid {
                what: "group_info_extensions",
                why: "ratchet_tree is among them",
            });
        }
        Ok(PartialGroupInfo {
            ratchet_tree_presence,
            group_info_extensions,
            signature,
        })
    }

    /// The GroupInfo's extensions, without `ratchet_tree`.
    pub fn group_info_extensions(&self) -> &[Extension] {
        &self.group_info_extensions
    }

    /// Whether the tree is embedded.
    pub fn ratchet_tree_presence(&self) -> RatchetTreePresence {
        self.ratchet_tree_presence
    }

    /// The committer's signature over the whole GroupInfo.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

impl Encode for PartialGroupInfo {
    fn encode(&self, out: &mut Writer) {
        self.ratchet_tree_presence.encode(out);
        self.group_info_extensions.encode(out);
        self.signature.encode(out);
    }
}

impl Decode for PartialGroupInfo {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let presence = RatchetTreePresence::decode(reader)?;
        let extensions = Vec::decode(reader)?;
        PartialGroupInfo::new(presence, extensions, Vec::decode(reader)?)
    }
}
