//! The examples of draft-ietf-mimi-content, section 5 and appendix B. Each is built from what its diagnostic notation
//! says. The draft's message ID is a hash over the whole encoding, so that it proves every octet of ours.

use crate::content::{
    ContentExtensions, Disposition, Expiration, ExternalPart, MessageId, MimiContent, NestedPart, Part, PartSemantics,
};

const ALICE: &str = "mimi://example.com/u/alice-smith";
const BOB: &str = "mimi://example.com/u/bob-jones";
const CATHY: &str = "mimi://example.com/u/cathy-washington";
const ROOM: &str = "mimi://example.com/r/engineering_team";
const MARKDOWN: &str = "text/markdown;variant=GFM-MIMI";
const HTML: &str = "text/html;charset=utf-8";
const PLAIN: &str = "text/plain;charset=utf-8";

const ORIGINAL: &str = "017ce54837404c3696e0c747b985cb172716d0ed0a3d249ca63ace7d82a096f4";
const REPLY: &str = "015354973c2b65ca937bf1e035ae53a5ab80e947afa43d46920d4202e5cc0b27";
const REACTION: &str = "0158c4288911e50a8f6be3f47746b6682f10fd91bc8c05557aa589a3157aff68";

fn hex<const N: usize>(text: &str) -> [u8; N] {
    assert_eq!(text.len(), 2 * N);
    std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
}

fn id(text: &str) -> Option<MessageId> {
    Some(MessageId(hex(text)))
}

fn message(salt: &str, sender: &str, nested_part: NestedPart) -> MimiContent {
    MimiContent {
        salt: hex(salt),
        replaces: None,
        topic_id: Vec::new(),
        expires: None,
        in_reply_to: None,
        extensions: ContentExtensions::for_franking(sender, ROOM),
        nested_part,
    }
}

fn part(disposition: Disposition, language: &str, part: Part) -> NestedPart {
    NestedPart {
        disposition,
        language: language.into(),
        part,
    }
}

fn single(content_type: &str, content: &[u8]) -> Part {
    Part::Single {
        content_type: content_type.into(),
        content: content.into(),
    }
}

fn render(content_type: &str, content: &str) -> NestedPart {
    part(Disposition::RENDER, "", single(content_type, content.as_bytes()))
}

fn multi(disposition: Disposition, part_semantics: PartSemantics, parts: Vec<NestedPart>) -> NestedPart {
    part(disposition, "", Part::Multi { part_semantics, parts })
}

/// The message has the draft's ID, and reads back as it was built.
fn check(content: &MimiContent, expected: &str) {
    let octets = content.encode();
    let (sender, room) = (
        content.extensions.sender_uri().unwrap(),
        content.extensions.room_uri().unwrap(),
    );
    assert_eq!(
        Some(MessageId::of(&octets, &content.salt, sender, room).unwrap()),
        id(expected)
    );
    assert_eq!(MimiContent::decode(&octets).as_ref(), Ok(content));
}

#[test]
fn content_5_1_original() {
    let body = render(MARKDOWN, "Hi everyone, we just shipped release 2.0. __Good  work__!");
    check(&message("5eed9406c2545547ab6f09f20a18b003", ALICE, body), ORIGINAL);
}

#[test]
fn content_5_2_reply() {
    let body = render(MARKDOWN, "Right on! _Congratulations_ 'all!");
    let reply = message("11a458c73b8dd2cf404db4b378b8fe4d", BOB, body);
    check(
        &MimiContent {
            in_reply_to: id(ORIGINAL),
            ..reply
        },
        REPLY,
    );
}

#[test]
fn content_5_3_reaction() {
    let body = part(Disposition::REACTION, "", single(PLAIN, "❤".as_bytes()));
    let reaction = message("d37bc0e6a8b4f04e9e6382375f587bf6", CATHY, body);
    check(
        &MimiContent {
            in_reply_to: id(ORIGINAL),
            ..reaction
        },
        REACTION,
    );
}

