//! What a command says on standard output: the only place that prints.

/// Prints one line.
#[expect(clippy::print_stdout, reason = "the answer of a command belongs on standard output")]
pub(crate) fn line(text: &str) {
    println!("{text}");
}
