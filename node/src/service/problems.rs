//! The problems of operations, one constructor a cause; those of the edge are in [`crate::front::problem`].

use http::StatusCode;

use crate::front::problem::Problem;

type Detail<'a> = &'a dyn std::fmt::Display;

impl Problem {
    /// The body, or a part of it, is not what the draft says.
    pub(crate) fn malformed(error: Detail<'_>) -> Self {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed-body",
            "Malformed request body",
            error.to_string(),
        )
    }

    /// The path does not name what the endpoint is about.
    pub(crate) fn malformed_path(error: Detail<'_>) -> Self {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed-path",
            "Malformed request path",
            error.to_string(),
        )
    }

    /// A signature in the body does not verify.
    pub(crate) fn bad_signature() -> Self {
        let detail = "the signature does not verify with the key in the request and any of its cipher suites";
        Problem::new(StatusCode::FORBIDDEN, "bad-signature", "Invalid signature", detail)
    }

    /// The body speaks for another provider than the one that sent it.
    pub(crate) fn wrong_source(source: &str, field: &str) -> Self {
        let detail = format!("{field} is not of {source}, which sent the request");
        Problem::new(
            StatusCode::FORBIDDEN,
            "wrong-source",
            "Not the provider of what the body names",
            detail,
        )
    }

    /// The body speaks for another user than the gateway.
    pub(crate) fn wrong_user(user: &str, field: &str) -> Self {
        let detail = format!("{field} is not {user}, for whom the gateway speaks");
        Problem::new(
            StatusCode::FORBIDDEN,
            "wrong-user",
            "Not the user of what the body names",
            detail,
        )
    }

    /// `Mimi-User` is missing or not a user of ours.
    pub(crate) fn no_user(error: Detail<'_>) -> Self {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "mimi-user",
            "The Mimi-User header is missing or wrong",
            error.to_string(),
        )
    }

    /// Another provider's user, room or client.
    pub(crate) fn not_our_user(uri: &str) -> Self {
        let detail = format!("{uri} is not of a domain that this provider serves");
        Problem::new(StatusCode::NOT_FOUND, "not-served", "Not of this provider", detail)
    }

    /// The room's policy does not let the user do this.
    pub(crate) fn forbidden_by_policy(reason: &str) -> Self {
        Problem::new(
            StatusCode::FORBIDDEN,
            "room-policy",
            "The room's policy does not allow this",
            reason.to_owned(),
        )
    }

    /// A join code of this name is there.
    pub(crate) fn join_code_exists(id: &str) -> Self {
        let detail = format!("the room has a join code {id} already");
        Problem::new(StatusCode::CONFLICT, "join-code-exists", "Join code exists", detail)
    }

    /// No join code of this name.
    pub(crate) fn no_such_join_code(id: &str) -> Self {
        let detail = format!("the room has no join code {id}");
        Problem::new(StatusCode::NOT_FOUND, "no-such-join-code", "No such join code", detail)
    }

    /// A join code that the room cannot have.
    pub(crate) fn bad_join_code(reason: &str) -> Self {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad-join-code",
            "The room cannot have this join code",
            reason.to_owned(),
        )
    }

    /// Another provider hosts the room.
    pub(crate) fn not_hosted_here(room: &str) -> Self {
        let detail = format!("{room} is hosted by the provider of its URI");
        Problem::new(
            StatusCode::NOT_FOUND,
            "not-hosted-here",
            "The room is hosted elsewhere",
            detail,
        )
    }

    /// No such room here.
    pub(crate) fn no_such_room(room: &str) -> Self {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-room",
            "No such room",
            format!("there is no room {room}"),
        )
    }

    /// The room is there already.
    pub(crate) fn room_exists(room: &str) -> Self {
        Problem::new(
            StatusCode::CONFLICT,
            "room-exists",
            "The room exists",
            format!("there is a room {room} already"),
        )
    }

    /// The group does not make a room.
    pub(crate) fn bad_room(reason: Detail<'_>) -> Self {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad-room",
            "Not the group of a room",
            reason.to_string(),
        )
    }

    /// Only the hub of a room notifies.
    pub(crate) fn not_the_hub(source: &str, room: &str) -> Self {
        let detail = format!("{source} is not the hub of {room}");
        Problem::new(StatusCode::FORBIDDEN, "not-the-hub", "Not the room's hub", detail)
    }

    /// Nobody here takes part in the room.
    pub(crate) fn no_participants(room: &str) -> Self {
        let detail = format!("no user of this provider takes part in {room}");
        Problem::new(StatusCode::NOT_FOUND, "no-participants", "No participants here", detail)
    }

    /// No such user.
    pub(crate) fn no_such_user(user: &str) -> Self {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-user",
            "No such user",
            format!("there is no user {user}"),
        )
    }

    /// No such client.
    pub(crate) fn no_such_client(client: &str) -> Self {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-client",
            "No such client",
            format!("there is no client {client}"),
        )
    }

    /// A KeyPackage is not taken.
    pub(crate) fn bad_key_package(reason: Detail<'_>) -> Self {
        let detail = format!("a KeyPackage is refused, and with it the whole list: {reason}");
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad-key-package",
            "KeyPackage refused",
            detail,
        )
    }

    /// A limit is reached.
    pub(crate) fn too_many(what: &str) -> Self {
        let detail = format!("the limit on {what} is reached");
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "limit-reached",
            "Limit reached",
            detail,
        )
    }

    /// The requester's HPKE key is of no use.
    pub(crate) fn unsealable() -> Self {
        let detail = "groupInfoPublicKey is not a public key of the request's cipher suite";
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-hpke-key",
            "Nothing can be encrypted to the requester's key",
            detail,
        )
    }

    /// The room's policy lets the user not report abuse.
    pub(crate) fn may_not_report(room: &str) -> Self {
        let detail = format!("the policy of {room} does not let the reporting user report abuse");
        Problem::new(StatusCode::FORBIDDEN, "may-not-report", "Reporting not allowed", detail)
    }

    /// No such abuse report.
    pub(crate) fn no_such_report() -> Self {
        let detail = "there is no such report, or it has been closed";
        Problem::new(StatusCode::NOT_FOUND, "no-such-report", "No such report", detail)
    }

    /// No such consent request.
    pub(crate) fn no_such_request() -> Self {
        let detail = "there is no consent request for this user and room that could be cancelled";
        Problem::new(StatusCode::NOT_FOUND, "no-such-request", "No such request", detail)
    }

    /// What a profile may not hold.
    pub(crate) fn bad_profile(reason: Detail<'_>) -> Self {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad-profile",
            "Profile refused",
            reason.to_string(),
        )
    }

    /// A key cannot be replaced.
    pub(crate) fn cannot_rotate(reason: Detail<'_>) -> Self {
        Problem::new(
            StatusCode::CONFLICT,
            "cannot-rotate",
            "The key was not replaced",
            reason.to_string(),
        )
    }

    /// The other provider has no such endpoint.
    pub(crate) fn not_offered(provider: &str) -> Self {
        let detail = format!("the directory of {provider} does not have the endpoint");
        Problem::new(
            StatusCode::BAD_GATEWAY,
            "not-offered",
            "Not offered by another provider",
            detail,
        )
    }

    /// Between two leaders, or stopping.
    pub(crate) fn unavailable() -> Self {
        let detail = "what was asked for is not available at the moment; the same request may be sent again";
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Temporarily unavailable",
            detail,
        )
    }

    /// Too much to do.
    pub(crate) fn overloaded() -> Self {
        let detail = "too many requests are waiting; the same request may be sent again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Overloaded", detail)
    }

    /// A mistake of ours.
    pub(crate) fn internal() -> Self {
        let detail = "the request could not be handled; the operator's log says why";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// The other provider's answer is not one.
    pub(crate) fn bad_gateway(provider: &str, error: Detail<'_>) -> Self {
        let detail = format!("the answer of {provider} is not valid: {error}");
        Problem::new(
            StatusCode::BAD_GATEWAY,
            "bad-gateway",
            "Invalid answer of another provider",
            detail,
        )
    }

    /// The other provider refuses.
    pub(crate) fn peer_refused(provider: &str, status: StatusCode) -> Self {
        let detail = format!("{provider} answered {status}");
        Problem::new(
            StatusCode::BAD_GATEWAY,
            "peer-refused",
            "Refused by another provider",
            detail,
        )
    }

    /// The other provider cannot be reached.
    pub(crate) fn peer_unavailable(provider: &str) -> Self {
        let detail = format!("{provider} gave no answer; the same request may be sent again");
        Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "peer-unavailable",
            "Another provider gave no answer",
            detail,
        )
    }
}
