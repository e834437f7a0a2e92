//! How many requests one provider may send.
//!
//! One token bucket per source provider. The sources are authenticated before they get here, so a provider cannot
//! spend another's tokens; it can at most make itself many names under a wildcard certificate, which costs us no more
//! than [`PROVIDERS_MAX`] buckets.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use mimi_hub_proto::uri::ProviderDomain;

use super::{identity::Source, problem::Problem};
use crate::{config::LimitsConfig, recent::RecentMap};

/// Buckets held at once. A provider whose bucket is forgotten starts with a full one.
const PROVIDERS_MAX: usize = 10_000;

/// The buckets of all providers.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    per_second: f64,
    burst: f64,
    /// Tokens left, as of the entry's last use.
    buckets: Mutex<RecentMap<ProviderDomain, f64>>,
}

impl RateLimiter {
    /// As configured; `None` when requests are not limited.
    pub(crate) fn new(limits: &LimitsConfig) -> Option<Arc<Self>> {
        let per_second = limits.requests_per_second_per_provider;
        (per_second > 0).then(|| {
            Arc::new(Self {
                per_second: f64::from(per_second),
                burst: f64::from(limits.requests_burst_per_provider.max(1)),
                buckets: Mutex::new(RecentMap::new(PROVIDERS_MAX)),
            })
        })
    }

    /// So many requests a minute, all of which may come at once; `None` for 0.
    pub(crate) fn per_minute(requests: u32) -> Option<Arc<Self>> {
        (requests > 0).then(|| {
            Arc::new(Self {
                per_second: f64::from(requests) / 60.0,
                burst: f64::from(requests),
                buckets: Mutex::new(RecentMap::new(PROVIDERS_MAX)),
            })
        })
    }

    /// Takes a token of `source`.
    ///
    /// # Errors
    /// There is none; the time until there is one.
    pub(crate) fn take(&self, source: &ProviderDomain, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, idle) = buckets.entry(source, now, || self.burst);
        *tokens = (*tokens + idle.as_secs_f64() * self.per_second).min(self.burst);
        if *tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - *tokens) / self.per_second));
        }
        *tokens -= 1.0;
        Ok(())
    }
}

/// Middleware behind [`super::identity::authenticate`]: answers 429 with Retry-After when the source has no token left.
pub(crate) async fn limit(State(limiter): State<Arc<RateLimiter>>, request: Request, next: Next) -> Response {
    if let Some(Source(domain)) = request.extensions().get::<Source>()
        && let Err(wait) = limiter.take(domain, Instant::now())
    {
        return Problem::rate_exceeded(wait.as_secs() + 1).into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(per_second: u32, burst: u32) -> Arc<RateLimiter> {
        RateLimiter::new(&LimitsConfig {
            requests_per_second_per_provider: per_second,
            requests_burst_per_provider: burst,
            ..LimitsConfig::default()
        })
        .unwrap()
    }

    fn domain(name: &str) -> ProviderDomain {
        name.parse().unwrap()
    }

    #[test]
    fn zero_means_unlimited() {
        assert!(RateLimiter::new(&LimitsConfig::default()).is_none());
    }

    #[test]
    fn after_the_burst_the_rate_holds() {
        let (limiter, start) = (limiter(10, 3), Instant::now());
        let b = domain("b.example");
        for _ in 0..3 {
            limiter.take(&b, start).unwrap();
        }
        let wait = limiter.take(&b, start).unwrap_err();
        assert!(
            (Duration::from_millis(99)..=Duration::from_millis(101)).contains(&wait),
            "{wait:?}"
        );
        // A refused request costs nothing: a second later there are ten, of which the burst's three are kept.
        for _ in 0..3 {
            limiter.take(&b, start + Duration::from_secs(1)).unwrap();
        }
        limiter.take(&b, start + Duration::from_secs(1)).unwrap_err();
    }

    #[test]
    fn one_provider_does_not_spend_for_another() {
        let (limiter, now) = (limiter(1, 1), Instant::now());
        limiter.take(&domain("b.example"), now).unwrap();
        limiter.take(&domain("b.example"), now).unwrap_err();
        limiter.take(&domain("c.example"), now).unwrap();
    }
}
