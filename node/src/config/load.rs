//! From a file and the environment to a [`Config`].

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{Config, ConfigError};

const PREFIX: &str = "MIMI_HUB__";

/// The variables of this process that mean us. Others may hold anything, so they are not even converted.
pub(super) fn process_environment() -> Vec<(String, String)> {
    env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
            Some((name, value.to_string_lossy().into_owned()))
        })
        .collect()
}

pub(super) fn load(path: &Path, environment: Vec<(String, String)>) -> Result<Config, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut config = parse(path, &text, environment)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    anchor_paths(&mut config, folder);
    config.validate()?;
    Ok(config)
}

/// Text and environment to a `Config` whose values are unchecked; `path` is for messages only.
pub(super) fn parse(path: &Path, text: &str, mut environment: Vec<(String, String)>) -> Result<Config, ConfigError> {
    environment.sort();
    let overridden_by: Vec<String> = environment.iter().map(|(name, _)| name.clone()).collect();
    let syntax = |overridden_by: Vec<String>| {
        move |source| ConfigError::Syntax {
            path: path.to_owned(),
            overridden_by,
            source: Box::new(source),
        }
    };
    if environment.is_empty() {
        return toml::from_str(text).map_err(syntax(Vec::new()));
    }
    let mut document: Table = toml::from_str(text).map_err(syntax(Vec::new()))?;
    for (variable, value) in &environment {
        overlay(&mut document, variable, value)?;
    }
    // Through text once more: errors then show the line at fault, whichever source it came from.
    let merged = toml::to_string(&document).map_err(ConfigError::Print)?;
    toml::from_str(&merged).map_err(syntax(overridden_by))
}

fn overlay(document: &mut Table, variable: &str, value: &str) -> Result<(), ConfigError> {
    let fail = |problem| ConfigError::Environment {
        variable: variable.to_owned(),
        problem,
    };
    let path = variable.strip_prefix(PREFIX).unwrap_or(variable).to_lowercase();
    let mut keys: Vec<&str> = path.split("__").collect();
    let last = keys
        .pop()
        .filter(|key| !key.is_empty())
        .ok_or_else(|| fail("the name ends in a separator"))?;
    let mut table = document;
    for key in keys {
        if key.is_empty() {
            return Err(fail("the name has an empty part; the separator is two underscores"));
        }
        table = table
            .entry(key)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| fail("a part of the name before the last is a value, not a section"))?;
    }
    table.insert(last.to_owned(), read_value(value));
    Ok(())
}

/// `5000` is a number and `["a.example"]` a list, but `0.0.0.0:443` and `certs/a.pem` need no quotes.
fn read_value(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}"));
    parsed
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn anchor_paths(config: &mut Config, folder: &Path) {
    if let Some(cluster) = &mut config.cluster {
        for path in [
            &mut cluster.certificate,
            &mut cluster.private_key,
            &mut cluster.ca,
            &mut cluster.seal_key,
        ] {
            *path = folder.join(&*path);
        }
    }
    if let Some(admin) = &mut config.admin {
        for path in [&mut admin.certificate, &mut admin.private_key, &mut admin.client_ca] {
            *path = folder.join(&*path);
        }
    }
    if let Some(ca) = &mut config.assets.ca {
        *ca = folder.join(&*ca);
    }
    let paths: [&mut PathBuf; 7] = [
        &mut config.hub.data_dir,
        &mut config.federation.certificate,
        &mut config.federation.private_key,
        &mut config.federation.peer_ca,
        &mut config.local.certificate,
        &mut config.local.private_key,
        &mut config.local.client_ca,
    ];
    for path in paths {
        // `join` leaves absolute paths alone.
        *path = folder.join(&*path);
    }
}
