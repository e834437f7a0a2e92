//! Makes the test vectors (`--write`), or compares them with what would be made and checks each case (`--check`).
#![allow(clippy::print_stdout, reason = "a command says what it has done")]

#[path = "../tests/vectors/files/mod.rs"]
mod files;

use std::fs;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(std::env::args().nth(1).as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(argument: Option<&str>) -> Result<(), String> {
    let write = match argument {
        Some("--write") => true,
        Some("--check") => false,
        _ => return Err("usage: vectors --write | --check".to_owned()),
    };
    for (name, text) in files::make()? {
        let path = files::folder().join(name);
        if write {
            fs::write(&path, &text).map_err(|error| format!("{name}: {error}"))?;
        }
        let stored = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
        if stored != text {
            return Err(format!("{name} is made differently: --write"));
        }
        let cases = files::check(&stored).map_err(|error| format!("{name}: {error}"))?;
        println!("{name}: {cases} cases");
    }
    Ok(())
}
