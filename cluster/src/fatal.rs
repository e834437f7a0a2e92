//! Stopping on purpose.

use std::fmt;
use std::sync::Arc;

use crate::shard::ShardId;

/// Why this process cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// The shard whose group broke; `None` when it was a store that all of them share.
    pub shard: Option<ShardId>,
    /// What happened.
    pub cause: String,
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shard {
            Some(shard) => write!(f, "{shard}: {}", self.cause),
            None => f.write_str(&self.cause),
        }
    }
}

/// Called once when a group or a store is broken. The default logs the cause and aborts the process. One that returns
/// leaves a cluster that refuses everything; that is for tests.
#[derive(Clone)]
pub struct FatalHook(Arc<dyn Fn(&Fatal) + Send + Sync>);

impl FatalHook {
    /// A hook that calls `hook`.
    pub fn new(hook: impl Fn(&Fatal) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    pub(crate) fn call(&self, fatal: &Fatal) {
        (self.0)(fatal);
    }
}

impl Default for FatalHook {
    fn default() -> Self {
        Self::new(|fatal| {
            tracing::error!(shard = fatal.shard.map(|shard| shard.0), cause = %fatal.cause, "stopping this process");
            std::process::abort();
        })
    }
}

impl fmt::Debug for FatalHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FatalHook")
    }
}

/// The text of a caught panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}
