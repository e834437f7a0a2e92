//! The operations of Oblivious HTTP (RFC 9458): `key-config`, `binary-http` (RFC 9292), `encapsulate`, `open-request` and
//! `open-response`: an asset that is asked for by a gateway, and what a gateway or a client refuses.

use serde_json::{Value, json};

use super::binary_http::{decode_message, encode_message};
use super::crypto::{Aead, HpkeContext, expand, extract, hpke_private_key, hpke_public_key};
use super::fields::{Fields, Read, field, hex, member, object, text, with};
use super::{case, expect};

/// DHKEM(X25519, HKDF-SHA256), RFC 9180, section 7.1.
const KEM_ID: u16 = 0x0020;
/// HKDF-SHA256, RFC 9180, section 7.2.
const KDF_ID: u16 = 0x0001;

const KEY_ID: u8 = 1;
const KEY_MATERIAL: [u8; 32] = [0x91; 32];

/// Octets of `hdr`.
const HDR_LEN: usize = 7;
/// Octets of `enc`.
const ENC_LEN: usize = 32;

pub(super) fn documents() -> Value {
    json!({ "ohttp": "RFC 9458", "binary-http": "RFC 9292" })
}

pub(super) fn cases() -> Read<Vec<Value>> {
    let config = key_config(&json!({
        "key_id": KEY_ID,
        "kem_id": KEM_ID,
        "key_material": hex(&KEY_MATERIAL),
        "symmetric_algorithms": [
            { "kdf_id": KDF_ID, "aead_id": Aead::Aes128Gcm.id() },
            { "kdf_id": KDF_ID, "aead_id": Aead::ChaCha20Poly1305.id() },
        ],
    }))?;
    let mut cases = vec![case(
        "the key configuration of a gateway",
        "ohttp 3.1",
        "key-config",
        config.clone(),
    )];
    let (messages, request, response) = messages()?;
    cases.extend(messages);
    let aes = exchange(Aead::Aes128Gcm, 0x92, &request, &response)?;
    let chacha = exchange(Aead::ChaCha20Poly1305, 0x93, &request, &response)?;
    for (name, exchange) in [
        ("an asset with AES-128-GCM", &aes),
        ("an asset with ChaCha20Poly1305", &chacha),
    ] {
        cases.push(case(name, "ohttp 4", "encapsulate", exchange.clone()));
    }
    cases.extend(requests(&config, &aes, &chacha)?);
    cases.extend(responses(&config, &aes, &chacha)?);
    Ok(cases)
}

/// The cases of binary HTTP; the request and the response of the others.
fn messages() -> Read<(Vec<Value>, Vec<u8>, Vec<u8>)> {
    let line = |name: &str, value: &str| json!({ "name": hex(name.as_bytes()), "value": hex(value.as_bytes()) });
    let request = |method: &str, path: &str, header: &[Value]| {
        json!({
            "method": method, "scheme": "https", "authority": "assets.b.example", "path": path,
            "header": header, "content": "", "trailer": [],
        })
    };
    let response = |status: u16, content_type: &str, content: &[u8]| {
        json!({
            "status": status, "header": [line("content-type", content_type)],
            "content": hex(content), "trailer": [],
        })
    };
    let content: Vec<u8> = (0..=99).collect();
    let messages = [
        ("a request for an asset", request("GET", "/cat?size=small", &[])),
        ("a request for what is known of it", request("HEAD", "/cat", &[])),
        (
            "a request with a field",
            request("GET", "/cat", &[line("accept", "image/*")]),
        ),
        ("an asset", response(200, "application/octet-stream", &content)),
        ("an empty asset", response(200, "image/png", b"")),
        ("a problem", response(404, "application/problem+json", b"{}")),
    ];
    let mut cases = Vec::new();
    for (name, message) in messages {
        let encoded = hex(&encode_message(&message)?);
        let more = json!({ "message": message, "encoded": encoded });
        cases.push(case(name, "binary-http 3.1", "binary-http", more));
    }
    let (request, response): (Vec<u8>, Vec<u8>) = (field(&cases[0], "encoded")?, field(&cases[3], "encoded")?);
    let mut framing = request.clone();
    framing[0] = 4;
    let refused = [
        ("no octets", Vec::new()),
        ("a framing indicator that is none", framing),
        ("a request that ends in its path", request[..30].to_vec()),
        (
            "a response whose content is cut",
            response[..response.len() - 2].to_vec(),
        ),
        ("a response that ends in its header", response[..10].to_vec()),
    ];
    for (name, octets) in refused {
        let more = json!({ "message": null, "encoded": hex(&octets) });
        cases.push(case(name, "binary-http 3.8", "binary-http", more));
    }
    Ok((cases, request, response))
}

