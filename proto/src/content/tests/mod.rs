//! The draft's examples, and what its schema and its restrictions refuse.

mod examples;
mod refusals;
