//! The test vectors for other implementations (`proto/vectors`): they are as our code makes them, and our code takes them
//! as they are, from octets to fields, from fields to octets, and from inputs to outputs.

mod files;

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

fn stored(name: &str) -> String {
    fs::read_to_string(files::folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_stored_files_are_those_that_are_made_and_are_made_the_same_twice() {
    let made = files::make().unwrap();
    assert_eq!(made, files::make().unwrap());
    for (name, text) in &made {
        assert!(
            stored(name) == *text,
            "{name} is made differently: cargo run -p mimi-hub-proto --example vectors -- --write"
        );
    }
    let names = fs::read_dir(files::folder()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> = names.filter(|name| name.ends_with(".json")).collect();
    assert_eq!(names, made.iter().map(|(name, _)| (*name).to_owned()).collect());
}

#[test]
fn every_case_of_the_stored_files_holds() {
    let mut count = 0;
    for (name, _) in files::make().unwrap() {
        count += files::check(&stored(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(count >= 250, "{count} cases");
}

#[test]
fn no_two_cases_of_a_file_have_one_name() {
    for (name, text) in files::make().unwrap() {
        let file: Value = serde_json::from_str(&text).unwrap();
        let cases = file["cases"].as_array().unwrap();
        let names: BTreeSet<&str> = cases.iter().map(|case| case["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), cases.len(), "{name}");
    }
}

/// A check that passes whatever stands there would be none: one character of any member is another, and it fails.
#[test]
fn a_case_that_is_changed_does_not_hold() {
    // What is the operation's input only, and can be another without any output being another.
    let free = ["name", "section", "text"];
    for (file, text) in files::make().unwrap() {
        let file_value: Value = serde_json::from_str(&text).unwrap();
        for case in file_value["cases"].as_array().unwrap() {
            for (member, value) in case.as_object().unwrap() {
                if free.contains(&member.as_str()) || case["operation"] == "refuse" {
                    continue;
                }
                let mut changed = case.clone();
                changed[member] = match value {
                    Value::Bool(bool) => json!(!bool),
                    Value::Null => json!("01"),
                    _ => Value::Null,
                };
                assert!(
                    files::check_case(&changed).is_err(),
                    "{file}: {}: {member}",
                    case["name"]
                );
            }
        }
    }
}