fn exchange(aead: Aead, ephemeral: u8, request: &[u8], response: &[u8]) -> Read<Value> {
    let nonce: Vec<u8> = (0xa0..=0xff).take(response_nonce_len(aead).into()).collect();
    let inputs = json!({
        "key_id": KEY_ID,
        "kem_id": KEM_ID,
        "kdf_id": KDF_ID,
        "aead_id": aead.id(),
        "key_material": hex(&KEY_MATERIAL),
        "ephemeral_private_key": hex(&[ephemeral; 32]),
        "request": hex(request),
        "response_nonce": hex(&nonce),
        "response": hex(response),
    });
    let outputs = encapsulate(&inputs)?;
    Ok(with(inputs, outputs))
}

/// What a gateway opens and what it refuses.
fn requests(config: &Value, aes: &Value, chacha: &Value) -> Read<Vec<Value>> {
    let good: Vec<u8> = field(aes, "enc_request")?;
    let end = good.len();
    let changed = |at: usize, to: &[u8]| {
        let mut changed = good.clone();
        changed.splice(at..at + to.len(), to.iter().copied());
        changed
    };
    let flipped = |at: usize| changed(at, &[good[at] ^ 1]);
    let again = |change: Value| field::<Vec<u8>>(&encapsulate(&with(aes.clone(), change))?, "enc_request");
    let variants: Vec<(&str, Vec<u8>)> = vec![
        ("what a client sent, AES-128-GCM", good.clone()),
        ("what a client sent, ChaCha20Poly1305", field(chacha, "enc_request")?),
        ("no octets", Vec::new()),
        ("truncated in hdr", good[..HDR_LEN - 1].to_vec()),
        ("truncated behind hdr", good[..HDR_LEN].to_vec()),
        ("truncated in enc", good[..HDR_LEN + ENC_LEN - 1].to_vec()),
        ("truncated behind enc", good[..HDR_LEN + ENC_LEN].to_vec()),
        ("the last octet is missing", good[..end - 1].to_vec()),
        ("an octet follows", [good.as_slice(), &[0]].concat()),
        ("for another key id", again(json!({ "key_id": 2 }))?),
        (
            "for another key of this id",
            again(json!({ "key_material": hex(&[0x94; 32]) }))?,
        ),
        ("hdr altered: another key id", changed(0, &[2])),
        ("hdr altered: a KEM of others, 0x0010", changed(1, &[0x00, 0x10])),
        ("hdr altered: a KEM that is none, 0x0000", changed(1, &[0x00, 0x00])),
        (
            "hdr altered: a KDF that is not offered, 0x0002",
            changed(3, &[0x00, 0x02]),
        ),
        (
            "hdr altered: an AEAD that is not offered, 0x0002",
            changed(5, &[0x00, 0x02]),
        ),
        ("hdr altered: an unknown AEAD, 0x4a4a", changed(5, &[0x4a, 0x4a])),
        (
            "hdr altered: another AEAD that is offered, 0x0003",
            changed(5, &[0x00, 0x03]),
        ),
        ("enc altered", flipped(HDR_LEN)),
        ("enc of zeros", changed(HDR_LEN, &[0; ENC_LEN])),
        ("ct altered in its first octet", flipped(HDR_LEN + ENC_LEN)),
        ("ct altered in its last octet", flipped(end - 1)),
    ];
    let mut cases = Vec::new();
    for (name, enc_request) in variants {
        let inputs = json!({
            "key_config": config["key_config"],
            "key_material": config["key_material"],
            "enc_request": hex(&enc_request),
        });
        let outputs = open_request(&inputs)?;
        let name = format!("open the request: {name}");
        cases.push(case(name, "ohttp 4.3", "open-request", with(inputs, outputs)));
    }
    Ok(cases)
}

