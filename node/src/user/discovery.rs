//! Profiles, and finding users by them (draft-ietf-mimi-protocol, 5.8).
//!
//! A profile is a list of fields named by OpenID Connect or vCard; the draft's other search types are ways to look at some
//! of them. A user says of each field whether it can be searched, whole or in part, and whether it is shown. Pure: the index
//! is kept by [`crate::state_machine`], the records are read by [`crate::service`].

use mimi_hub_proto::uri::UserUri;
use mimi_hub_proto::{
    FieldSource, MAX_FIELD_LEN, ProfileField, QueryElement, SearchIdentifierType, SearchType, UserProfile,
};
use serde::{Deserialize, Serialize};

/// How many fields a profile has.
const FIELDS_MAX: usize = 64;

/// The standard claims of OpenID Connect Core, 5.1.
const CLAIMS: &[&str] = &[
    "sub",
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "email",
    "email_verified",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "phone_number",
    "phone_number_verified",
    "address",
    "updated_at",
];

/// The properties of the vCard registry that describe a person or an organization (RFC 6350, 6; RFC 6474, 6715, 8605, 9554).
const PROPERTIES: &[&str] = &[
    "SOURCE",
    "KIND",
    "FN",
    "N",
    "NICKNAME",
    "PHOTO",
    "BDAY",
    "ANNIVERSARY",
    "GENDER",
    "ADR",
    "TEL",
    "EMAIL",
    "IMPP",
    "LANG",
    "TZ",
    "GEO",
    "TITLE",
    "ROLE",
    "LOGO",
    "ORG",
    "MEMBER",
    "RELATED",
    "CATEGORIES",
    "NOTE",
    "PRODID",
    "REV",
    "SOUND",
    "UID",
    "URL",
    "KEY",
    "FBURL",
    "CALADRURI",
    "CALURI",
    "BIRTHPLACE",
    "DEATHPLACE",
    "DEATHDATE",
    "EXPERTISE",
    "HOBBY",
    "INTEREST",
    "ORG-DIRECTORY",
    "CONTACT-URI",
    "CREATED",
    "GRAMGENDER",
    "LANGUAGE",
    "PRONOUNS",
    "SOCIALPROFILE",
];

/// Where a name is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    Oidc,
    Vcard,
}

/// How a field can be searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Searchable {
    /// Not at all.
    #[default]
    Never,
    /// By its whole value.
    Exact,
    /// By a part of it, too.
    Partial,
}

/// A field of a user's profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub(crate) source: Source,
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) search: Searchable,
    /// Is it told of a user that was found?
    pub(crate) shown: bool,
}

impl Entry {
    fn is(&self, source: Source, names: &[&str]) -> bool {
        self.source == source && names.contains(&self.name.as_str())
    }

    fn is_handle(&self) -> bool {
        self.is(Source::Vcard, &["IMPP"])
    }

    fn is_nick(&self) -> bool {
        self.is(Source::Vcard, &["NICKNAME"]) || self.is(Source::Oidc, &["nickname", "preferred_username"])
    }

    fn is_email(&self) -> bool {
        self.is(Source::Vcard, &["EMAIL"]) || self.is(Source::Oidc, &["email"])
    }

    fn is_phone(&self) -> bool {
        self.is(Source::Vcard, &["TEL"]) || self.is(Source::Oidc, &["phone_number"])
    }

    fn is_name(&self) -> bool {
        let claims = [
            "name",
            "given_name",
            "family_name",
            "middle_name",
            "nickname",
            "preferred_username",
        ];
        self.is(Source::Vcard, &["FN", "N", "NICKNAME"]) || self.is(Source::Oidc, &claims)
    }

    /// The user part of a handle: `alice.smith` of `im:alice.smith@a.example`.
    fn handle_user(&self) -> Option<&str> {
        let (_, rest) = self.value.split_once(':').filter(|_| self.is_handle())?;
        rest.rsplit_once('@').map(|(user, _)| user)
    }

    fn matches(&self, element: &QueryElement) -> bool {
        let value = element.search_value.as_str();
        let exactly = self.value == value;
        let (fits, needs) = match &element.search_type {
            SearchType::Handle => (self.is_handle() && exactly, Searchable::Exact),
            SearchType::Nick => {
                let fits = self.is_nick() && exactly || self.handle_user() == Some(value);
                (fits, Searchable::Exact)
            }
            SearchType::Email => (self.is_email() && exactly, Searchable::Exact),
            SearchType::Phone => (self.is_phone() && exactly, Searchable::Exact),
            SearchType::PartialName => {
                let fits = self.is_name() && self.value.to_lowercase().contains(&value.to_lowercase());
                (fits, Searchable::Partial)
            }
            SearchType::WholeProfile => (self.value.contains(value), Searchable::Partial),
            SearchType::OidcStdClaim(name) => {
                let fits = self.source == Source::Oidc && self.name == *name && exactly;
                (fits, Searchable::Exact)
            }
            SearchType::VcardField(name) => {
                let fits = self.source == Source::Vcard && self.name.eq_ignore_ascii_case(name) && exactly;
                (fits, Searchable::Exact)
            }
        };
        fits && self.search >= needs
    }
}

