//! Golden octets: `testdata/golden/<name>.hex`. A change of them is a change of the wire format, which other providers
//! see. To write them anew: `UPDATE_GOLDEN=1 cargo test -p mimi-hub-proto --test wire golden`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::samples::samples;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden")
}

/// Lines of 32 octets.
fn to_hex(octets: &[u8]) -> String {
    octets
        .chunks(32)
        .map(|line| line.iter().map(|octet| format!("{octet:02x}")).collect::<String>() + "\n")
        .collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).unwrap() as u8)
        .collect();
    assert_eq!(digits.len() % 2, 0);
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn golden_octets_are_written_and_read() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for sample in samples() {
        let path = folder().join(format!("{}.hex", sample.name));
        if update {
            fs::write(&path, to_hex(&sample.octets)).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let golden = from_hex(&text);
        assert_eq!(
            to_hex(&sample.octets),
            to_hex(&golden),
            "{} is encoded differently",
            sample.name
        );
        assert!(
            (sample.decodes_to_it)(&golden),
            "{} is decoded differently",
            sample.name
        );
    }
}

#[test]
fn golden_files_are_those_of_the_samples() {
    let names: Vec<String> = samples().iter().map(|sample| format!("{}.hex", sample.name)).collect();
    let unique: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(unique.len(), names.len(), "two samples share a name");
    let files = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(files.collect::<BTreeSet<_>>(), unique);
}
