//! Connections to peers: one task each, which keeps it up and writes what its queue holds.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::hello::{Class, ConnectError, Hello, PROTOCOLS, Refusal};
use super::network::Shared;
use super::requests::{ForwardError, Link};
use super::wire::{self, Kind, WireError};
use super::{node_name, tls};
use crate::config::NodeId;

const MIN_BACK_OFF: Duration = Duration::from_millis(50);
const MAX_BACK_OFF: Duration = Duration::from_secs(1);
/// Bytes written before they are flushed although more waits.
const FLUSH_BYTES: usize = 1 << 20;
const BUFFER: usize = 64 << 10;

pub(super) struct Dialer {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: NodeId,
    pub(super) class: Class,
    /// Host and port.
    pub(super) address: String,
    pub(super) link: Arc<Link>,
    pub(super) queue: mpsc::Receiver<Bytes>,
}

impl Dialer {
    /// Keeps the connection up until it is dropped.
    pub(super) async fn run(mut self) {
        let mut back_off = MIN_BACK_OFF;
        loop {
            let trouble = match timeout(self.shared.limits.handshake, self.connect()).await {
                Ok(Ok(stream)) => {
                    self.link.up();
                    tracing::info!(peer = %self.peer, class = ?self.class, "connected");
                    let begun = Instant::now();
                    let error = self.serve(stream).await;
                    if begun.elapsed() > MAX_BACK_OFF {
                        back_off = MIN_BACK_OFF;
                    }
                    error.to_string()
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => ConnectError::Timeout.to_string(),
            };
            if self.link.down(trouble.clone()) {
                tracing::warn!(peer = %self.peer, class = ?self.class, address = %self.address, "no connection: {trouble}");
            }
            while let Ok(frame) = self.queue.try_recv() {
                self.link.dequeued(&frame);
            }
            sleep(back_off).await;
            back_off = (back_off * 2).min(MAX_BACK_OFF);
        }
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, ConnectError> {
        let unreachable = |source| ConnectError::Connect {
            address: self.address.clone(),
            source,
        };
        let stream = TcpStream::connect(&self.address).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let name = node_name(self.peer);
        let name = ServerName::try_from(name.clone())
            .map_err(|_| ConnectError::Refused(Refusal::Certificate { from: self.peer, name }.to_string()))?;
        let connector = TlsConnector::from(self.shared.sides.client.clone());
        let mut stream = connector.connect(name, stream).await.map_err(explained)?;
        let hello = Hello {
            protocols: PROTOCOLS,
            cluster: self.shared.cluster,
            from: self.shared.node,
            to: self.peer,
            instance: self.shared.instance,
            shards: self.shared.shards,
            class: self.class,
            now_ms: self.shared.now_ms(),
        };
        let greeted = async {
            wire::write(&mut stream, &wire::frame(Kind::Hello, &[&hello.encode()])).await?;
            stream.flush().await?;
            wire::read(&mut stream, wire::MAX_HELLO).await
        };
        // With TLS 1.3 a refused certificate is told after the handshake.
        let (kind, body) = greeted.await.map_err(|error| match error {
            WireError::Io(error) => explained(error),
            error => error.into(),
        })?;
        match kind {
            Kind::Welcome => Ok(stream),
            Kind::Refusal => Err(ConnectError::Refused(String::from_utf8_lossy(&body).into_owned())),
            _ => Err(WireError::Malformed.into()),
        }
    }

    async fn serve(&mut self, stream: TlsStream<TcpStream>) -> WireError {
        let (reader, writer) = tokio::io::split(stream);
        let (mut reader, mut writer) = (
            BufReader::with_capacity(BUFFER, reader),
            BufWriter::with_capacity(BUFFER, writer),
        );
        let silence = self.shared.limits.silence;
        let (link, queue) = (&self.link, &mut self.queue);
        let reading = read_answers(link, &mut reader, silence);
        let dequeued = |frame: &Bytes| link.dequeued(frame);
        let writing = write_queue(queue, dequeued, &mut writer, Some(self.shared.limits.ping), silence);
        tokio::select! {
            error = reading => error,
            error = writing => error,
        }
    }
}

fn explained(error: io::Error) -> ConnectError {
    match tls::explain(&error) {
        Some(text) => ConnectError::Tls(text),
        None => ConnectError::Wire(WireError::Io(error)),
    }
}

async fn read_answers(link: &Link, reader: &mut (impl AsyncRead + Unpin), silence: Duration) -> WireError {
    loop {
        let (kind, mut body) = match timeout(silence, wire::read(reader, wire::MAX_BODY)).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(error)) => return error,
            Err(_) => return WireError::Silent,
        };
        match kind {
            Kind::Pong => {}
            Kind::Response | Kind::Busy => match wire::split_id(&mut body) {
                Ok(id) if kind == Kind::Response => link.answer(id, Ok(body)),
                Ok(id) => link.answer(id, Err(ForwardError::Overloaded)),
                Err(error) => return error,
            },
            _ => return WireError::Malformed,
        }
    }
}

/// Writes what comes out of `queue`, and a ping every now and then, until the connection breaks.
pub(super) async fn write_queue(
    queue: &mut mpsc::Receiver<Bytes>,
    dequeued: impl Fn(&Bytes),
    writer: &mut (impl AsyncWrite + Unpin),
    ping: Option<Duration>,
    silence: Duration,
) -> WireError {
    // One that never ticks again, on a side that sends no pings.
    let mut pings = interval(ping.unwrap_or(Duration::from_secs(1 << 30)));
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut next = tokio::select! {
            frame = queue.recv() => match frame {
                Some(frame) => {
                    dequeued(&frame);
                    Some(frame)
                }
                None => return WireError::Closed,
            },
            _ = pings.tick() => ping.map(|_| wire::frame(Kind::Ping, &[])),
        };
        let writing = async {
            let mut bytes = 0;
            while let Some(frame) = next.take() {
                bytes += frame.len();
                wire::write(writer, &frame).await?;
                if bytes < FLUSH_BYTES {
                    next = queue.try_recv().ok().inspect(&dequeued);
                }
            }
            writer.flush().await.map_err(WireError::from)
        };
        match timeout(silence, writing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(_) => return WireError::Silent,
        }
    }
}
