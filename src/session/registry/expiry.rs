//! What ends by itself: what nobody came back to, those who have done nothing for too long, and expired tokens.

use std::{num::NonZeroU64, sync::Arc};

use super::Registry;
use crate::session::{EndReason, Session, deadlines::Alarm, presence::Presence, rows::Number};

impl Registry {
    /// When there is something to [expire](Self::expire) next, if ever.
    pub fn due_ms(&self) -> Option<u64> {
        self.deadlines.first_ms()
    }

    /// Calls this, as long as it is kept, when [`due_ms`](Self::due_ms) comes to be sooner than it was.
    pub fn when_due_sooner(&self, call: &Arc<Alarm>) {
        self.deadlines.call(Arc::downgrade(call));
    }

    /// Gives up what was kept until now, and ends the sessions whose users have done nothing for too long. Costs
    /// nothing while nothing is due.
    pub fn expire(&self, now_ms: u64) {
        while self.expire_some(now_ms) {}
    }

    /// The same for a hundred sessions at the most, which takes less than a millisecond; answers whether more may be due.
    pub fn expire_some(&self, now_ms: u64) -> bool {
        const AT_ONCE: usize = 100;
        (0..AT_ONCE).all(|_| {
            let due = self.deadlines.due(now_ms);
            due.inspect(|(at_ms, place)| self.look_at(*place, *at_ms, now_ms)).is_some()
        })
    }

    /// The look at a session that was queued for then.
    fn look_at(&self, place: Number, at_ms: u64, now_ms: u64) {
        let Some(session) = self.rows.session(place) else { return };
        let id = session.who().id();
        let mut over = None;
        self.change(id, now_ms, |live, presence| {
            if !std::ptr::eq(live, &*session) {
                return None;
            }
            presence.queued_ms.take_if(|queued| queued.get() == at_ms);
            // It is not authorized any more, although nothing was done. The look may have been for something else
            // shortly before, and late.
            if live.expires_ms() <= now_ms {
                live.place().mark();
            }
            let end = presence.expire(now_ms);
            if end.is_none() {
                over = self.is_over(live, presence, now_ms);
            }
            end
        });
        if let Some((reason, words)) = over {
            // Asked once more under its guard: a newer token may have come in between.
            let may_end = |live: &Session, presence: &Presence| {
                std::ptr::eq(live, &*session) && self.is_over(live, presence, now_ms).is_some()
            };
            self.terminate_if(id, may_end, reason, words, now_ms);
        }
    }

    /// Why a session is not to go on, and the words for its client.
    fn is_over(
        &self,
        session: &Session,
        presence: &Presence,
        now_ms: u64,
    ) -> Option<(EndReason, &'static str)> {
        let is_past = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        if is_past(self.token_ends_ms(session, presence)) {
            Some((EndReason::TokenExpired, "the token has expired"))
        } else if is_past(self.idle_at_ms(session)) {
            Some((EndReason::Idle, "nothing was done for too long"))
        } else {
            None
        }
    }

    /// Queues a look at the session for when something is to be done with it next.
    pub(super) fn queue_look(&self, session: &Session, presence: &mut Presence, now_ms: u64) {
        let later_ms = now_ms.saturating_add(1);
        let next = if presence.is_ended() {
            None
        } else if presence.queued_ms.is_some_and(|queued| queued.get() <= now_ms) {
            // It is due, and whoever deals with it finds out what is next.
            return;
        } else {
            let expires_ms = Some(session.expires_ms()).filter(|at_ms| (later_ms..u64::MAX).contains(at_ms));
            let ends =
                [presence.deadline_ms(), self.idle_at_ms(session), self.token_ends_ms(session, presence)];
            ends.into_iter().flatten().chain(expires_ms).min()
        };
        // Never for the moment that is being dealt with, or dealing with it would not end.
        let next = next.and_then(|at_ms| NonZeroU64::new(at_ms.max(later_ms)));
        if next != presence.queued_ms {
            self.deadlines.change(session.place().number(), presence.queued_ms, next);
            presence.queued_ms = next;
        }
    }

    fn idle_ms(&self, session: &Session) -> Option<u64> {
        self.rules.idle_ms[session.who().scope().index()]
    }

    /// When this session's user has done nothing for too long, unless something is done until then.
    fn idle_at_ms(&self, session: &Session) -> Option<u64> {
        Some(session.last_action_ms().saturating_add(self.idle_ms(session)?))
    }

    /// When the session is over because its token has expired, unless a newer one comes. One that waits for its client is
    /// not: whoever comes back has to bring a token that holds.
    fn token_ends_ms(&self, session: &Session, presence: &Presence) -> Option<u64> {
        if presence.connections().is_empty() {
            return None;
        }
        let expires_ms = Some(session.expires_ms()).filter(|expires_ms| *expires_ms < u64::MAX)?;
        Some(expires_ms.saturating_add(self.rules.token_grace_ms))
    }

    /// How many looks at sessions are queued: one a session at the most.
    #[cfg(test)]
    pub(in crate::session) fn looks_to_come(&self) -> usize {
        self.deadlines.len()
    }
}
