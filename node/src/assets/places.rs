//! How many downloads may be under way: of all, and of one peer provider, so that none takes all places from the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mimi_hub_proto::uri::ProviderDomain;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::AssetError;

/// The places, and who has them.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) all: Arc<Semaphore>,
    peer_max: usize,
    /// Places of the peers that have any.
    taken: Arc<Mutex<HashMap<ProviderDomain, usize>>>,
}

/// One place, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_peer: Option<Share>,
}

#[derive(Debug)]
struct Share {
    peer: ProviderDomain,
    taken: Arc<Mutex<HashMap<ProviderDomain, usize>>>,
}

impl Places {
    /// So many places for all, and for one peer.
    pub(super) fn new(max: usize, peer_max: usize) -> Self {
        Places {
            all: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
            peer_max,
            taken: Arc::default(),
        }
    }

    /// A place for `peer`, or for this provider itself.
    ///
    /// # Errors
    /// [`AssetError::Busy`], [`AssetError::PeerBusy`]: there is none.
    pub(super) fn take(&self, peer: Option<&ProviderDomain>) -> Result<Place, AssetError> {
        let of_peer = match peer {
            Some(peer) => Some(self.share(peer)?),
            None => None,
        };
        let of_all = Arc::clone(&self.all).try_acquire_owned();
        Ok(Place {
            _of_all: of_all.map_err(|_| AssetError::Busy)?,
            _of_peer: of_peer,
        })
    }

    fn share(&self, peer: &ProviderDomain) -> Result<Share, AssetError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(peer.clone()).or_default();
        if *count >= self.peer_max {
            return Err(AssetError::PeerBusy);
        }
        *count += 1;
        Ok(Share {
            peer: peer.clone(),
            taken: Arc::clone(&self.taken),
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_does_not_take_anothers_places() {
        let places = Places::new(4, 2);
        let [b, c]: [ProviderDomain; 2] = ["b.example", "c.example"].map(|name| name.parse().unwrap());
        let first = places.take(Some(&b)).unwrap();
        let _second = places.take(Some(&b)).unwrap();
        assert!(matches!(places.take(Some(&b)), Err(AssetError::PeerBusy)));
        let _third = places.take(Some(&c)).unwrap();
        let fourth = places.take(None).unwrap();
        assert!(matches!(places.take(None), Err(AssetError::Busy)));
        drop(first);
        assert!(places.take(Some(&b)).is_ok());
        drop(fourth);
        // Who finds no place among all keeps none of its own.
        let all: Vec<Place> = std::iter::from_fn(|| places.take(None).ok()).collect();
        assert!(matches!(places.take(Some(&c)), Err(AssetError::Busy)));
        drop(all);
        assert!(places.take(Some(&c)).is_ok());
        drop((_second, _third));
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
