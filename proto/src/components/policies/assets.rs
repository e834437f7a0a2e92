//! The `asset_policy` component (draft-ietf-mimi-room-policy, section 6.4).

use crate::Error;
use crate::tls::{Decode, Encode, Reader, Writer, tls_enum, tls_struct};

tls_enum! {
    /// Where assets are uploaded to.
    pub enum AssetUploadLocation: u8 {
        /// Anywhere.
        Unspecified = 0,
        /// To the uploading client's own provider.
        LocalProvider = 1,
        /// To the hub.
        Hub = 2,
    }
}

tls_enum! {
    /// How an asset is fetched.
    pub enum DownloadPrivacyType: u8 {
        /// By the client itself.
        Direct = 0,
        /// Through the hub.
        HubProxy = 1,
        /// Through the hub, by Oblivious HTTP.
        Ohttp = 2,
    }
}

/// A domain name, as it is compared with hosts: without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainName {
    /// The name.
    pub domain: String,
}

tls_struct!(DomainName { domain });

/// To which hosts the clients of one provider upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderAssetUploadDomains {
    /// The provider.
    pub provider: DomainName,
    /// The hosts.
    pub asset_upload_destinations: Vec<DomainName>,
}

tls_struct!(ProviderAssetUploadDomains {
    provider,
    asset_upload_destinations
});

/// Which ways to fetch assets are acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadPrivacy {
    /// Those that are.
    pub allowed_download_types: Vec<DownloadPrivacyType>,
    /// Those that are not.
    pub forbidden_download_types: Vec<DownloadPrivacyType>,
    /// The suggested one.
    pub default_download_type: DownloadPrivacyType,
}

tls_struct!(DownloadPrivacy {
    allowed_download_types,
    forbidden_download_types,
    default_download_type
});

/// A parameter of a media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaTypeParameter {
    /// Its name.
    pub parameter_name: String,
    /// Its value, never quoted.
    pub parameter_value: Vec<u8>,
}

tls_struct!(MediaTypeParameter {
    parameter_name,
    parameter_value
});

/// A media type (draft-ietf-mls-extensions, section 6.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    /// Type, slash, subtype.
    pub media_type: String,
    /// Its parameters.
    pub parameters: Vec<MediaTypeParameter>,
}

tls_struct!(MediaType { media_type, parameters });

impl MediaType {
    /// A media type without parameters.
    pub fn new(media_type: &str) -> Self {
        MediaType {
            media_type: media_type.to_owned(),
            parameters: Vec::new(),
        }
    }

    /// Whether an entry of a list covers `other`: one without parameters covers all of its type and subtype.
    fn covers(&self, other: &MediaType) -> bool {
        let same = self.media_type.eq_ignore_ascii_case(&other.media_type);
        same && (self.parameters.is_empty() || self.parameters == other.parameters)
    }
}

/// Rules on files in messages; also the update, which replaces them. Sizes are in octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetPolicy {
    /// Where they are uploaded to.
    pub asset_upload_location: AssetUploadLocation,
    /// Which hosts that means.
    pub upload_domains: Vec<ProviderAssetUploadDomains>,
    /// How they are fetched.
    pub download_privacy: DownloadPrivacy,
    /// The largest image.
    pub max_image: u64,
    /// The largest sound.
    pub max_audio: u64,
    /// The largest film.
    pub max_video: u64,
    /// The largest of anything else.
    pub max_attachment: u64,
    /// Not allowed at all.
    pub forbidden_media_types: Vec<MediaType>,
    /// If there, nothing else is allowed.
    pub permitted_media_types: Option<Vec<MediaType>>,
}

impl AssetPolicy {
    /// Section 6.4: "media types MUST be one of the entries in the `permitted_media_types` list, and MUST NOT be in the
    /// `forbidden_media_types` list."
    pub fn permits(&self, media_type: &MediaType) -> bool {
        let in_list = |list: &[MediaType]| list.iter().any(|entry| entry.covers(media_type));
        !in_list(&self.forbidden_media_types)
            && self
                .permitted_media_types
                .as_ref()
                .is_none_or(|permitted| in_list(permitted))
    }

    /// Section 6.4: whether an asset that a user of `provider` has sent may be at `host`.
    pub fn permits_host(&self, provider: &str, host: &str) -> bool {
        let same = |name: &DomainName, other: &str| name.domain.eq_ignore_ascii_case(other);
        let mut domains = self.upload_domains.iter();
        let holds = |domains: &ProviderAssetUploadDomains| {
            domains
                .asset_upload_destinations
                .iter()
                .any(|domain| same(domain, host))
        };
        match self.asset_upload_location {
            AssetUploadLocation::Unspecified => true,
            AssetUploadLocation::LocalProvider => {
                domains.any(|domains| same(&domains.provider, provider) && holds(domains))
            }
            AssetUploadLocation::Hub => domains.any(holds),
        }
    }
}

impl Encode for AssetPolicy {
    fn encode(&self, out: &mut Writer) {
        self.asset_upload_location.encode(out);
        self.upload_domains.encode(out);
        self.download_privacy.encode(out);
        self.max_image.encode(out);
        self.max_audio.encode(out);
        self.max_video.encode(out);
        self.max_attachment.encode(out);
        self.forbidden_media_types.encode(out);
        self.permitted_media_types.encode(out);
    }
}

impl Decode for AssetPolicy {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let policy = AssetPolicy {
            asset_upload_location: AssetUploadLocation::decode(reader)?,
            upload_domains: Vec::decode(reader)?,
            download_privacy: DownloadPrivacy::decode(reader)?,
            max_image: u64::decode(reader)?,
            max_audio: u64::decode(reader)?,
            max_video: u64::decode(reader)?,
            max_attachment: u64::decode(reader)?,
            forbidden_media_types: Vec::decode(reader)?,
            permitted_media_types: Option::decode(reader)?,
        };
        let invalid = |what, why| Err(Error::Invalid { what, why });
        if policy.asset_upload_location == AssetUploadLocation::Hub && policy.upload_domains.len() != 1 {
            return invalid("upload_domains", "the hub is not the only provider");
        }
        let privacy = &policy.download_privacy;
        let forbidden = |download: &DownloadPrivacyType| privacy.forbidden_download_types.contains(download);
        if forbidden(&privacy.default_download_type) || privacy.allowed_download_types.iter().any(forbidden) {
            return invalid("download_privacy", "a download type is allowed and forbidden");
        }
        Ok(policy)
    }
}
