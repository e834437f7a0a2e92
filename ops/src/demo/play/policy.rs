//! The steps about the room's policy: joining by a code, and a ban.

use super::{Outcome, Play, SEEN_MAX};
use crate::OpsError;
use crate::client::{JoinCodeTerms, ROLE_BANNED, ROLE_MEMBER, RoomChange};

/// Where Alice's client is in the cast.
const ALICE: usize = super::CLIENT_A1;
/// Who comes by code.
const DAVE: (&str, &str, &str) = ("c.example", "dave", "ClientD1");
const CODE: &str = "demo";
const TERMS: JoinCodeTerms = JoinCodeTerms {
    role: ROLE_MEMBER,
    expires_in_s: 600,
    uses_max: 1,
};

impl Play {
    /// Alice has her hub make a join code; Dave, whom nobody has added, joins with it.
    pub(super) async fn join_by_code(&mut self) -> Outcome {
        let alice = self.user(ALICE);
        let hub = self.providers[0].gateway.clone();
        let code = hub.put_join_code(&alice, &self.room, CODE, &TERMS).await?;
        self.enter(DAVE, 0).await?;
        let dave = self.cast.len() - 1;
        let guessed = self.cast[dave].join_by_code(&self.room, "a guess", ROLE_MEMBER).await;
        if !matches!(guessed, Err(OpsError::NoGroupInfo { .. })) {
            return Err(OpsError::Disagreement("a guessed join code was taken".to_owned()));
        }
        self.cast[dave]
            .join_by_code(&self.room, &code.code, ROLE_MEMBER)
            .await?;
        self.all_reach_epoch_of(dave).await?;
        self.everybody_speaks().await?;
        let codes = hub.join_codes(&alice, &self.room).await?;
        let used = codes.iter().find(|listed| listed.id == CODE).map(|listed| listed.uses);
        if used != Some(1) {
            return Err(OpsError::Disagreement(format!("the code was used {used:?} times")));
        }
        Ok(vec!["a guessed code is refused, the real one is used up".to_owned()])
    }

    /// The hub's moderators ban Dave: the hub proposes to remove his client, Alice commits it, and he stays out.
    pub(super) async fn ban(&mut self) -> Outcome {
        let dave = self.cast.len() - 1;
        let user = self.user(dave);
        self.providers[0].gateway.put_ban(&self.room, &user).await?;
        self.cast[ALICE].commit_pending(&self.room).await?;
        let room = self.room.clone();
        self.cast[dave]
            .sync_until("the removal", SEEN_MAX, |state| state.is_removed(&room))
            .await?;
        let ban = RoomChange::ChangeRole {
            user,
            role_index: ROLE_BANNED,
        };
        self.cast[ALICE].change(&self.room, &ban).await?;
        self.all_reach_epoch_of(ALICE).await?;
        let again = self.cast[dave].join(&self.room).await;
        if !matches!(again, Err(OpsError::NoGroupInfo { .. })) {
            return Err(OpsError::Disagreement("a banned user came back".to_owned()));
        }
        self.everybody_speaks().await?;
        Ok(vec![
            "the hub proposes, Alice commits, Dave does not come back".to_owned(),
        ])
    }
}
