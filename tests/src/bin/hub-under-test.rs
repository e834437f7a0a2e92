//! The server under test: `mimi-hub`, by another name.

use std::process::ExitCode;

fn main() -> ExitCode {
    mimi_hub::cli::main()
}