/// What is wrong with a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadProfile {
    #[error("a profile has at most {FIELDS_MAX} fields")]
    TooMany,
    #[error("{0:?} is neither a standard claim of OpenID Connect nor, in upper case, a registered vCard property")]
    Name(String),
    #[error("the value of {0} is empty, or longer than {MAX_FIELD_LEN} octets")]
    Value(String),
}

/// Checks what a user wants to have as its profile.
pub(crate) fn check(entries: &[Entry]) -> Result<(), BadProfile> {
    if entries.len() > FIELDS_MAX {
        return Err(BadProfile::TooMany);
    }
    for entry in entries {
        let names = match entry.source {
            Source::Oidc => CLAIMS,
            Source::Vcard => PROPERTIES,
        };
        if !names.contains(&entry.name.as_str()) {
            return Err(BadProfile::Name(entry.name.clone()));
        }
        if entry.value.is_empty() || entry.value.len() > MAX_FIELD_LEN {
            return Err(BadProfile::Value(entry.name.clone()));
        }
    }
    Ok(())
}

/// Is the field that the element searches one that profiles have?
pub(crate) fn is_supported(element: &QueryElement) -> bool {
    match &element.search_type {
        SearchType::OidcStdClaim(name) => CLAIMS.contains(&name.as_str()),
        SearchType::VcardField(name) => PROPERTIES.iter().any(|known| known.eq_ignore_ascii_case(name)),
        _ => true,
    }
}

/// "multiple query elements, which all have to match for the request to match (AND semantics)"
pub(crate) fn matches(entries: &[Entry], elements: &[QueryElement]) -> bool {
    elements
        .iter()
        .all(|element| entries.iter().any(|entry| entry.matches(element)))
}

/// What is told of a user that was found.
pub(crate) fn shown(user: &UserUri, entries: &[Entry]) -> UserProfile {
    let shown = entries.iter().filter(|entry| entry.shown).map(|entry| ProfileField {
        field_source: match entry.source {
            Source::Oidc => FieldSource::OidcStdClaim,
            Source::Vcard => FieldSource::VcardField,
        },
        field_name: entry.name.clone(),
        field_value: entry.value.clone().into_bytes(),
    });
    UserProfile {
        stable_uri: user.clone(),
        fields: shown.collect(),
    }
}

/// By which part of a query can users be looked up, instead of looking at all of them?
pub(crate) fn term_of(element: &QueryElement) -> Option<Vec<u8>> {
    let (name, value) = match &element.search_type {
        SearchType::PartialName | SearchType::WholeProfile => return None,
        SearchType::OidcStdClaim(name) => (name.clone(), &element.search_value),
        SearchType::VcardField(name) => (name.to_ascii_uppercase(), &element.search_value),
        _ => (String::new(), &element.search_value),
    };
    Some(term(element.search_type.identifier_type(), &name, value))
}

/// All terms by which the user can be looked up, each once.
pub(crate) fn terms(entries: &[Entry]) -> Vec<Vec<u8>> {
    use SearchIdentifierType as By;
    let mut terms = Vec::new();
    for entry in entries.iter().filter(|entry| entry.search != Searchable::Never) {
        let (by, name) = match entry.source {
            Source::Oidc => (By::OidcStdClaim, entry.name.as_str()),
            Source::Vcard => (By::VcardField, entry.name.as_str()),
        };
        terms.push(term(by, name, &entry.value));
        for (by, fits) in [
            (By::Handle, entry.is_handle()),
            (By::Nick, entry.is_nick()),
            (By::Email, entry.is_email()),
            (By::Phone, entry.is_phone()),
        ] {
            if fits {
                terms.push(term(by, "", &entry.value));
            }
        }
        if let Some(user) = entry.handle_user() {
            terms.push(term(By::Nick, "", user));
        }
    }
    terms.sort_unstable();
    terms.dedup();
    terms
}

/// Can the user be found at all?
pub(crate) fn can_be_found(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| entry.search != Searchable::Never)
}

