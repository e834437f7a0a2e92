//! Certificates for trying things out and for tests.
//!
//! Owns the authorities of a development set-up, the federation's (providers to each other), the one behind the local
//! listeners (gateways to their provider), the nodes' and the operators', and everything they sign. The private key of an authority is never
//! written: a set of files is made in one run and replaced as a whole. Private keys are files that only their owner can
//! read.

mod authority;
mod dev;

#[cfg(test)]
mod tests;

pub use authority::{Authority, Identity, Validity};
pub use dev::{DevCerts, DevCertsOptions};

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{OpsError, terminal};
use mimi_hub_proto::uri::ProviderDomain;

/// Make certificates.
#[derive(Args, Debug)]
pub struct CertsArgs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Subcommand, Debug)]
enum CertsCommand {
    Dev(DevArgs),
}

/// Make a complete set of certificates for development and tests.
///
/// Authorities are made for the occasion and their keys are thrown away: one for the federation, one for the local
/// listeners, and with `--nodes` one for the nodes and one for operators. For production, use the certificates of your providers' federation and of your own internal CA.
#[derive(Args, Debug)]
struct DevArgs {
    /// Folder for the files; made when it is missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Domain of a provider; give it once for each provider.
    #[arg(long = "domain", value_name = "DOMAIN", required = true)]
    domains: Vec<ProviderDomain>,
    /// Nodes of a cluster that get certificates too, from a CA of the cluster's own; with them come those of the admin
    /// listener and an operator, and the key that seals the hub's keys.
    #[arg(long, default_value_t = 0)]
    nodes: u16,
    /// Days for which the certificates are valid.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Days for which the authorities are valid.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    ca_days: u32,
    /// Replace files that are there already.
    #[arg(long)]
    force: bool,
}

/// Carries out `mimi-hub certs …`.
///
/// # Errors
/// [`OpsError::FilesExist`] without `--force` when a file would be overwritten; otherwise what made a key, a certificate
/// or a file fail.
pub fn run(args: CertsArgs) -> Result<(), OpsError> {
    match args.command {
        CertsCommand::Dev(dev) => {
            let certs = DevCerts::generate(
                &dev.domains,
                DevCertsOptions {
                    leaf: Validity::days(dev.days),
                    authority: Validity::days(dev.ca_days),
                    nodes: dev.nodes,
                },
            )?;
            for path in certs.write(&dev.out, dev.force)? {
                terminal::line(&path.display().to_string());
            }
            Ok(())
        }
    }
}