/// What a client opens and what it refuses.
fn responses(config: &Value, aes: &Value, chacha: &Value) -> Read<Vec<Value>> {
    let good: Vec<u8> = field(aes, "enc_response")?;
    let end = good.len();
    let nonce_len = usize::from(response_nonce_len(Aead::Aes128Gcm));
    let flipped = |at: usize| {
        let mut changed = good.clone();
        changed[at] ^= 1;
        changed
    };
    let other = encapsulate(&with(aes.clone(), json!({ "ephemeral_private_key": hex(&[0x95; 32]) })))?;
    let variants: Vec<(&str, &Value, Vec<u8>)> = vec![
        ("what the gateway sent, AES-128-GCM", aes, good.clone()),
        (
            "what the gateway sent, ChaCha20Poly1305",
            chacha,
            field(chacha, "enc_response")?,
        ),
        ("no octets", aes, Vec::new()),
        ("truncated in response_nonce", aes, good[..nonce_len - 1].to_vec()),
        ("truncated behind response_nonce", aes, good[..nonce_len].to_vec()),
        ("the last octet is missing", aes, good[..end - 1].to_vec()),
        ("an octet follows", aes, [good.as_slice(), &[0]].concat()),
        ("response_nonce altered", aes, flipped(0)),
        ("ct altered in its first octet", aes, flipped(nonce_len)),
        ("ct altered in its last octet", aes, flipped(end - 1)),
        ("the response to another request", aes, field(&other, "enc_response")?),
    ];
    let mut cases = Vec::new();
    for (name, exchange, enc_response) in variants {
        let inputs = json!({
            "key_config": config["key_config"],
            "ephemeral_private_key": exchange["ephemeral_private_key"],
            "hdr": exchange["hdr"],
            "enc_response": hex(&enc_response),
        });
        let outputs = open_response(&inputs)?;
        let name = format!("open the response: {name}");
        cases.push(case(name, "ohttp 4.4", "open-response", with(inputs, outputs)));
    }
    Ok(cases)
}

/// A key configuration of RFC 9458, section 3.1, with its inputs, and the list of it alone (section 3.2).
fn key_config(case: &Value) -> Read<Value> {
    let (key_id, kem_id): (u8, u16) = (field(case, "key_id")?, field(case, "kem_id")?);
    let key_material: Vec<u8> = field(case, "key_material")?;
    let private = hpke_private_key(&key_material)?;
    let public = hpke_public_key(&private)?;
    let algorithms = member(case, "symmetric_algorithms")?;
    let mut pairs = Vec::new();
    for pair in algorithms.as_array().ok_or("not a list")? {
        for name in ["kdf_id", "aead_id"] {
            pairs.extend(field::<u16>(pair, name)?.to_be_bytes());
        }
    }
    let config = [
        [key_id].as_slice(),
        &kem_id.to_be_bytes(),
        &public,
        &length(&pairs)?,
        &pairs,
    ]
    .concat();
    Ok(object([
        ("key_id", key_id.show()),
        ("kem_id", kem_id.show()),
        ("key_material", key_material.show()),
        ("symmetric_algorithms", algorithms.clone()),
        ("private_key", private.show()),
        ("public_key", public.show()),
        ("key_config", config.show()),
        ("ohttp_keys", [length(&config)?.as_slice(), &config].concat().show()),
    ]))
}

fn length(octets: &[u8]) -> Read<[u8; 2]> {
    let length = u16::try_from(octets.len()).map_err(|error| error.to_string())?;
    Ok(length.to_be_bytes())
}

/// What stands in a key configuration.
struct KeyConfig {
    key_id: u8,
    kem_id: u16,
    public: Vec<u8>,
    /// KDF and AEAD.
    algorithms: Vec<(u16, u16)>,
}

