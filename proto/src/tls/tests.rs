//! Prefixes, bounds and the primitive types.

use super::{Decode, Reader, decode_exact, encode};
use crate::Error;

#[test]
fn rfc9420_2_1_2_length_prefix_is_minimal() {
    for (length, prefix) in [
        (0usize, vec![0x00u8]),
        (63, vec![0x3f]),
        (64, vec![0x40, 0x40]),
        (16383, vec![0x7f, 0xff]),
        (16384, vec![0x80, 0x00, 0x40, 0x00]),
    ] {
        let octets = encode(&vec![7u8; length]);
        assert_eq!(octets[..octets.len() - length], prefix);
        assert_eq!(decode_exact::<Vec<u8>>(&octets), Ok(vec![7; length]));
    }
}

#[test]
fn rfc9420_2_1_2_longer_prefix_than_needed_is_refused() {
    assert_eq!(
        decode_exact::<Vec<u8>>(&[0x40, 0x01, 9]),
        Err(Error::NonMinimalLength { length: 1 })
    );
    assert_eq!(
        decode_exact::<Vec<u8>>(&[0x80, 0, 0, 1, 9]),
        Err(Error::NonMinimalLength { length: 1 })
    );
}

#[test]
fn rfc9420_2_1_2_prefix_11_is_refused() {
    assert_eq!(
        decode_exact::<Vec<u8>>(&[0xc0, 0, 0, 0]),
        Err(Error::LengthPrefix { octet: 0xc0 })
    );
}

#[test]
fn a_vector_of_a_gibibyte_is_refused_before_anything_is_allocated() {
    let error = decode_exact::<Vec<u8>>(&[0xbf, 0xff, 0xff, 0xff, 1, 2]);
    assert_eq!(
        error,
        Err(Error::Truncated {
            needed: (1 << 30) - 1,
            available: 2
        })
    );
    let error = decode_exact::<Vec<u64>>(&[0xbf, 0xff, 0xff, 0xff, 1, 2]);
    assert_eq!(
        error,
        Err(Error::Truncated {
            needed: (1 << 30) - 1,
            available: 2
        })
    );
}

#[test]
fn a_nested_vector_cannot_reach_beyond_the_outer_one() {
    // The outer vector holds two octets; the inner one claims three, which are there, but outside.
    let error = decode_exact::<Vec<Vec<u8>>>(&[0x02, 0x03, 1, 2, 3]);
    assert_eq!(
        error,
        Err(Error::Truncated {
            needed: 3,
            available: 1
        })
    );
}

#[test]
fn an_element_cut_by_the_end_of_its_vector_is_refused() {
    let error = decode_exact::<Vec<u16>>(&[0x03, 0, 1, 0]);
    assert_eq!(
        error,
        Err(Error::Truncated {
            needed: 2,
            available: 1
        })
    );
}

#[test]
fn octets_after_the_end_are_refused() {
    assert_eq!(decode_exact::<u16>(&[0, 1, 2]), Err(Error::Trailing { octets: 1 }));
}

#[test]
fn rfc9420_2_1_1_optional_has_a_presence_octet_of_zero_or_one() {
    assert_eq!(encode(&Some(5u32)), [1, 0, 0, 0, 5]);
    assert_eq!(encode(&None::<u32>), [0]);
    let error = decode_exact::<Option<u32>>(&[2, 0, 0, 0, 5]);
    assert_eq!(
        error,
        Err(Error::UnknownValue {
            what: "optional presence",
            value: 2
        })
    );
}

#[test]
fn room_policy_5_bool_is_zero_or_one() {
    assert_eq!(decode_exact::<bool>(&[1]), Ok(true));
    assert_eq!(decode_exact::<bool>(&[0]), Ok(false));
    assert_eq!(
        decode_exact::<bool>(&[2]),
        Err(Error::UnknownValue { what: "bool", value: 2 })
    );
}

#[test]
fn strings_are_utf8() {
    assert_eq!(decode_exact::<String>(&[2, 0xc3, 0xa9]), Ok("é".to_owned()));
    assert_eq!(decode_exact::<String>(&[1, 0xff]), Err(Error::Utf8 { what: "string" }));
}

#[test]
fn several_values_can_be_read_one_after_the_other() {
    let mut reader = Reader::new(&[0, 1, 2]);
    assert_eq!(u8::decode(&mut reader), Ok(0));
    assert_eq!(reader.remaining(), 2);
    assert_eq!(u16::decode(&mut reader), Ok(0x0102));
    assert!(reader.is_empty());
}
