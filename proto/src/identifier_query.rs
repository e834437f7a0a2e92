//! `POST /identifierQuery/{domain}` (draft-ietf-mimi-protocol, section 5.8).

use crate::Error;
use crate::components::AppDataDictionary;
use crate::tls::{Decode, Encode, Reader, Writer, tls_enum, tls_struct};
use crate::uri::UserUri;

/// The most elements of one query.
pub const MAX_QUERY_ELEMENTS: usize = 16;

/// The longest name or value of a profile field or of a query, in octets.
pub const MAX_FIELD_LEN: usize = 1024;

tls_enum! {
    /// By what users are searched.
    pub enum SearchIdentifierType: u8 {
        /// The whole handle URI.
        Handle = 1,
        /// The nickname, or the user part of a handle.
        Nick = 2,
        /// An `addr-spec`.
        Email = 3,
        /// A telephone number with its "+".
        Phone = 4,
        /// A part of any name, in upper or lower case.
        PartialName = 5,
        /// A part of any searchable field.
        WholeProfile = 6,
        /// A UserInfo standard claim of OpenID Connect.
        OidcStdClaim = 7,
        /// A vCard property.
        VcardField = 8,
    }
}

/// What is searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchType {
    /// The whole handle URI.
    Handle,
    /// The nickname, or the user part of a handle.
    Nick,
    /// An `addr-spec`.
    Email,
    /// A telephone number with its "+".
    Phone,
    /// A part of any name.
    PartialName,
    /// A part of any searchable field.
    WholeProfile,
    /// This claim.
    OidcStdClaim(String),
    /// This property.
    VcardField(String),
}

impl SearchType {
    /// The type without the field's name.
    pub fn identifier_type(&self) -> SearchIdentifierType {
        match self {
            SearchType::Handle => SearchIdentifierType::Handle,
            SearchType::Nick => SearchIdentifierType::Nick,
            SearchType::Email => SearchIdentifierType::Email,
            SearchType::Phone => SearchIdentifierType::Phone,
            SearchType::PartialName => SearchIdentifierType::PartialName,
            SearchType::WholeProfile => SearchIdentifierType::WholeProfile,
            SearchType::OidcStdClaim(_) => SearchIdentifierType::OidcStdClaim,
            SearchType::VcardField(_) => SearchIdentifierType::VcardField,
        }
    }
}

/// One condition of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryElement {
    /// What is searched.
    pub search_type: SearchType,
    /// For what.
    pub search_value: String,
}

impl Encode for QueryElement {
    fn encode(&self, out: &mut Writer) {
        self.search_type.identifier_type().encode(out);
        if let SearchType::OidcStdClaim(name) | SearchType::VcardField(name) = &self.search_type {
            name.encode(out);
        }
        self.search_value.encode(out);
    }
}

impl Decode for QueryElement {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let search_type = match SearchIdentifierType::decode(reader)? {
            SearchIdentifierType::Handle => SearchType::Handle,
            SearchIdentifierType::Nick => SearchType::Nick,
            SearchIdentifierType::Email => SearchType::Email,
            SearchIdentifierType::Phone => SearchType::Phone,
            SearchIdentifierType::PartialName => SearchType::PartialName,
            SearchIdentifierType::WholeProfile => SearchType::WholeProfile,
            SearchIdentifierType::OidcStdClaim => SearchType::OidcStdClaim(bounded("claimName", reader)?),
            SearchIdentifierType::VcardField => SearchType::VcardField(bounded("propertyName", reader)?),
        };
        Ok(QueryElement {
            search_type,
            search_value: bounded("searchValue", reader)?,
        })
    }
}

fn bounded(what: &'static str, reader: &mut Reader<'_>) -> Result<String, Error> {
    let text = String::decode(reader)?;
    check_limit(what, text.len(), MAX_FIELD_LEN)?;
    Ok(text)
}

fn check_limit(what: &'static str, value: usize, limit: usize) -> Result<(), Error> {
    if value > limit {
        return Err(Error::Limit { what, value, limit });
    }
    Ok(())
}

/// A query: users that meet all conditions are searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifierRequest {
    /// The conditions, at least one.
    pub query_elements: Vec<QueryElement>,
    /// An extension point.
    pub id_request_extensions: AppDataDictionary,
}

