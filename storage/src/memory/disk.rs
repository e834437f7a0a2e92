//! A pretended disk: frames appended to a journal, durable only once synced.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};

use crate::error::{Engine, StorageError};

/// What goes wrong on a pretended disk, and by which seed. The default: nothing but the loss of unsynced writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// Seeds every random choice below.
    pub seed: u64,
    /// A crash keeps a random number of the unsynced bytes, so that the last frame kept may be torn. Otherwise a crash
    /// loses all of them.
    pub torn_tail: bool,
    /// Every sync fails with a chance of one in so many. Unset: never.
    pub sync_error_one_in: Option<u32>,
    /// Bytes of content that fit. Unset: no limit.
    pub capacity: Option<u64>,
}

/// Length of a frame's header: 4 bytes of length, 8 of checksum.
const HEADER: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// A sync failed; see [`StorageError::SyncFailed`].
    SyncFailed,
    Crashed,
}

/// Invariant: `journal` holds whole frames written since the last sync.
#[derive(Debug)]
pub(super) struct Disk {
    plan: FaultPlan,
    rng: SmallRng,
    journal: Vec<u8>,
    health: Health,
}

impl Disk {
    pub(super) fn new(plan: FaultPlan) -> Self {
        let rng = SmallRng::seed_from_u64(plan.seed);
        Self {
            plan,
            rng,
            journal: Vec::new(),
            health: Health::Good,
        }
    }

    /// Changes what goes wrong from now on.
    pub(super) fn set_plan(&mut self, plan: FaultPlan) {
        self.rng = SmallRng::seed_from_u64(plan.seed);
        self.plan = plan;
    }

    /// Whether the disk still answers.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        match self.health {
            Health::Good => Ok(()),
            Health::SyncFailed => Err(sync_failed()),
            Health::Crashed => Err(StorageError::Crashed),
        }
    }

    /// Appends a frame. `content` is what the store holds before it.
    pub(super) fn write(&mut self, body: &[u8], content: u64) -> Result<(), StorageError> {
        self.check()?;
        let needed = content.saturating_add(body.len() as u64);
        let length = u32::try_from(body.len()).ok();
        let fits = self.plan.capacity.is_none_or(|capacity| needed <= capacity);
        let Some(length) = length.filter(|_| fits) else {
            return Err(StorageError::DiskFull { engine: Engine::Memory });
        };
        self.journal.extend_from_slice(&length.to_be_bytes());
        self.journal.extend_from_slice(&checksum(body));
        self.journal.extend_from_slice(body);
        Ok(())
    }

    /// Makes the journal durable and hands out its frames.
    pub(super) fn sync(&mut self) -> Result<Vec<Vec<u8>>, StorageError> {
        self.check()?;
        if self
            .plan
            .sync_error_one_in
            .is_some_and(|n| self.rng.random_ratio(1, n.max(1)))
        {
            self.health = Health::SyncFailed;
            return Err(sync_failed());
        }
        let frames = frames(&self.journal);
        self.journal.clear();
        Ok(frames)
    }

    /// Cuts the power: this disk is dead, and the one returned has kept the frames returned.
    pub(super) fn crash(&mut self) -> (Self, Vec<Vec<u8>>) {
        let kept = if self.plan.torn_tail {
            self.rng.random_range(0..=self.journal.len())
        } else {
            0
        };
        let survivors = frames(&self.journal[..kept]);
        self.health = Health::Crashed;
        self.journal.clear();
        let plan = FaultPlan {
            seed: self.rng.random(),
            ..self.plan.clone()
        };
        (Self::new(plan), survivors)
    }
}

fn sync_failed() -> StorageError {
    StorageError::SyncFailed {
        engine: Engine::Memory,
        detail: "injected".to_owned(),
    }
}

fn checksum(body: &[u8]) -> [u8; 8] {
    let digest = Sha256::digest(body);
    let mut sum = [0; 8];
    sum.copy_from_slice(&digest[..8]);
    sum
}

/// The whole frames at the front of `journal`, up to the first that is torn.
fn frames(mut journal: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = journal.split_at_checked(HEADER) {
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some((body, rest)) = rest.split_at_checked(length) else {
            break;
        };
        if checksum(body) != header[4..] {
            break;
        }
        frames.push(body.to_vec());
        journal = rest;
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_frame_ends_the_journal() {
        let mut disk = Disk::new(FaultPlan::default());
        disk.write(b"first", 0).unwrap();
        disk.write(b"second", 0).unwrap();
        let journal = disk.journal.clone();
        assert_eq!(frames(&journal), [b"first".to_vec(), b"second".to_vec()]);
        for kept in HEADER + 5..journal.len() {
            assert_eq!(frames(&journal[..kept]), [b"first".to_vec()]);
        }
        let mut flipped = journal.clone();
        flipped[HEADER] ^= 1;
        assert_eq!(frames(&flipped), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn after_a_failed_sync_nothing_works_any_more() {
        let mut disk = Disk::new(FaultPlan {
            sync_error_one_in: Some(1),
            ..FaultPlan::default()
        });
        disk.write(b"frame", 0).unwrap();
        assert!(matches!(disk.sync(), Err(StorageError::SyncFailed { .. })));
        assert!(matches!(disk.write(b"frame", 0), Err(StorageError::SyncFailed { .. })));
        let (disk, survivors) = disk.crash();
        assert!(survivors.is_empty());
        assert!(disk.check().is_ok());
    }

    #[test]
    fn the_same_seed_tears_at_the_same_place() {
        let crash = |seed| {
            let mut disk = Disk::new(FaultPlan {
                seed,
                torn_tail: true,
                ..FaultPlan::default()
            });
            for n in 0..100_u8 {
                disk.write(&[n; 10], 0).unwrap();
            }
            disk.crash().1.len()
        };
        assert_eq!(crash(1), crash(1));
        let places: std::collections::BTreeSet<usize> = (0..20).map(crash).collect();
        assert!(places.len() > 5, "{places:?}");
    }
}