/// One term never begins another one: the lengths go first.
fn term(by: SearchIdentifierType, name: &str, value: &str) -> Vec<u8> {
    let mut term = vec![by as u8];
    for part in [name, value] {
        // At most MAX_FIELD_LEN octets, which profiles and queries are checked for.
        term.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        term.extend_from_slice(part.as_bytes());
    }
    term
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(source: Source, name: &str, value: &str, search: Searchable) -> Entry {
        Entry {
            source,
            name: name.to_owned(),
            value: value.to_owned(),
            search,
            shown: true,
        }
    }

    fn element(search_type: SearchType, value: &str) -> QueryElement {
        QueryElement {
            search_type,
            search_value: value.to_owned(),
        }
    }

    /// The draft's Xavier can be found by his name and handle.
    fn xavier() -> Vec<Entry> {
        use Searchable::{Exact, Never, Partial};
        use Source::{Oidc, Vcard};
        vec![
            entry(Vcard, "IMPP", "im:xavier.smith@a.example", Exact),
            entry(Vcard, "NICKNAME", "xav", Exact),
            entry(Oidc, "given_name", "Xavier", Partial),
            entry(Oidc, "family_name", "Smith", Partial),
            entry(Oidc, "middle_name", "Secret", Never),
            entry(Vcard, "EMAIL", "xsmith@a.example", Exact),
            entry(Vcard, "TEL", "+12125551212", Exact),
            entry(Vcard, "ORG", "Sales", Partial),
        ]
    }

    /// The semantics of each search type, with what matches and what does not.
    #[test]
    fn protocol_5_8_each_search_type_matches_as_the_draft_says() {
        let claim = |name: &str| SearchType::OidcStdClaim(name.to_owned());
        let property = |name: &str| SearchType::VcardField(name.to_owned());
        let table = [
            (SearchType::Handle, "im:xavier.smith@a.example", true),
            (SearchType::Handle, "im:Xavier.Smith@a.example", false),
            (SearchType::Handle, "xavier.smith", false),
            (SearchType::Nick, "xavier.smith", true),
            (SearchType::Nick, "xav", true),
            (SearchType::Nick, "xa", false),
            (SearchType::Email, "xsmith@a.example", true),
            (SearchType::Email, "xsmith", false),
            (SearchType::Phone, "+12125551212", true),
            (SearchType::Phone, "12125551212", false),
            (SearchType::PartialName, "avi", true),
            (SearchType::PartialName, "SMI", true),
            (SearchType::PartialName, "sales", false),
            (SearchType::PartialName, "secret", false),
            (SearchType::PartialName, "xav", true),
            (SearchType::WholeProfile, "Sal", true),
            (SearchType::WholeProfile, "sal", false),
            (SearchType::WholeProfile, "xsmith", false),
            (claim("given_name"), "Xavier", true),
            (claim("given_name"), "xavier", false),
            (claim("given_name"), "Smith", false),
            (claim("middle_name"), "Secret", false),
            (property("ORG"), "Sales", true),
            (property("org"), "Sales", true),
            (property("ORG"), "Sale", false),
            (property("NOTE"), "Sales", false),
        ];
        for (search_type, value, wanted) in table {
            let element = element(search_type, value);
            assert_eq!(
                matches(&xavier(), std::slice::from_ref(&element)),
                wanted,
                "{element:?}"
            );
            // What can be looked up is found in the index if and only if it matches.
            if let Some(term) = term_of(&element) {
                assert_eq!(terms(&xavier()).contains(&term), wanted, "{element:?}");
            }
        }
    }

    #[test]
    fn protocol_5_8_all_elements_have_to_match() {
        let first = element(SearchType::OidcStdClaim("given_name".to_owned()), "Xavier");
        let org = element(SearchType::VcardField("ORG".to_owned()), "Sales");
        let other = element(SearchType::VcardField("ORG".to_owned()), "Support");
        assert!(matches(&xavier(), &[first.clone(), org]));
        assert!(!matches(&xavier(), &[first, other]));
    }

    /// "Zach does not wish to be queryable at all."
    #[test]
    fn protocol_5_8_who_does_not_want_to_be_found_is_in_no_index() {
        let zach: Vec<Entry> = xavier()
            .into_iter()
            .map(|entry| Entry {
                search: Searchable::Never,
                ..entry
            })
            .collect();
        assert!(!can_be_found(&zach) && terms(&zach).is_empty());
        assert!(!matches(
            &zach,
            &[element(SearchType::Handle, "im:xavier.smith@a.example")]
        ));
    }

    #[test]
    fn only_what_is_shown_is_told() {
        let mut entries = xavier();
        entries[5].shown = false;
        let user = "mimi://a.example/u/x".parse().unwrap();
        let shown = shown(&user, &entries);
        assert_eq!(shown.fields.len(), entries.len() - 1);
        assert!(shown.fields.iter().all(|field| field.field_name != "EMAIL"));
    }

    #[test]
    fn profiles_hold_known_fields_of_bounded_size() {
        assert_eq!(check(&xavier()), Ok(()));
        let bad = |name: &str, value: &str| check(&[entry(Source::Oidc, name, value, Searchable::Exact)]);
        assert!(matches!(bad("shoe_size", "44"), Err(BadProfile::Name(_))));
        assert!(matches!(bad("name", ""), Err(BadProfile::Value(_))));
        assert!(matches!(bad("name", &"x".repeat(1_025)), Err(BadProfile::Value(_))));
        let many = vec![xavier()[0].clone(); 65];
        assert_eq!(check(&many), Err(BadProfile::TooMany));
    }

    #[test]
    fn no_term_begins_another_one() {
        let short = term(SearchIdentifierType::Nick, "", "a");
        let long = term(SearchIdentifierType::Nick, "", "ab");
        assert!(!long.starts_with(&short));
    }
}
