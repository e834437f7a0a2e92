//! Every decoder of `proto` is what a fuzz target feeds, and `tests/README.md` says which one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::root;

/// Not types of their own, or decoded within every other type.
const NOT_ALONE: [&str; 7] = ["Option", "Ruled", "String", "Vec", "bool", "u8", "N"];

/// What stands after the last `head` of a line, up to the first character that is no part of a name.
fn name_after<'a>(line: &'a str, head: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(head)?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    Some(&rest[..end]).filter(|name| !name.is_empty())
}

fn sources(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let mut opaque = false;
        for line in text.lines() {
            let trimmed = line.trim();
            for head in ["tls_struct!(", "Decode for ", "verbatim!("] {
                found.extend(name_after(line, head).map(str::to_owned));
            }
            // Only enumerations that are decoded say how long they are on the wire.
            if let Some(name) = name_after(line, "pub enum ").filter(|_| line.contains(": u")) {
                found.insert(name.to_owned());
            }
            // `tls_opaque! { /// ... Name }`
            match trimmed {
                "tls_opaque! {" => opaque = true,
                "}" => opaque = false,
                name if opaque && !name.starts_with("//") => _ = found.insert(name.to_owned()),
                _ => {}
            }
        }
    }
}

/// What the fuzz targets decode by itself, by target.
fn targets() -> BTreeMap<String, BTreeSet<String>> {
    let folder = root().join("tests/fuzz/fuzz_targets");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let decoded = text.lines().filter_map(|line| name_after(line, "exact::<"));
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, decoded.map(str::to_owned).collect())
        })
        .collect()
}

#[test]
fn every_decoder_is_fuzzed_and_the_readme_says_where() {
    let mut decoders = BTreeSet::new();
    sources(&root().join("proto/src"), &mut decoders);
    decoders.retain(|name| !NOT_ALONE.contains(&name.as_str()));
    assert!(decoders.len() > 120, "{} decoders", decoders.len());
    let (targets, page) = (targets(), fs::read_to_string(root().join("tests/README.md")).unwrap());
    for decoder in decoders {
        let by: Vec<&String> = targets
            .iter()
            .filter(|(_, decoded)| decoded.contains(&decoder))
            .map(|(target, _)| target)
            .collect();
        assert!(!by.is_empty(), "{decoder} is decoded by no fuzz target");
        let said = by.iter().any(|target| {
            let mut rows = page.lines().filter(|line| line.starts_with(&format!("| `{target}` |")));
            rows.any(|row| row.contains(&format!("`{decoder}`")))
        });
        assert!(said, "tests/README.md does not say that {by:?} decodes {decoder}");
    }
}