#[test]
fn content_5_4_mention() {
    let text = "Kudos to [@Alice Smith](mimi://example.com/u/alice-smith) for making the release happen!";
    let mention = message("04f290e215d0f82d1750bfa8b7dc089d", CATHY, render(MARKDOWN, text));
    let mention = MimiContent {
        in_reply_to: id(ORIGINAL),
        ..mention
    };
    check(
        &mention,
        "018d825adf9f6be00dcafc5704c4102f5022e74219d0b603e4ba7622654042af",
    );
}

#[test]
fn content_5_4_mention_in_html() {
    let text = "<p>Kudos to <a href=\"mimi://example.com/u/alice-smith\">@Alice Smith</a> for making the release \
                happen!</p>";
    let mention = message("15d9705fd5bf5e02b0af47c85f8b98fe", CATHY, render(HTML, text));
    let mention = MimiContent {
        in_reply_to: id(ORIGINAL),
        ..mention
    };
    check(
        &mention,
        "01967ff8e9a66819738ad5cf26d2e0388a3b81d86b0f61d129c077d043ee2a4e",
    );
}

#[test]
fn content_5_5_edit() {
    let edit = message(
        "b8c2e6d8800ecf45df39be6c45f4c042",
        BOB,
        render(MARKDOWN, "Right on! _Congratulations_ y'all!"),
    );
    let edit = MimiContent {
        replaces: id(REPLY),
        in_reply_to: id(ORIGINAL),
        ..edit
    };
    check(
        &edit,
        "014028c0deddbdea56bec26172f6ede953d11024cb82b8192b5e2aea62d7fb47",
    );
}

#[test]
fn content_5_6_delete() {
    let delete = message(
        "0a590d73b2c7761c39168be5ebf7f2e6",
        BOB,
        part(Disposition::RENDER, "", Part::Null),
    );
    let delete = MimiContent {
        replaces: id(REPLY),
        in_reply_to: id(ORIGINAL),
        ..delete
    };
    check(
        &delete,
        "011d9efc78d04d4dcf4d82b07d5199bbef37011c1f0c7e004b6111c6dda504b4",
    );
}

#[test]
fn content_5_7_unlike() {
    let unlike = message(
        "c5ba86dc9fd272e58ca52ec805b79199",
        CATHY,
        part(Disposition::REACTION, "", Part::Null),
    );
    let unlike = MimiContent {
        replaces: id(REACTION),
        in_reply_to: id(ORIGINAL),
        ..unlike
    };
    check(
        &unlike,
        "013aadbb8f313253c8930f4e93c6ca54b2ed06d258185bdcec3870534c8a4ec4",
    );
}

#[test]
fn content_5_8_expiring() {
    let text = "__*VPN GOING DOWN*__ I'm rebooting the VPN in ten minutes unless anyone objects.";
    let expiring = message("33be993eb39f418f9295afc2ae160d2d", ALICE, render(MARKDOWN, text));
    let expires = Some(Expiration {
        relative: false,
        time: 1_644_390_004,
    });
    let expiring = MimiContent { expires, ..expiring };
    check(
        &expiring,
        "01e59db8173939facc2c8a4a0f0ae8d0c7a11a81239626630c9464a8d6717a03",
    );
}

#[test]
fn content_5_9_attachment() {
    let external = ExternalPart {
        content_type: "video/mp4".into(),
        url: "https://example.com/storage/8ksB4bSrrRE.mp4".into(),
        expires: 0,
        size: 708_234_961,
        enc_alg: 1,
        key: hex::<16>("21399320958a6f4c745dde670d95e0d8").into(),
        nonce: hex::<12>("c86cf2c33f21527d1dd76f5b").into(),
        aad: Vec::new(),
        hash_alg: 1,
        content_hash: hex::<32>("9ab17a8cf0890baaae7ee016c7312fcc080ba46498389458ee44f0276e783163").into(),
        description: "2 hours of key signing video".into(),
        filename: "bigfile.mp4".into(),
    };
    let body = part(Disposition::ATTACHMENT, "en", Part::External(Box::new(external)));
    let attachment = message("18fac6371e4e53f1aeaf8a013155c166", BOB, body);
    check(
        &attachment,
        "0176180c7d19a925021fe446d241134d05c38e0d999cdc0f39c391d2377ed9d1",
    );
}

