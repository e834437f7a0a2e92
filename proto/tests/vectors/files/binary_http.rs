//! Binary HTTP messages (RFC 9292) of known length as JSON and as octets.

use serde_json::{Value, json};

use super::fields::{Read, field, hex, member, text, unhex, with};

/// A known-length message (RFC 9292, section 3.1).
pub(super) fn encode_message(message: &Value) -> Read<Vec<u8>> {
    let mut octets = Vec::new();
    if message.get("status").is_some() {
        octets.push(1);
        put_integer(&mut octets, field::<u16>(message, "status")?.into())?;
    } else {
        octets.push(0);
        for name in ["method", "scheme", "authority", "path"] {
            put(&mut octets, text(member(message, name)?)?.as_bytes())?;
        }
    }
    put(&mut octets, &field_section(member(message, "header")?)?)?;
    put(&mut octets, &unhex(text(member(message, "content")?)?)?)?;
    put(&mut octets, &field_section(member(message, "trailer")?)?)?;
    Ok(octets)
}

fn field_section(lines: &Value) -> Read<Vec<u8>> {
    let mut octets = Vec::new();
    for line in lines.as_array().ok_or("not a list")? {
        for name in ["name", "value"] {
            put(&mut octets, &field::<Vec<u8>>(line, name)?)?;
        }
    }
    Ok(octets)
}

fn put(to: &mut Vec<u8>, octets: &[u8]) -> Read<()> {
    put_integer(to, octets.len())?;
    to.extend(octets);
    Ok(())
}

/// A variable-length integer (RFC 9000, section 16), no longer than it needs to be.
fn put_integer(to: &mut Vec<u8>, integer: usize) -> Read<()> {
    let integer = u16::try_from(integer).map_err(|error| error.to_string())?;
    match integer {
        0..0x40 => to.extend(integer.to_be_bytes().last()),
        0x40..0x4000 => to.extend((integer | 0x4000).to_be_bytes()),
        _ => return Err(format!("{integer} is not needed here")),
    }
    Ok(())
}

/// The message, with the members that [`encode_message`] takes; none where the octets are to be refused.
pub(super) fn decode_message(octets: &[u8]) -> Option<Value> {
    let mut rest = octets;
    let control = match take_integer(&mut rest)? {
        0 => {
            let mut part = || Some(json!(str::from_utf8(take(&mut rest)?).ok()?));
            json!({ "method": part()?, "scheme": part()?, "authority": part()?, "path": part()? })
        }
        1 => json!({ "status": take_integer(&mut rest)? }),
        _ => return None,
    };
    let (header, content, trailer) = (section(&mut rest)?, section(&mut rest)?, section(&mut rest)?);
    let padding_only = rest.iter().all(|octet| *octet == 0);
    let sections = json!({
        "header": field_lines(header)?,
        "content": hex(content),
        "trailer": field_lines(trailer)?,
    });
    padding_only.then(|| with(control, sections))
}

fn field_lines(mut section: &[u8]) -> Option<Value> {
    let mut lines = Vec::new();
    while !section.is_empty() {
        lines.push(json!({ "name": hex(take(&mut section)?), "value": hex(take(&mut section)?) }));
    }
    Some(lines.into())
}

/// RFC 9292, section 3.8: sections that are empty may be missing at the end.
fn section<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if rest.is_empty() { Some(&[]) } else { take(rest) }
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = take_integer(rest)?.try_into().ok()?;
    rest.split_off(..len)
}

fn take_integer(rest: &mut &[u8]) -> Option<u64> {
    let first = *rest.first()?;
    let octets = rest.split_off(..1 << (first >> 6))?;
    let value = octets
        .iter()
        .skip(1)
        .fold(u64::from(first & 0x3f), |value, octet| value << 8 | u64::from(*octet));
    Some(value)
}
