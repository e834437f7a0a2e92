//! What the process writes about itself: to standard error, one event per line.

use std::io;

use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    config::{LogConfig, LogFormat},
    error::NodeError,
};

/// Sets up logging for the whole process; once.
///
/// # Errors
/// The filter is not understood, or logging is set up already.
pub(crate) fn init(config: &LogConfig) -> Result<(), NodeError> {
    let filter = EnvFilter::builder()
        .parse(&config.filter)
        .map_err(NodeError::LogFilter)?;
    let events = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let events = match config.format {
        LogFormat::Json => events.json().flatten_event(true).boxed(),
        LogFormat::Text => events.with_ansi(false).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(events)
        .try_init()
        .map_err(NodeError::LogInit)
}
