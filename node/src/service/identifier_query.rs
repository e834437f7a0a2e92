//! `POST /v1/identifierQuery/{domain}` (draft-ietf-mimi-protocol, 5.8): finding users of this provider, by what they want to be
//! found by.
//!
//! Profiles are with their users, in as many shards; so are the terms by which they can be looked up. A query asks all shards
//! and puts the answers together. What keeps the users from being listed: a query for a part needs some characters, an answer
//! names few users or none, and a provider may ask so often.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use mimi_hub_cluster::ShardId;
use mimi_hub_proto::uri::{ProviderDomain, UserUri};
use mimi_hub_proto::{
    IdentifierQueryCode, IdentifierRequest, IdentifierResponse, QueryElement, SearchIdentifierType, SearchType, tls,
};

use super::scan::{self, Found, FoundProfile, Scan};
use super::users::{self, Changed};
use super::{relay, unexpected};
use crate::actor::Reply;
use crate::config::SearchBy;
use crate::front::problem::Problem;
use crate::hub::Hub;
use crate::peer::Endpoint;
use crate::user::discovery::{self, Entry};
use crate::user::{UserAnswer, UserRequest};

/// As the provider that is searched.
pub(crate) async fn at_provider(hub: &Arc<Hub>, domain: &ProviderDomain, body: &Bytes) -> Result<Bytes, Problem> {
    if !hub.is_local(domain) {
        return Err(Problem::not_our_user(domain.as_str()));
    }
    let query: IdentifierRequest = tls::decode_exact(body).map_err(|error| Problem::malformed(&error))?;
    let response = match refusal(hub, &query) {
        Some(code) => IdentifierResponse::refused(code).map_err(|error| unexpected(&error))?,
        None => search(hub, domain, query).await?,
    };
    Ok(tls::encode(&response).into())
}

/// For a local user: at the provider of the domain.
pub(crate) async fn for_user(
    hub: &Arc<Hub>,
    user: &UserUri,
    domain: &ProviderDomain,
    body: Bytes,
) -> Result<Bytes, Problem> {
    if hub.is_local(domain) {
        return at_provider(hub, domain, &body).await;
    }
    let _: IdentifierRequest = tls::decode_exact(&body).map_err(|error| Problem::malformed(&error))?;
    relay(
        hub,
        &user.provider(),
        domain,
        Endpoint::IdentifierQuery,
        domain.as_str(),
        body,
    )
    .await
}

/// Sets a local user's profile.
pub(crate) async fn set_profile(hub: &Arc<Hub>, user: &UserUri, entries: Vec<Entry>) -> Result<Changed, Problem> {
    users::change(hub, user, None, UserRequest::SetProfile(entries)).await
}

/// A local user's profile.
pub(crate) async fn profile(hub: &Arc<Hub>, user: &UserUri) -> Result<Vec<Entry>, Problem> {
    match hub.ask_user(user, None, UserRequest::Profile).await? {
        Reply::Answer(UserAnswer::Profile(entries)) => Ok(entries),
        Reply::Answer(UserAnswer::Unknown) => Err(Problem::no_such_user(user.as_str())),
        other => Err(unexpected(&other)),
    }
}

/// Why the query is not carried out, if it is not.
fn refusal(hub: &Hub, query: &IdentifierRequest) -> Option<IdentifierQueryCode> {
    let config = &hub.config().discovery;
    let any = |holds: &dyn Fn(&QueryElement) -> bool| query.query_elements.iter().any(holds);
    if any(&|element| !config.search.contains(&by(element))) {
        return Some(IdentifierQueryCode::Forbidden);
    }
    if any(&|element| !discovery::is_supported(element)) {
        return Some(IdentifierQueryCode::UnsupportedField);
    }
    let too_short = |element: &QueryElement| {
        matches!(element.search_type, SearchType::PartialName | SearchType::WholeProfile)
            && element.search_value.chars().count() < config.partial_chars_min
    };
    any(&too_short).then_some(IdentifierQueryCode::Ambiguous)
}

fn by(element: &QueryElement) -> SearchBy {
    match element.search_type.identifier_type() {
        SearchIdentifierType::Handle => SearchBy::Handle,
        SearchIdentifierType::Nick => SearchBy::Nick,
        SearchIdentifierType::Email => SearchBy::Email,
        SearchIdentifierType::Phone => SearchBy::Phone,
        SearchIdentifierType::PartialName => SearchBy::PartialName,
        SearchIdentifierType::WholeProfile => SearchBy::WholeProfile,
        SearchIdentifierType::OidcStdClaim => SearchBy::OidcStdClaim,
        SearchIdentifierType::VcardField => SearchBy::VcardField,
    }
}

async fn search(
    hub: &Arc<Hub>,
    domain: &ProviderDomain,
    query: IdentifierRequest,
) -> Result<IdentifierResponse, Problem> {
    let config = &hub.config().discovery;
    let scan = |shard: ShardId| Scan::Users {
        shard: shard.0,
        domain: domain.clone(),
        query: query.clone(),
        limit: config.results_max,
        profiles_max: config.profiles_max,
    };
    let found: Vec<Found> = scan::everywhere(hub, scan).await?;
    let more = found.iter().any(|found| found.more);
    let mut profiles: Vec<_> = found
        .into_iter()
        .flat_map(|found| found.profiles)
        .map(|FoundProfile(profile)| profile)
        .collect();
    if more || profiles.len() > config.results_max {
        return IdentifierResponse::refused(IdentifierQueryCode::Ambiguous).map_err(|error| unexpected(&error));
    }
    profiles.sort_by(|one, other| one.stable_uri.cmp(&other.stable_uri));
    let mut named = BTreeSet::new();
    profiles.retain(|profile| named.insert(profile.stable_uri.clone()));
    Ok(IdentifierResponse::found(profiles))
}
