//! Why a provider gave no answer, told apart as far as the reaction differs.

use std::{error::Error, io, sync::Arc};

use http::StatusCode;

/// No answer from a provider.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// The answer has more bytes than we take.
    #[error("the answer has more than {bytes_max} bytes")]
    AnswerTooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The client cannot be set up with the certificates in force.
    #[error("cannot set up the client: {0}")]
    Client(#[source] Arc<reqwest::Error>),
    /// Nobody could be reached: the name has no address, or nothing takes connections there.
    #[error("cannot connect: {reason}")]
    Connect {
        /// What the system says.
        reason: String,
    },
    /// The provider answered, but with no directory.
    #[error("the directory was answered with status {status}")]
    DirectoryStatus {
        /// Its status.
        status: StatusCode,
    },
    /// The connection was made and broke, or HTTP was violated: whether the request arrived is unknown.
    #[error("the request broke off: {reason}")]
    Interrupted {
        /// What the client says.
        reason: String,
    },
    /// The directory is not one: not JSON, URLs missing, or not `https`.
    #[error("invalid directory: {problem}")]
    InvalidDirectory {
        /// What is wrong.
        problem: String,
    },
    /// The directory does not have the endpoint.
    #[error("the provider does not offer the endpoint")]
    NotOffered,
    /// No answer in time: whether the request arrived is unknown.
    #[error("no answer in time")]
    Timeout,
    /// One side refused the other's certificate, or there is no common TLS.
    #[error("TLS failed: {reason}")]
    Tls {
        /// What TLS says.
        reason: String,
    },
}

impl PeerError {
    pub(crate) fn from_http(error: &reqwest::Error) -> Self {
        if let Some(tls) = tls_cause(error) {
            return Self::Tls {
                reason: tls.to_string(),
            };
        }
        if error.is_timeout() {
            return Self::Timeout;
        }
        let reason = innermost(error);
        // An alert that comes when HTTP/2 has begun, as one about our certificate does, has only its text left.
        if reason.starts_with("received fatal alert: ") {
            return Self::Tls { reason };
        }
        if error.is_connect() {
            Self::Connect { reason }
        } else {
            Self::Interrupted { reason }
        }
    }
}

/// An error and what is behind it, from the outside in.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // The error inside an `io::Error` is not among its sources, only that one's source is.
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inside
            .map(|inside| inside as &(dyn Error + 'static))
            .or_else(move || error.source())
    })
}

fn tls_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// The outer ones say that a request failed, which goes without saying.
fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}
