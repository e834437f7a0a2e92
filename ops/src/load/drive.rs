//! The clients: each sends, waits, and sends again, until the time is over or the messages are.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use mimi_hub_proto::SubmitMessageResponse;
use mimi_hub_proto::tls::decode_exact;

use super::cpu;
use super::prepare::Message;
use crate::OpsError;
use crate::client::{Gateway, GatewaySettings, RetryPolicy};

/// What a client sends to, one request at a time.
pub(super) trait Target: Clone + Send + 'static {
    /// What it sends.
    type Request: Send + 'static;

    /// Sends it, once, and waits until it is acknowledged.
    fn send(&self, request: Self::Request) -> impl Future<Output = Result<(), String>> + Send;
}

/// What the clients saw.
#[derive(Debug, Default)]
pub(super) struct Driven {
    pub(super) acked: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    pub(super) elapsed: Duration,
    pub(super) client_cores: f64,
    pub(super) server_cores: f64,
    /// Times from sending to acknowledgement, sorted.
    latencies: Vec<Duration>,
}

impl Driven {
    /// The time within which this share of the messages was acknowledged, in milliseconds.
    pub(super) fn percentile_ms(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let index = (last as f64 * share).round() as usize;
        self.latencies
            .get(index)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
    }
}

/// One gateway a client, so that each has a connection of its own.
pub(super) fn connect(settings: &GatewaySettings, clients: u32) -> Result<Vec<Gateway>, OpsError> {
    let settings = GatewaySettings {
        retry: RetryPolicy::never(),
        ..settings.clone()
    };
    let mut urls: Vec<String> = std::iter::once(settings.url.clone())
        .chain(settings.more_urls.clone())
        .collect();
    let gateway = |_| {
        // Evenly over the nodes, as a balancer in front of them would.
        urls.rotate_left(1);
        let (url, more_urls) = (urls[0].clone(), urls[1..].to_vec());
        Gateway::new(&GatewaySettings {
            url,
            more_urls,
            ..settings.clone()
        })
    };
    (0..clients).map(gateway).collect()
}

/// Has the clients send the requests, each one at a time, for `time` at most. `servers` are the server's processes.
pub(super) async fn drive<T: Target>(
    clients: &[T],
    requests: Vec<T::Request>,
    time: Duration,
    servers: &[u32],
) -> Result<Driven, OpsError> {
    let queue = Arc::new(Mutex::new(requests.into_iter()));
    let used = |pids: &[u32]| pids.iter().filter_map(|pid| cpu::used(*pid)).sum::<Duration>();
    let own = [std::process::id()];
    let (client_before, server_before) = (used(&own), used(servers));
    let started = Instant::now();
    let deadline = started + time;
    let mut tasks = Vec::new();
    for client in clients {
        let client = client.clone();
        let queue = Arc::clone(&queue);
        tasks.push(tokio::spawn(async move {
            let mut seen = Driven::default();
            while Instant::now() < deadline {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(request) = next else { break };
                let sent = Instant::now();
                match client.send(request).await {
                    Ok(()) => seen.latencies.push(sent.elapsed()),
                    Err(error) => {
                        seen.errors += 1;
                        seen.first_error.get_or_insert(error);
                    }
                }
            }
            seen
        }));
    }
    let mut all = Driven::default();
    for task in tasks {
        let seen = task
            .await
            .map_err(|error| OpsError::Usage(format!("a client failed: {error}")))?;
        all.errors += seen.errors;
        all.latencies.extend(seen.latencies);
        all.first_error = all.first_error.or(seen.first_error);
    }
    all.elapsed = started.elapsed();
    let cores =
        |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() / all.elapsed.as_secs_f64();
    all.client_cores = cores(client_before, used(&own));
    all.server_cores = cores(server_before, used(servers));
    all.acked = all.latencies.len() as u64;
    all.latencies.sort_unstable();
    Ok(all)
}

impl Target for Gateway {
    type Request = Message;

    async fn send(&self, message: Message) -> Result<(), String> {
        let answer = self.submit_message(&message.user, &message.room, message.body).await;
        let answer = answer.map_err(|error| error.to_string())?;
        match decode_exact(&answer) {
            Ok(SubmitMessageResponse::Accepted { .. }) => Ok(()),
            Ok(other) => Err(format!("the hub answered {:?}", other.status_code())),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_latencies() {
        let latencies = (1..=100).map(Duration::from_millis).collect();
        let driven = Driven {
            latencies,
            ..Driven::default()
        };
        assert!((driven.percentile_ms(0.5) - 51.0).abs() < 1.01);
        assert!((driven.percentile_ms(0.99) - 99.0).abs() < 1.01);
        assert!((driven.percentile_ms(1.0) - 100.0).abs() < 1e-9);
        assert!(Driven::default().percentile_ms(0.5).abs() < 1e-9);
    }
}