impl KeyConfig {
    fn read(octets: &[u8]) -> Option<Self> {
        let (&[key_id, a, b], rest) = octets.split_first_chunk()?;
        let (public, rest) = rest.split_at_checked(ENC_LEN)?;
        let (&len, rest) = rest.split_first_chunk()?;
        let (pairs, odd) = rest.as_chunks::<4>();
        let whole = odd.is_empty() && !pairs.is_empty() && usize::from(u16::from_be_bytes(len)) == rest.len();
        let pair = |&[a, b, c, d]: &[u8; 4]| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        whole.then(|| KeyConfig {
            key_id,
            kem_id: u16::from_be_bytes([a, b]),
            public: public.to_vec(),
            algorithms: pairs.iter().map(pair).collect(),
        })
    }

    fn of_case(case: &Value) -> Read<Self> {
        let octets: Vec<u8> = field(case, "key_config")?;
        KeyConfig::read(&octets).ok_or_else(|| "key_config is none".to_owned())
    }

    /// The AEAD of a header, where it is one for this key configuration.
    fn aead_of(&self, hdr: [u8; HDR_LEN]) -> Option<Aead> {
        let [key_id, a, b, c, d, e, f] = hdr;
        let (kem_id, kdf_id, aead_id) = (
            u16::from_be_bytes([a, b]),
            u16::from_be_bytes([c, d]),
            u16::from_be_bytes([e, f]),
        );
        let ours = key_id == self.key_id && kem_id == self.kem_id && self.algorithms.contains(&(kdf_id, aead_id));
        ours.then(|| Aead::of_id(aead_id)).flatten()
    }
}

/// RFC 9458, section 4.3: `info` from `hdr`.
fn info(hdr: &[u8]) -> Vec<u8> {
    [b"message/bhttp request\0", hdr].concat()
}

/// RFC 9458, section 4.4: max(Nn, Nk), as long as the exported secret and the nonce of a response are.
fn response_nonce_len(aead: Aead) -> u16 {
    aead.nonce_len().max(aead.key_len())
}

/// The exporter context of a response.
const RESPONSE: &[u8] = b"message/bhttp response";

/// RFC 9458, section 4.4: what a response is encrypted with.
struct ResponseKeys {
    salt: Vec<u8>,
    prk: Vec<u8>,
    aead_key: Vec<u8>,
    aead_nonce: Vec<u8>,
}

impl ResponseKeys {
    fn new(aead: Aead, secret: &[u8], enc: &[u8], response_nonce: &[u8]) -> Read<Self> {
        let salt = [enc, response_nonce].concat();
        let prk = extract(&salt, secret)?;
        Ok(ResponseKeys {
            aead_key: expand(&prk, b"key", aead.key_len())?,
            aead_nonce: expand(&prk, b"nonce", aead.nonce_len())?,
            salt,
            prk,
        })
    }
}

fn encapsulate(case: &Value) -> Read<Value> {
    let private = hpke_private_key(&field::<Vec<u8>>(case, "key_material")?)?;
    encapsulate_to(&private, case)
}

/// To the key pair of this private key.
fn encapsulate_to(private: &[u8], case: &Value) -> Read<Value> {
    let key_id: u8 = field(case, "key_id")?;
    let (kem_id, kdf_id, aead_id): (u16, u16, u16) =
        (field(case, "kem_id")?, field(case, "kdf_id")?, field(case, "aead_id")?);
    let aead = Aead::of_id(aead_id).filter(|_| (kem_id, kdf_id) == (KEM_ID, KDF_ID));
    let aead = aead.ok_or("the suite is unknown")?;
    let public = hpke_public_key(private)?;
    let (ephemeral, request): (Vec<u8>, Vec<u8>) = (field(case, "ephemeral_private_key")?, field(case, "request")?);
    let hdr = [
        [key_id].as_slice(),
        &kem_id.to_be_bytes(),
        &kdf_id.to_be_bytes(),
        &aead_id.to_be_bytes(),
    ]
    .concat();
    let info = info(&hdr);
    let context = HpkeContext::of_sender(aead, &public, &ephemeral, &info)?;
    let request_ct = context.seal(&request)?;
    let (response_nonce, response): (Vec<u8>, Vec<u8>) = (field(case, "response_nonce")?, field(case, "response")?);
    let len = response_nonce_len(aead);
    if response_nonce.len() != usize::from(len) {
        return Err("response_nonce has another length".to_owned());
    }
    let secret = context.export(RESPONSE, len)?;
    let keys = ResponseKeys::new(aead, &secret, &context.enc, &response_nonce)?;
    let response_ct = aead.seal(&keys.aead_key, &keys.aead_nonce, &response)?;
    Ok(object([
        ("private_key", private.to_vec().show()),
        ("public_key", public.show()),
        ("hdr", hdr.show()),
        ("info", info.show()),
        ("enc", context.enc.show()),
        ("request_ct", request_ct.show()),
        (
            "enc_request",
            [hdr.as_slice(), &context.enc, &request_ct].concat().show(),
        ),
        ("secret", secret.show()),
        ("salt", keys.salt.show()),
        ("prk", keys.prk.show()),
        ("aead_key", keys.aead_key.show()),
        ("aead_nonce", keys.aead_nonce.show()),
        ("response_ct", response_ct.show()),
        (
            "enc_response",
            [response_nonce.as_slice(), &response_ct].concat().show(),
        ),
    ]))
}

