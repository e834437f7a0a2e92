//! The `mimi-hub` binary; see [`mimi_hub::cli`].

fn main() -> std::process::ExitCode {
    mimi_hub::cli::main()
}
