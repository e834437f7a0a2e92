//! `CONFORMANCE.md` names only code and tests that exist, and says of each rule where it is or why it is not.
//!
//! A row is a line that starts with `| ` and a section number: section, rule, code, test, divergence. In the columns for code
//! and tests, `path::item` in backticks is an item (or a test) of a file of this repository; there may be several.

#![allow(clippy::unwrap_used, reason = "a test")]

mod fuzzing;

use std::fs;
use std::path::{Path, PathBuf};

/// What comes before the name of an item, where it is declared.
const DECLARATIONS: [&str; 7] = ["fn ", "struct ", "enum ", "const ", "type ", "trait ", "mod "];

struct Row<'a> {
    line: usize,
    rule: &'a str,
    code: Vec<&'a str>,
    tests: Vec<&'a str>,
    divergence: &'a str,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What stands in backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn rows(page: &str) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for (number, line) in page.lines().enumerate() {
        let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix('|')) else {
            continue;
        };
        if !cells.starts_with(|c: char| c.is_ascii_digit() || c == 'A') || !cells.contains('|') {
            continue;
        }
        let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 5, "line {}: a row has five columns", number + 1);
        rows.push(Row {
            line: number + 1,
            rule: cells[1],
            code: quoted(cells[2]),
            tests: quoted(cells[3]),
            divergence: cells[4],
        });
    }
    rows
}

/// The text of the file that `path::item` names, and the item.
fn named(line: usize, name: &str) -> (String, String) {
    let (path, item) = name
        .split_once("::")
        .unwrap_or_else(|| panic!("line {line}: {name} is no path::item"));
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("line {line}: {path}: {error}"));
    (text, item.to_owned())
}

/// Does the word stand there, and not as part of a longer one?
fn at_word(text: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word)
        .any(|(at, _)| !part(text[..at].chars().next_back()) && !part(text[at + word.len()..].chars().next()))
}

fn declares(text: &str, item: &str) -> bool {
    // A method, variant, field or associated constant is named by its last part.
    let last = item.rsplit("::").next().unwrap();
    let declared = DECLARATIONS
        .iter()
        .any(|declaration| at_word(text, &format!("{declaration}{last}")));
    // A variant or field starts a line; a constant made by a macro too.
    let member = text.lines().map(str::trim_start).any(|line| {
        let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix(last)
            .is_some_and(|rest| rest.starts_with([',', '(', ':', ' ']) || rest.is_empty())
    });
    declared || member
}

fn is_test(text: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    text.match_indices(&head).any(|(at, _)| {
        // Above the line of the declaration: its attributes.
        let line = text[..at].rfind('\n').unwrap_or(0);
        let above = text[..line].lines().rev().map(str::trim);
        let mut attributes = above.take_while(|line| line.starts_with("#["));
        attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_row_names_code_and_tests_that_exist() {
    let page = fs::read_to_string(root().join("CONFORMANCE.md")).unwrap();
    let rows = rows(&page);
    assert!(rows.len() >= 60, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for Row { line, code, tests, .. } in &rows {
        for name in code {
            let (text, item) = named(*line, name);
            if !declares(&text, &item) {
                wrong.push(format!("line {line}: {name} is not declared there"));
            }
        }
        for name in tests {
            let (text, item) = named(*line, name);
            if !is_test(&text, &item) {
                wrong.push(format!("line {line}: {name} is no test"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_row_says_where_the_rule_is_or_why_it_is_not() {
    let page = fs::read_to_string(root().join("CONFORMANCE.md")).unwrap();
    for row in rows(&page) {
        let Row { line, rule, .. } = row;
        assert!(!rule.is_empty(), "line {line}: no rule");
        let nothing = |cell: &str| cell.is_empty() || cell == "-";
        if row.code.is_empty() || row.tests.is_empty() {
            assert!(
                !nothing(row.divergence),
                "line {line}: neither code with a test nor a reason for there being none"
            );
        }
        for vague in ["partly", "partial support", "TODO", "TBD"] {
            let at_fault = row.divergence.contains(vague) && !row.divergence.contains("missing:");
            assert!(!at_fault, "line {line}: says {vague:?} and not what is missing");
        }
    }
}

/// The check itself finds what is wrong.
#[test]
fn what_does_not_exist_is_found() {
    let text =
        "impl X {\n    pub fn real(&self) {}\n}\nenum E {\n    Variant,\n}\n#[test]\nfn tested() {}\nfn helper() {}";
    for item in ["real", "X::real", "E::Variant", "E"] {
        assert!(declares(text, item), "{item}");
    }
    for item in ["rea", "unreal", "Vari", "missing"] {
        assert!(!declares(text, item), "{item}");
    }
    assert!(is_test(text, "tested") && !is_test(text, "helper") && !is_test(text, "missing"));
    assert_eq!(
        rows("| 5 | rule | `a::b` | `c::d`, `e::f` | - |\n| § | x |\n|---|---|").len(),
        1
    );
}
