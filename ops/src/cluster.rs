//! `mimi-hub cluster …`: how the nodes of a hub stand, and changes of it. Tables for people, JSON for programs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{Admin, GatewaySettings, RetryPolicy};
use crate::{OpsError, terminal};

/// Look at the nodes of a hub, and change them.
///
/// Speaks to the admin listener of any node, which answers for the whole cluster.
#[derive(Args, Debug)]
pub struct ClusterArgs {
    /// The admin listener of a node.
    #[arg(
        long,
        global = true,
        env = "MIMI_HUB_ADMIN",
        default_value = "https://localhost:7500",
        value_name = "URL"
    )]
    admin: String,
    /// PEM: the root of the admin listener's certificate.
    #[arg(
        long,
        global = true,
        env = "MIMI_HUB_ADMIN_CA",
        default_value = "certs/admin-ca.pem",
        value_name = "FILE"
    )]
    ca: PathBuf,
    /// PEM: the operator's certificate.
    #[arg(
        long,
        global = true,
        env = "MIMI_HUB_ADMIN_CERTIFICATE",
        default_value = "certs/operator.pem",
        value_name = "FILE"
    )]
    certificate: PathBuf,
    /// PEM: the key of the operator's certificate.
    #[arg(
        long,
        global = true,
        env = "MIMI_HUB_ADMIN_KEY",
        default_value = "certs/operator.key",
        value_name = "FILE"
    )]
    private_key: PathBuf,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// The cluster in short. Ends with 1 when something is not as it should be.
    Status,
    /// Every node: where it is, how it stands, what it holds.
    Nodes,
    /// Every shard: who leads it, who has a replica, where it should be.
    Shards,
    /// Let a new node in. Start it with `join = true` in its [cluster] section and an empty data folder, before or after.
    Join {
        /// Its number, never used before.
        #[arg(long)]
        node: u64,
        /// Where the other nodes reach it, host:port.
        #[arg(long)]
        address: String,
        /// What it fails together with.
        #[arg(long, default_value = "")]
        zone: String,
    },
    /// Take a node's replicas away, one after the other, so that it can be removed.
    Drain {
        /// The node.
        #[arg(long)]
        node: u64,
        /// Even when fewer nodes remain than a shard should have replicas.
        #[arg(long)]
        force: bool,
        /// Let it keep them after all.
        #[arg(long, conflicts_with = "force")]
        cancel: bool,
    },
    /// Remove a drained node, or one that is away for good. Its number is not used again.
    Remove {
        /// The node.
        #[arg(long)]
        node: u64,
    },
    /// Give a shard's leadership to a node.
    TransferLeader {
        /// The shard.
        #[arg(long)]
        shard: u32,
        /// The node.
        #[arg(long)]
        to: u64,
    },
}

/// Carries out `mimi-hub cluster …`. Returns whether all is well.
///
/// # Errors
/// The hub cannot be reached, or refuses.
pub async fn run(args: ClusterArgs) -> Result<bool, OpsError> {
    let admin = Admin::new(&GatewaySettings {
        url: args.admin,
        more_urls: Vec::new(),
        ca: args.ca,
        certificate: args.certificate,
        private_key: args.private_key,
        retry: RetryPolicy::never(),
    })?;
    match args.command {
        ClusterCommand::Status => {
            let status: Value = admin.get("status").await?;
            if args.json {
                terminal::line(&status.to_string());
            } else {
                for (key, value) in status.as_object().into_iter().flatten() {
                    terminal::line(&format!("{key:12} {}", plain(value)));
                }
            }
            return Ok(status["healthy"] == json!(true));
        }
        ClusterCommand::Nodes => {
            let columns = [
                "node",
                "address",
                "zone",
                "standing",
                "reachable",
                "meta",
                "replicas",
                "leaders",
                "wanted",
                "rebuilding",
                "format",
            ];
            table(&admin.get::<Vec<Value>>("nodes").await?, &columns, args.json);
        }
        ClusterCommand::Shards => {
            let columns = [
                "shard",
                "leader",
                "term",
                "committed",
                "voters",
                "learners",
                "wanted",
                "moving",
            ];
            table(&admin.get::<Vec<Value>>("shards").await?, &columns, args.json);
        }
        ClusterCommand::Join { node, address, zone } => {
            let body = json!({ "node": node, "address": address, "zone": zone });
            admin.post("join", &body).await?;
            told(
                args.json,
                &format!("node {node} is let in: it gets its replicas once it runs"),
            );
        }
        ClusterCommand::Drain { node, force, cancel } => {
            let body = json!({ "node": node, "force": force, "cancel": cancel });
            admin.post("drain", &body).await?;
            let text = if cancel {
                "stays"
            } else {
                "loses its replicas, see `mimi-hub cluster nodes`"
            };
            told(args.json, &format!("node {node} {text}"));
        }
        ClusterCommand::Remove { node } => {
            admin.post("remove", &json!({ "node": node })).await?;
            told(args.json, &format!("node {node} is removed"));
        }
        ClusterCommand::TransferLeader { shard, to } => {
            admin
                .post("transfer-leader", &json!({ "shard": shard, "to": to }))
                .await?;
            told(args.json, &format!("shard {shard} is being given to node {to}"));
        }
    }
    Ok(true)
}

fn told(as_json: bool, text: &str) {
    if as_json {
        terminal::line(&json!({ "done": text }).to_string());
    } else {
        terminal::line(text);
    }
}

/// A value as a person reads it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Prints rows under their names, each column as wide as it has to be.
fn table(rows: &[Value], columns: &[&str], as_json: bool) {
    if as_json {
        terminal::line(&Value::from(rows.to_vec()).to_string());
        return;
    }
    for line in lines(rows, columns) {
        terminal::line(&line);
    }
}

fn lines(rows: &[Value], columns: &[&str]) -> Vec<String> {
    let mut cells: Vec<Vec<String>> = vec![columns.iter().map(|name| name.to_uppercase()).collect()];
    cells.extend(
        rows.iter()
            .map(|row| columns.iter().map(|name| plain(&row[*name])).collect()),
    );
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| cells.iter().map(|row| row[column].len()).max().unwrap_or_default())
        .collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    cells.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            json!({ "node": 1, "address": "10.0.0.1:7400", "voters": [1, 2], "moving": false }),
            json!({ "node": 12, "address": "", "voters": [], "moving": true }),
        ];
        assert_eq!(
            lines(&rows, &["node", "address", "voters", "moving"]),
            [
                "NODE  ADDRESS        VOTERS  MOVING",
                "1     10.0.0.1:7400  1,2     no",
                "12    -              -       yes",
            ]
        );
    }
}
