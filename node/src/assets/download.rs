//! An asset on its way through: from a server to whoever asked, and into the cache.
//!
//! A task of its own carries it, not the one that answers: a reader who stops reading cannot hold a place among the
//! downloads, or what the asset came from, beyond the deadline.

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, stream};
use reqwest::Response;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::cache::Collector;
use super::places::Place;

/// Pieces that wait for the reader.
const PIECES_WAITING_MAX: usize = 2;

/// A piece of an asset that is in memory.
const PIECE_LEN: usize = 64 * 1024;

/// Why an asset breaks off. The reader learns no more than that: its beginning is gone already.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrokenOff {
    #[error("the asset has more than {0} bytes")]
    TooLarge(u64),
    #[error("the asset did not come in time")]
    Timeout,
    #[error("the asset's server broke off: {0}")]
    Server(#[from] reqwest::Error),
    #[error("the asset does not have the length that was announced")]
    Length,
    #[error("the download was ended early")]
    Ended,
}

enum Piece {
    Data(Bytes),
    /// That was all: without it the asset is not complete.
    End,
}

/// What holds for one download.
pub(super) struct Bounds {
    pub(super) size_max: u64,
    pub(super) deadline: Instant,
    /// Its place among the downloads, free again at its end.
    pub(super) place: Place,
}

/// The body of `response`, also to `collector` when all of it has come.
pub(super) fn from_response(response: Response, bounds: Bounds, collector: Option<Collector>) -> Body {
    let size_max = bounds.size_max;
    carry(bounds, async move |sender| {
        pull(response, size_max, collector, sender).await
    })
}

/// The same from memory.
pub(super) fn from_memory(whole: Bytes, bounds: Bounds) -> Body {
    carry(bounds, async move |sender| {
        for piece in whole.chunks(PIECE_LEN) {
            // A copy: a slice would keep the whole alive for as long as its reader likes.
            send(&sender, Piece::Data(Bytes::copy_from_slice(piece))).await?;
        }
        send(&sender, Piece::End).await
    })
}

fn carry<F>(bounds: Bounds, work: impl FnOnce(mpsc::Sender<Piece>) -> F) -> Body
where
    F: Future<Output = Result<(), BrokenOff>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
    let work = work(sender);
    tokio::spawn(async move {
        let Bounds { deadline, place, .. } = bounds;
        match timeout_at(deadline, work).await.unwrap_or(Err(BrokenOff::Timeout)) {
            Ok(()) => {}
            Err(BrokenOff::Ended) => tracing::debug!("an asset was not read to its end"),
            Err(error) => tracing::info!(%error, "an asset broke off"),
        }
        drop(place);
    });
    Body::from_stream(stream::unfold(Some(receiver), next).boxed())
}

async fn next(
    receiver: Option<mpsc::Receiver<Piece>>,
) -> Option<(Result<Bytes, BrokenOff>, Option<mpsc::Receiver<Piece>>)> {
    let mut receiver = receiver?;
    match receiver.recv().await {
        Some(Piece::Data(data)) => Some((Ok(data), Some(receiver))),
        Some(Piece::End) => None,
        // An error breaks the connection, or resets the stream: nobody takes what has come for the whole.
        None => Some((Err(BrokenOff::Ended), None)),
    }
}

async fn send(sender: &mpsc::Sender<Piece>, piece: Piece) -> Result<(), BrokenOff> {
    sender.send(piece).await.map_err(|_| BrokenOff::Ended)
}

async fn pull(
    mut response: Response,
    size_max: u64,
    mut collector: Option<Collector>,
    sender: mpsc::Sender<Piece>,
) -> Result<(), BrokenOff> {
    let announced = response.content_length();
    let mut length: u64 = 0;
    loop {
        let piece = tokio::select! {
            piece = response.chunk() => piece?,
            () = sender.closed() => return Err(BrokenOff::Ended),
        };
        let Some(piece) = piece else { break };
        length = length.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if length > size_max {
            return Err(BrokenOff::TooLarge(size_max));
        }
        if let Some(collector) = &mut collector {
            collector.push(&piece);
        }
        send(&sender, Piece::Data(piece)).await?;
    }
    if announced.is_some_and(|announced| announced != length) {
        return Err(BrokenOff::Length);
    }
    if let Some(collector) = collector {
        collector.finish(std::time::Instant::now());
    }
    send(&sender, Piece::End).await
}
