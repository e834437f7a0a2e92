//! Input that is cut, bent or made up. Nothing panics, and what is accepted has the one encoding it came in.

use mimi_hub_proto::tls::encode;
use mimi_hub_proto::{Error, FanoutMessage, MAX_FANOUT_MESSAGES, decode_all, encode_all};
use proptest::prelude::*;

use crate::samples::{Sample, samples};

/// Octets are refused, or come out as they went in.
fn check(sample: &Sample, octets: &[u8]) {
    if let Ok(recoded) = (sample.recode)(octets) {
        assert!(
            recoded == octets,
            "{} was accepted in an encoding that is not its own: {octets:02x?}",
            sample.name
        );
    }
}

#[test]
fn every_truncation_is_refused() {
    for sample in samples() {
        for length in 0..sample.octets.len() {
            let result = (sample.recode)(&sample.octets[..length]);
            assert!(
                matches!(result, Err(Error::Truncated { .. })),
                "{} cut to {length}: {result:?}",
                sample.name
            );
        }
    }
}

#[test]
fn trailing_octets_are_refused() {
    for sample in samples() {
        let octets = [&sample.octets[..], &[0]].concat();
        assert_eq!(
            (sample.recode)(&octets),
            Err(Error::Trailing { octets: 1 }),
            "{}",
            sample.name
        );
    }
}

#[test]
fn every_bit_flip_is_refused_or_has_one_encoding() {
    for sample in samples() {
        let mut octets = sample.octets.clone();
        for bit in 0..octets.len() * 8 {
            octets[bit / 8] ^= 1 << (bit % 8);
            check(&sample, &octets);
            octets[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn a_length_of_a_gibibyte_anywhere_is_refused_or_is_data() {
    let bomb = [0xbf, 0xff, 0xff, 0xff];
    for sample in samples() {
        for start in 0..sample.octets.len() {
            let mut octets = sample.octets.clone();
            let end = octets.len().min(start + bomb.len());
            octets[start..end].copy_from_slice(&bomb[..end - start]);
            check(&sample, &octets);
            // Put in front of what follows instead of over it, all later fields are displaced as well.
            let displaced = [&sample.octets[..start], &bomb, &sample.octets[start..]].concat();
            check(&sample, &displaced);
        }
    }
}

#[test]
fn the_end_of_a_vector_ends_what_is_in_it() {
    // Each octet made one smaller or larger: among them are all length prefixes, so that vectors are longer than their
    // content or cut into it.
    for sample in samples() {
        for position in 0..sample.octets.len() {
            for by in [1, u8::MAX, 0x40, 0x80] {
                let mut octets = sample.octets.clone();
                octets[position] = octets[position].wrapping_add(by);
                check(&sample, &octets);
            }
        }
    }
}

fn fanout_messages() -> Vec<FanoutMessage> {
    let samples = samples();
    let octets = samples
        .iter()
        .filter(|sample| sample.name.starts_with("fanout_message."));
    octets
        .map(|sample| mimi_hub_proto::tls::decode_exact(&sample.octets).unwrap())
        .collect()
}

#[test]
fn protocol_5_5_several_fanout_messages_are_concatenated() {
    let messages = fanout_messages();
    assert_eq!(messages.len(), 6);
    let body = encode_all(&messages);
    assert_eq!(body, messages.iter().flat_map(encode).collect::<Vec<u8>>());
    assert_eq!(decode_all(&body), Ok(messages));
    assert!(decode_all(&[]).is_err());
    assert!(decode_all(&body[..body.len() - 1]).is_err());
}

#[test]
fn the_number_of_fanout_messages_is_bounded() {
    let smallest = fanout_messages()
        .into_iter()
        .min_by_key(|message| encode(message).len())
        .unwrap();
    let full = encode(&smallest).repeat(MAX_FANOUT_MESSAGES);
    assert_eq!(
        decode_all(&full).map(|messages| messages.len()),
        Ok(MAX_FANOUT_MESSAGES)
    );
    let error = decode_all(&[full, encode(&smallest)].concat());
    assert!(matches!(
        error,
        Err(Error::Limit {
            what: "FanoutMessages",
            ..
        })
    ));
}

proptest! {
    #[test]
    fn random_octets_are_refused_or_have_one_encoding(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        for sample in samples() {
            check(&sample, &octets);
        }
        let _ = decode_all(&octets);
    }

    #[test]
    fn several_changes_at_once(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let samples = samples();
        let sample = &samples[which.index(samples.len())];
        let mut octets = sample.octets.clone();
        for (position, value) in changes {
            let position = position.index(octets.len());
            octets[position] = value;
        }
        check(sample, &octets);
    }
}
