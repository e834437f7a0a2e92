//! Defects that can be switched on to see that the simulation finds them.
//!
//! Without the feature `planted-bugs`, [`is`] is the constant `false` and none of them is in the program. With it, a bug is
//! chosen for one thread, while the program runs; nothing but the simulator ever chooses one.

/// A planted defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An entity's actor replies when it has proposed, without waiting for the commit.
    AckBeforeCommit,
    /// The log is written without a sync.
    SkipFsync,
    /// A command is applied although it was not decided after the entity's last event.
    SkipFencing,
    /// A snapshot is installed as soon as its first chunk is here.
    ApplyBeforeSnapshotComplete,
    /// A node that starts has forgotten for whom it voted.
    ForgetVoteOnRestart,
    /// A read is permitted without asking a quorum who leads.
    StaleRead,
}

impl Bug {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 6] = [
        ("ack-before-commit", Self::AckBeforeCommit),
        ("skip-fsync", Self::SkipFsync),
        ("skip-fencing", Self::SkipFencing),
        ("apply-before-snapshot-complete", Self::ApplyBeforeSnapshotComplete),
        ("forget-vote-on-restart", Self::ForgetVoteOnRestart),
        ("stale-read", Self::StaleRead),
    ];

    /// The bug of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, bug)| *bug)
    }
}

#[cfg(feature = "planted-bugs")]
mod chosen {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static CHOSEN: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants `bug`, and no other, in everything that this thread runs. Answers whether this build can.
    pub fn choose(bug: Option<Bug>) -> bool {
        CHOSEN.set(bug);
        true
    }

    /// Whether `bug` is planted in what this thread runs.
    pub fn is(bug: Bug) -> bool {
        CHOSEN.get() == Some(bug)
    }
}

#[cfg(feature = "planted-bugs")]
pub use chosen::{choose, is};

/// Plants nothing: answers whether that is what was wanted.
#[cfg(not(feature = "planted-bugs"))]
pub fn choose(bug: Option<Bug>) -> bool {
    bug.is_none()
}

/// Whether `bug` is planted: none is in this build.
#[cfg(not(feature = "planted-bugs"))]
pub const fn is(bug: Bug) -> bool {
    let _ = bug;
    false
}
