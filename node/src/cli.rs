//! The command line: one binary, a subcommand for each thing that an operator does.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::config::{self, Config};
use crate::server::{self, Sockets};

/// A MIMI hub: rooms for messaging providers, end-to-end encrypted, that survive their machines.
#[derive(Debug, Parser)]
#[command(name = "mimi-hub", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node.
    Serve(ConfigFile),
    /// Look at a configuration without running it.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make certificates.
    Certs(mimi_hub_ops::certs::CertsArgs),
    /// Look at the nodes of a hub, and change them.
    Cluster(mimi_hub_ops::cluster::ClusterArgs),
    /// Play a conversation of three providers, with a hub that is killed in the middle of it.
    Demo(mimi_hub_ops::demo::DemoArgs),
    /// Put a hub under load and measure how many messages it acknowledges, and how soon.
    Load(mimi_hub_ops::load::LoadArgs),
    /// Kill, pause, cut off, starve, restart and drain a hub's nodes under load, and check that nothing is lost.
    Chaos(Box<mimi_hub_ops::chaos::ChaosArgs>),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration, a TOML file. Every key can be overridden by environment:
    /// MIMI_HUB__FEDERATION__LISTEN=0.0.0.0:443 sets federation.listen.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the effective configuration, and check that the files it names are there and fit together.
    Check(ConfigFile),
}

/// Parses the command line and runs it.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("cannot start the runtime")),
    };
    let result = match cli.command {
        Command::Serve(file) => runtime.block_on(serve(&file)).map(|()| ExitCode::SUCCESS),
        Command::Config(ConfigCommand::Check(file)) => check_config(&file),
        Command::Certs(args) => mimi_hub_ops::certs::run(args)
            .map(|()| ExitCode::SUCCESS)
            .map_err(Into::into),
        Command::Cluster(args) => runtime
            .block_on(mimi_hub_ops::cluster::run(args))
            .map(|well| if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            .map_err(Into::into),
        Command::Demo(args) => runtime
            .block_on(mimi_hub_ops::demo::run(args))
            .map(|()| ExitCode::SUCCESS)
            .map_err(Into::into),
        Command::Load(args) => runtime
            .block_on(mimi_hub_ops::load::run(args))
            .map(|()| ExitCode::SUCCESS)
            .map_err(Into::into),
        Command::Chaos(args) => runtime
            .block_on(mimi_hub_ops::chaos::run(*args))
            .map(|()| ExitCode::SUCCESS)
            .map_err(Into::into),
    };
    result.unwrap_or_else(|error| failed(&error))
}

#[expect(clippy::print_stderr, reason = "the terminal is where a command's failure is told")]
fn failed(error: &anyhow::Error) -> ExitCode {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Some errors say their cause themselves.
        if !text.contains(&cause) {
            text = if text.is_empty() {
                cause
            } else {
                format!("{text}: {cause}")
            };
        }
    }
    eprintln!("mimi-hub: {text}");
    ExitCode::FAILURE
}

async fn serve(file: &ConfigFile) -> anyhow::Result<()> {
    let config = load(file)?;
    crate::logging::init(&config.log)?;
    // One broken group, or one half-dead part, stops the whole process: the other nodes go on without it, and a supervisor
    // starts it again from what is durable.
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        tracing::error!(%info, "a part of this node has panicked: stopping");
        default_hook(info);
        std::process::abort();
    }));
    let sockets = Sockets::bind(&config).await?;
    server::run(config, sockets, stop_signal()?).await?;
    Ok(())
}

fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM"),
            _ = interrupt.recv() => info!("SIGINT"),
        }
    })
}

#[expect(clippy::print_stdout, reason = "the result of this command is what it prints")]
fn check_config(file: &ConfigFile) -> anyhow::Result<ExitCode> {
    let config = load(file)?;
    println!("{}", config.to_toml()?);
    let findings = config::check::check(&config);
    for finding in &findings {
        println!("# {finding}");
    }
    if findings.is_empty() {
        println!("# the configuration is good");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn load(file: &ConfigFile) -> anyhow::Result<Config> {
    Config::load(&file.config).with_context(|| format!("cannot use {}", file.config.display()))
}