/// What a gateway makes of an encapsulated request: the request, if it opens.
fn open_request(case: &Value) -> Read<Value> {
    let config = KeyConfig::of_case(case)?;
    let private = hpke_private_key(&field::<Vec<u8>>(case, "key_material")?)?;
    if hpke_public_key(&private)? != config.public {
        return Err("key_config has another public key".to_owned());
    }
    let enc_request: Vec<u8> = field(case, "enc_request")?;
    let request = || {
        let (hdr, rest) = enc_request.split_first_chunk::<HDR_LEN>()?;
        let aead = config.aead_of(*hdr)?;
        let (enc, ct) = rest.split_at_checked(ENC_LEN)?;
        aead.hpke_open(&private, &info(hdr), enc, ct)
    };
    Ok(object([
        ("private_key", private.show()),
        ("request", request().map_or(Value::Null, |request| request.show())),
    ]))
}

/// What the client that has made a request makes of an encapsulated response: the response, if it opens.
fn open_response(case: &Value) -> Read<Value> {
    let config = KeyConfig::of_case(case)?;
    let hdr: Vec<u8> = field(case, "hdr")?;
    let aead = <[u8; HDR_LEN]>::try_from(hdr.as_slice()).ok();
    let aead = aead.and_then(|hdr| config.aead_of(hdr));
    let aead = aead.ok_or("hdr is for another key configuration")?;
    let ephemeral: Vec<u8> = field(case, "ephemeral_private_key")?;
    let context = HpkeContext::of_sender(aead, &config.public, &ephemeral, &info(&hdr))?;
    let len = response_nonce_len(aead);
    let secret = context.export(RESPONSE, len)?;
    let enc_response: Vec<u8> = field(case, "enc_response")?;
    let response = match enc_response.split_at_checked(len.into()) {
        Some((response_nonce, ct)) => {
            let keys = ResponseKeys::new(aead, &secret, &context.enc, response_nonce)?;
            aead.open(&keys.aead_key, &keys.aead_nonce, ct)
        }
        None => None,
    };
    let response = response.map_or(Value::Null, |response| response.show());
    Ok(object([("response", response)]))
}

pub(super) fn check(case: &Value) -> Read<()> {
    let outputs = match text(member(case, "operation")?)? {
        "key-config" => {
            let config = KeyConfig::of_case(case)?;
            expect(case, "key_id", &config.key_id.show())?;
            expect(case, "kem_id", &config.kem_id.show())?;
            expect(case, "public_key", &config.public.show())?;
            let pairs = config.algorithms.iter();
            let pairs = pairs
                .map(|(kdf, aead)| json!({ "kdf_id": kdf, "aead_id": aead }))
                .collect();
            expect(case, "symmetric_algorithms", &pairs)?;
            key_config(case)?
        }
        "binary-http" => {
            let encoded: Vec<u8> = field(case, "encoded")?;
            let message = decode_message(&encoded).unwrap_or(Value::Null);
            expect(case, "message", &message)?;
            match message {
                Value::Null => json!({}),
                message => json!({ "encoded": hex(&encode_message(&message)?) }),
            }
        }
        "open-request" => open_request(case)?,
        "open-response" => open_response(case)?,
        _ => {
            let outputs = encapsulate(case)?;
            agrees(case, &outputs)?;
            outputs
        }
    };
    for (name, found) in outputs.as_object().into_iter().flatten() {
        expect(case, name, found)?;
    }
    Ok(())
}

