//! The steps about people among each other: draft-ietf-mimi-protocol, sections 5.7 to 5.9.

use mimi_hub_proto::content::{MimiContent, Part};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri};
use mimi_hub_proto::{IdentifierQueryCode, QueryElement, SearchType};

use super::{CLIENT_A1, CLIENT_B1, Outcome, Play, SEEN_MAX, parse};
use crate::OpsError;
use crate::client::{Consent, ConsentAnswer, ProfileEntry, ROLE_MEMBER, Report};

/// Where Alice and Bob go on.
const TEAROOM: &str = "mimi://a.example/r/tearoom";
const INSULT: &str = "You play chess like a toaster";

fn failed(what: &str) -> OpsError {
    OpsError::Denied {
        what: "demo step",
        status: "unexpected".to_owned(),
        description: what.to_owned(),
    }
}

fn element(search_type: SearchType, value: &str) -> QueryElement {
    QueryElement {
        search_type,
        search_value: value.to_owned(),
    }
}

impl Play {
    /// Bob can be found by a part of his name, Alice by her handle alone; each by the other provider.
    pub(super) async fn discovery(&mut self) -> Outcome {
        let (alice, bob) = (&self.cast[CLIENT_A1], &self.cast[CLIENT_B1]);
        let (alices, bobs) = (self.user(CLIENT_A1), self.user(CLIENT_B1));
        let fields = [
            ProfileEntry::new("oidc", "given_name", "Robert", "partial"),
            ProfileEntry::new("vcard", "ORG", "Builders", "exact"),
            ProfileEntry::new("vcard", "TEL", "+12125551212", "never"),
        ];
        bob.gateway().put_profile(&bobs, &fields).await?;
        let handle = "im:alice@a.example";
        let fields = [ProfileEntry::new("vcard", "IMPP", handle, "exact")];
        alice.gateway().put_profile(&alices, &fields).await?;

        let (a, b): (ProviderDomain, ProviderDomain) = (parse("a.example")?, parse("b.example")?);
        let org = || element(SearchType::VcardField("ORG".to_owned()), "Builders");
        let queries = [
            (
                alice,
                &b,
                vec![element(SearchType::PartialName, "obe"), org()],
                Some(&bobs),
            ),
            (alice, &b, vec![element(SearchType::PartialName, "ice"), org()], None),
            (alice, &b, vec![element(SearchType::Phone, "+12125551212")], None),
            (bob, &a, vec![element(SearchType::Handle, handle)], Some(&alices)),
            (bob, &a, vec![element(SearchType::WholeProfile, "alice")], None),
        ];
        let mut details = Vec::new();
        for (who, domain, query, wanted) in queries {
            let response = who.find(domain, query).await?;
            let found: Vec<_> = response
                .found_profiles()
                .iter()
                .map(|profile| &profile.stable_uri)
                .collect();
            if found != wanted.into_iter().collect::<Vec<_>>() {
                return Err(failed(&format!("{:?}: {found:?}", response.response_code())));
            }
            details.extend(wanted.map(|user| format!("{user} is found")));
        }
        let too_short = alice.find(&b, vec![element(SearchType::PartialName, "o")]).await?;
        if too_short.response_code() != IdentifierQueryCode::Ambiguous {
            return Err(failed("a query for one letter is answered"));
        }
        Ok(details)
    }

    /// Without Bob's consent his provider gives out no KeyPackage; his grant brings them.
    pub(super) async fn consent(&mut self) -> Outcome {
        let room: RoomUri = parse(TEAROOM)?;
        let (alices, bobs) = (self.user(CLIENT_A1), self.user(CLIENT_B1));
        let nobody = Consent {
            requester: None,
            room: None,
            allow: false,
        };
        self.cast[CLIENT_B1].gateway().put_consent(&bobs, &nobody).await?;
        for client in self
            .cast
            .iter_mut()
            .filter(|client| *client.state().identity().user() == bobs)
        {
            client.publish_key_packages(1).await?;
        }
        let alice = &mut self.cast[CLIENT_A1];
        alice.create_room(&room, "Tearoom").await?;
        match alice.add_user(&room, &bobs, ROLE_MEMBER).await {
            Err(OpsError::NoKeyMaterial { status, .. }) if status == "NoConsent" => {}
            other => return Err(failed(&format!("Bob is added against his will: {other:?}"))),
        }
        alice.request_consent(&bobs, Some(&room)).await?;
        let bob = &self.cast[CLIENT_B1];
        bob.consent_until("Alice's request", SEEN_MAX, |view| {
            view.requests
                .iter()
                .any(|asked| asked.requester == alices && asked.room.as_ref() == Some(&room))
        })
        .await?;
        let grant = ConsentAnswer {
            requester: alices,
            room: Some(room.clone()),
            allow: true,
            notify: true,
            key_packages: true,
        };
        bob.gateway().answer_consent(&bobs, &grant).await?;
        let alice = &mut self.cast[CLIENT_A1];
        let view = alice
            .consent_until("Bob's grant", SEEN_MAX, |view| {
                view.updates.iter().any(|told| told.target == bobs && told.granted)
            })
            .await?;
        let told = view.updates.iter().find(|told| told.target == bobs && told.granted);
        let told = told.ok_or_else(|| failed("the grant is gone"))?;
        alice.add_granted(&room, told, ROLE_MEMBER).await?;
        let bob = &mut self.cast[CLIENT_B1];
        bob.sync_until("the Welcome", SEEN_MAX, |state| state.is_member(&room))
            .await?;
        Ok(vec![format!(
            "noConsent, requestConsent, updateConsent with {} KeyPackages, and Bob is in",
            told.key_packages.len()
        )])
    }

    /// Bob insults Alice. She reports what he said, and what he did not say.
    pub(super) async fn abuse_report(&mut self) -> Outcome {
        let room: RoomUri = parse(TEAROOM)?;
        let bobs = self.user(CLIENT_B1);
        self.cast[CLIENT_B1].send_text(&room, INSULT).await?;
        let alice = &mut self.cast[CLIENT_A1];
        alice
            .sync_until("Bob's message", SEEN_MAX, |state| {
                state.evidence(&room).iter().any(|evidence| evidence.sender == bobs)
            })
            .await?;
        let said = alice
            .state()
            .evidence(&room)
            .into_iter()
            .rfind(|evidence| evidence.sender == bobs)
            .map(|evidence| evidence.message.clone())
            .ok_or_else(|| failed("the evidence is gone"))?;
        let mut content = MimiContent::decode(&said.message_content).map_err(OpsError::answer("MimiContent"))?;
        if let Part::Single { content, .. } = &mut content.nested_part.part {
            *content = b"something worse".to_vec();
        }
        let mut forged = said.clone();
        forged.message_content = content.encode();
        alice.report_abuse(&room, &bobs, "insults", vec![said, forged]).await?;

        let page = alice.gateway().abuse_reports(None, 100).await?;
        let [Report { messages, report, .. }] = page.reports.as_slice() else {
            return Err(failed(&format!("{} reports wait", page.reports.len())));
        };
        let verdicts: Vec<&str> = messages.iter().map(|message| message.verdict.as_str()).collect();
        if verdicts != ["proven", "not proven"] || messages[0].text.as_deref() != Some(INSULT) {
            return Err(failed(&format!("{messages:?}")));
        }
        let why = messages[1].why.clone().unwrap_or_default();
        alice.gateway().close_report(&room, *report).await?;
        Ok(vec![
            "what Bob said is proven".to_owned(),
            format!("what he did not say is not: {why}"),
        ])
    }
}