#[test]
fn content_5_10_conferencing() {
    let external = ExternalPart {
        url: "https://example.com/join/12345".into(),
        description: "Join the Foo 118 conference".into(),
        ..Default::default()
    };
    let body = part(Disposition::SESSION, "", Part::External(Box::new(external)));
    let conference = message("678ac6cd54de049c3e9665cd212470fa", ALICE, body);
    let conference = MimiContent {
        topic_id: b"Foo 118".to_vec(),
        ..conference
    };
    check(
        &conference,
        "01496d15a8dba28d7397f9868b70768e4a67f765d5b5b1ae9e03848c5fdeb0ba",
    );
}

#[test]
fn content_b_1_proprietary_and_common_formats() {
    let fancy = single(
        "application/vnd.examplevendor-fancy-im-message",
        &hex::<15>("dc861ebaa718fd7c3ca159f71a2001"),
    );
    let parts = vec![render(MARKDOWN, "# Welcome!"), part(Disposition::RENDER, "", fancy)];
    let body = multi(Disposition::RENDER, PartSemantics::ChooseOne, parts);
    let content = message("261c953e178af653fe3d42641b91d814", ALICE, body);
    check(
        &content,
        "01da5a515ec5db42cc4dcc19b90c3c31245d8a1cfcce11318f24eb11dce0990e",
    );
}

#[test]
fn content_b_2_multiple_reactions() {
    let reaction = |emoji: &str| part(Disposition::REACTION, "", single(PLAIN, emoji.as_bytes()));
    let parts = vec![reaction("❤"), reaction("🥳"), reaction("🤞")];
    let body = multi(Disposition::REACTION, PartSemantics::ProcessAll, parts);
    let content = message("8528dc2d92e4f1944d62042907ab94d0", ALICE, body);
    check(
        &content,
        "01d65918c6c51c8e76546337276ae6f4bfd873d867d5cb57c76bcdca3d999dd7",
    );
}

#[test]
fn content_b_3_complicated_nested() {
    let page = |language: &str, title: &str, image: u8, alt: &str| {
        let html = format!(
            "<html><body><h1>{title}!</h1>\n<img src=\"cid:{image}@local.invalid\" alt=\"{alt}\"/>\n</body></html>"
        );
        part(Disposition::RENDER, language, single(HTML, html.as_bytes()))
    };
    let version = |image: u8, content_type: &str, content: [u8; 16]| {
        let pages = vec![
            page("en", "Welcome", image, "Welcome image"),
            page("fr", "Bienvenue", image, "Image bienvenue"),
        ];
        let page = multi(Disposition::RENDER, PartSemantics::ChooseOne, pages);
        let image = part(Disposition::INLINE, "", single(content_type, &content));
        multi(Disposition::RENDER, PartSemantics::ProcessAll, vec![page, image])
    };
    let versions = vec![
        version(5, "image/gif", hex("dc861ebaa718fd7c3ca159f71a2001a7")),
        version(10, "image/png", hex("fa444237451a05a72bb0f67037cc1669")),
    ];
    let body = multi(Disposition::RENDER, PartSemantics::ChooseOne, versions);
    let content = message("b8362793168d18c049b882d4642a2274", ALICE, body);
    check(
        &content,
        "01cfebeadbdb83c1eefb6403ba4852daf8bbbf9cd53bf5035a74d5d741950c9f",
    );
}