impl Encode for IdentifierRequest {
    fn encode(&self, out: &mut Writer) {
        self.query_elements.encode(out);
        self.id_request_extensions.encode(out);
    }
}

impl Decode for IdentifierRequest {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let query_elements: Vec<QueryElement> = Vec::decode(reader)?;
        check_limit("query_elements", query_elements.len(), MAX_QUERY_ELEMENTS)?;
        if query_elements.is_empty() {
            return Err(Error::Invalid {
                what: "query_elements",
                why: "it is empty",
            });
        }
        Ok(IdentifierRequest {
            query_elements,
            id_request_extensions: Decode::decode(reader)?,
        })
    }
}

tls_enum! {
    /// How the query went.
    pub enum IdentifierQueryCode: u8 {
        /// At least one user matches.
        Success = 0,
        /// None does.
        NotFound = 1,
        /// A field, or several together, must match exactly.
        Ambiguous = 2,
        /// The query, or one of its fields, is not allowed.
        Forbidden = 3,
        /// One of the fields is not searched here.
        UnsupportedField = 4,
    }
}

tls_enum! {
    /// Where a field's name is defined.
    pub enum FieldSource: u8 {
        /// OpenID Connect Core, 5.1.
        OidcStdClaim = 7,
        /// RFC 6350.
        VcardField = 8,
    }
}

/// A field of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileField {
    /// Where its name is defined.
    pub field_source: FieldSource,
    /// Its name.
    pub field_name: String,
    /// Its value.
    pub field_value: Vec<u8>,
}

tls_struct!(ProfileField {
    field_source,
    field_name,
    field_value
});

/// What is told of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserProfile {
    /// The user.
    pub stable_uri: UserUri,
    /// Its fields, as far as they are shown.
    pub fields: Vec<ProfileField>,
}

tls_struct!(UserProfile { stable_uri, fields });

/// The answer. Only an answer of success names users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifierResponse {
    response_code: IdentifierQueryCode,
    found_profiles: Vec<UserProfile>,
    /// An extension point.
    pub id_response_extensions: AppDataDictionary,
}

impl IdentifierResponse {
    /// The answer that names these users, or that there are none.
    pub fn found(found_profiles: Vec<UserProfile>) -> Self {
        let response_code = match found_profiles.len() {
            0 => IdentifierQueryCode::NotFound,
            _ => IdentifierQueryCode::Success,
        };
        IdentifierResponse {
            response_code,
            found_profiles,
            id_response_extensions: AppDataDictionary::new(),
        }
    }

    /// An answer that names nobody.
    ///
    /// # Errors
    /// If `response_code` says that somebody was found.
    pub fn refused(response_code: IdentifierQueryCode) -> Result<Self, Error> {
        let response = IdentifierResponse {
            response_code,
            ..Self::found(Vec::new())
        };
        response.check()?;
        Ok(response)
    }

    fn check(&self) -> Result<(), Error> {
        if (self.response_code == IdentifierQueryCode::Success) == self.found_profiles.is_empty() {
            return Err(Error::Invalid {
                what: "IdentifierResponse",
                why: "responseCode and foundProfiles disagree",
            });
        }
        Ok(())
    }

    /// How it went.
    pub fn response_code(&self) -> IdentifierQueryCode {
        self.response_code
    }

    /// Who was found.
    pub fn found_profiles(&self) -> &[UserProfile] {
        &self.found_profiles
    }
}

impl Encode for IdentifierResponse {
    fn encode(&self, out: &mut Writer) {
        self.response_code.encode(out);
        let uris = self.found_profiles.iter().map(|profile| profile.stable_uri.clone());
        uris.collect::<Vec<_>>().encode(out);
        self.found_profiles.encode(out);
        self.id_response_extensions.encode(out);
    }
}

impl Decode for IdentifierResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let response_code = IdentifierQueryCode::decode(reader)?;
        let uris: Vec<UserUri> = Vec::decode(reader)?;
        let found_profiles: Vec<UserProfile> = Vec::decode(reader)?;
        if !uris.iter().eq(found_profiles.iter().map(|profile| &profile.stable_uri)) {
            return Err(Error::Invalid {
                what: "IdentifierResponse",
                why: "uri and foundProfiles name different users",
            });
        }
        let response = IdentifierResponse {
            response_code,
            found_profiles,
            id_response_extensions: Decode::decode(reader)?,
        };
        response.check()?;
        Ok(response)
    }
}
