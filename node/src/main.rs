//! The `mimi-hub` binary; see [`mimi_hub::cli`].

/// A message is some hundred short-lived allocations on six threads, which glibc's allocator takes a sixth of the processor
/// for. This one takes less, and gives memory back to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    mimi_hub::cli::main()
}
