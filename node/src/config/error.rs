//! What can be wrong with a configuration, told so that the operator knows what to write instead.

use std::{fmt, io, path::PathBuf};

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// An environment variable cannot be laid over the file.
    #[error("environment variable {variable} cannot be used: {problem}")]
    Environment {
        /// The variable.
        variable: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Values break rules.
    #[error("invalid configuration:{}", Listed(.0))]
    Invalid(Vec<Finding>),
    /// The configuration cannot be written as TOML.
    #[error("cannot print the configuration: {0}")]
    Print(#[source] toml::ser::Error),
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The text is not TOML, lacks a key, has an unknown key, or a value of the wrong type.
    #[error("cannot use {}{}: {source}", path.display(), Overlaid(overridden_by))]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The environment variables laid over it: with any, the line numbers are those of the merged document.
        overridden_by: Vec<String>,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
}

/// One broken rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The key, as written in the file: `limits.body_bytes_max`.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What to write instead, or to do.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}", self.key, self.value, self.remedy)
    }
}

struct Listed<'a>(&'a [Finding]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

struct Overlaid<'a>(&'a [String]);

impl fmt::Display for Overlaid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            variables => write!(f, " merged with {}", variables.join(", ")),
        }
    }
}