/// Another implementation of HPKE opens what ours has sealed, and exports the same.
fn agrees(case: &Value, outputs: &Value) -> Read<()> {
    let octets = |name: &str| field::<Vec<u8>>(outputs, name);
    let aead = Aead::of_id(field(case, "aead_id")?).ok_or("the suite is unknown")?;
    let (private, info, enc) = (octets("private_key")?, octets("info")?, octets("enc")?);
    let opened = aead.hpke_open(&private, &info, &enc, &octets("request_ct")?);
    expect(case, "request", &opened.map_or(Value::Null, |opened| opened.show()))?;
    let exported = aead.hpke_export(&private, &info, &enc, RESPONSE, response_nonce_len(aead))?;
    expect(case, "secret", &exported.show())?;
    let opened = aead.open(&octets("aead_key")?, &octets("aead_nonce")?, &octets("response_ct")?);
    expect(case, "response", &opened.map_or(Value::Null, |opened| opened.show()))
}

#[cfg(test)]
mod tests {
    use super::super::fields::unhex;
    use super::*;

    /// What the vectors are made with gives the RFC's own example.
    #[test]
    fn rfc_9458_a_the_complete_example_comes_to_the_same_octets() {
        let private = unhex("3c168975674b2fa8e465970b79c8dcf09f1c741626480bd4c6162fc5b6a98e1a").unwrap();
        let inputs = json!({
            "key_id": 1,
            "kem_id": KEM_ID,
            "kdf_id": KDF_ID,
            "aead_id": Aead::Aes128Gcm.id(),
            "ephemeral_private_key": "bc51d5e930bda26589890ac7032f70ad12e4ecb37abb1b65b1256c9c48999c73",
            "request": "00034745540568747470730b6578616d706c652e636f6d012f",
            "response_nonce": "c789e7151fcba46158ca84b04464910d",
            "response": "0140c8",
        });
        let outputs = encapsulate_to(&private, &inputs).unwrap();
        let expected = [
            ("info", "6d6573736167652f626874747020726571756573740001002000010001"),
            (
                "enc",
                "4b28f881333e7c164ffc499ad9796f877f4e1051ee6d31bad19dec96c208b472",
            ),
            (
                "enc_request",
                "010020000100014b28f881333e7c164ffc499ad9796f877f4e1051ee6d31bad19dec96c208b4726374e469135906992e1268c594d2a10c\
                 695d858c40a026e7965e7d86b83dd440b2c0185204b4d63525",
            ),
            ("secret", "62d87a6ba569ee81014c2641f52bea36"),
            (
                "prk",
                "979aaeae066cf211ab407b31ae49767f344e1501e475c84e8aff547cc5a683db",
            ),
            ("aead_key", "5d0172a080e428b16d298c4ea0db620d"),
            ("aead_nonce", "f6bf1aeb88d6df87007fa263"),
            (
                "enc_response",
                "c789e7151fcba46158ca84b04464910d86f9013e404feea014e7be4a441f234f857fbd",
            ),
        ];
        for (name, value) in expected {
            expect(&outputs, name, &json!(value)).unwrap();
        }
        agrees(&with(inputs, outputs.clone()), &outputs).unwrap();
        let config = "01002031e1f05a740102115220e9af918f738674aec95f54db6e04eb705aae8e79815500080001000100010003";
        let config = KeyConfig::read(&unhex(config).unwrap()).unwrap();
        expect(&outputs, "public_key", &config.public.show()).unwrap();
        assert_eq!(config.algorithms, [(1, 1), (1, 3)]);
        let response = decode_message(&[0x01, 0x40, 0xc8]).unwrap();
        assert_eq!((&response["status"], &response["content"]), (&json!(200), &json!("")));
    }

    #[test]
    fn only_what_was_sent_is_opened() {
        for case in cases().unwrap() {
            let name = case["name"].as_str().unwrap();
            let opened = match case["operation"].as_str() {
                Some("open-request") => &case["request"],
                Some("open-response") => &case["response"],
                _ => continue,
            };
            assert_eq!(!opened.is_null(), name.contains(": what "), "{name}");
        }
    }
}
