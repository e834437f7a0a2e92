//! How far a log may be cut off.

/// What the answer depends on. Indices of one shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// The state store is durable up to here.
    pub(super) flushed: u64,
    pub(super) applied: u64,
    /// What the replica that lacks most has; `None` when there is no other replica.
    pub(super) slowest: Option<u64>,
    /// The oldest snapshot that is under way to a replica, which needs everything after it.
    pub(super) sending: Option<u64>,
    /// Entries kept in any case.
    pub(super) keep: u64,
    /// Entries kept for a replica that lags or is away; one that lacks more gets a snapshot.
    pub(super) max_lag: u64,
}

/// The last entry that is not needed any more.
pub(super) fn up_to(reach: Reach) -> u64 {
    let here = reach.flushed.min(reach.applied);
    let mut to = here.saturating_sub(reach.keep);
    if let Some(slowest) = reach.slowest {
        to = to.min(slowest.max(here.saturating_sub(reach.max_lag)));
    }
    to.min(reach.sending.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cut_off_that_is_needed() {
        let reach = Reach {
            flushed: 1000,
            applied: 1200,
            slowest: None,
            sending: None,
            keep: 10,
            max_lag: 300,
        };
        assert_eq!(up_to(reach), 990);
        assert_eq!(up_to(Reach { applied: 500, ..reach }), 490);
        let slowest = |index| {
            up_to(Reach {
                slowest: Some(index),
                ..reach
            })
        };
        assert_eq!(
            (slowest(1100), slowest(950), slowest(800), slowest(100)),
            (990, 950, 800, 700)
        );
        let sending = Reach {
            slowest: Some(1),
            sending: Some(400),
            ..reach
        };
        assert_eq!(up_to(sending), 400);
    }
}
