//! The coming and going, on the schedule like everything else: who leaves when, how, and who comes instead.

use std::time::Duration;

use rand::{RngExt, seq::SliceRandom};

use super::{
    options::Options,
    plan::{Cut, Parting, SessionPlan, Stay},
};

/// Who has just come stays so long at least.
const SHORTEST_STAY: Duration = Duration::from_millis(100);

/// So long those are away who come back, each length as likely.
const AWAY: std::ops::Range<f64> = 0.1..2.0;

/// Where a session stands. When it leaves, its place is the newcomer's.
struct Place {
    session: usize,
    /// Nobody leaves here before that.
    free_from: Duration,
}

/// Plans what `--churn`, `--drop` and `--resume` ask for. Newcomers are added behind the others, in the order
/// in which they come. When nobody is there who could leave, nobody does.
pub(super) fn add(sessions: &mut Vec<SessionPlan>, options: &Options, rng: &mut impl rand::Rng) {
    if options.churn <= 0.0 {
        return;
    }
    let begin = options.messages_begin();
    let count = (options.duration.as_secs_f64() * options.churn).round() as usize;
    let dropped = (count as f64 * options.drop).round() as usize;
    // Exactly the share, in random order.
    let mut drops: Vec<bool> = (0..count).map(|k| k < dropped).collect();
    drops.shuffle(rng);
    let free_from = |session: &SessionPlan| session.stays[0].begins + SHORTEST_STAY;
    let mut places: Vec<_> = sessions
        .iter()
        .enumerate()
        .map(|(at, session)| Place { session: at, free_from: free_from(session) })
        .collect();
    for (k, drops) in drops.into_iter().enumerate() {
        let at = begin + Duration::from_secs_f64((k as f64 + 0.5) / options.churn);
        let Some(place) = pick(&places, at, rng) else { continue };
        let place = &mut places[place];
        let session = &mut sessions[place.session];
        let mut cut = |ways: &[Cut]| ways[rng.random_range(0..ways.len())];
        if drops && options.resume {
            let cut = cut(&[Cut::End, Cut::Reset, Cut::Late]);
            let tab = (session.tabs > 1 && rng.random_bool(0.5)).then(|| rng.random_range(0..session.tabs));
            let away = Duration::from_secs_f64(rng.random_range(AWAY));
            // Near the end it is for a shorter while: who is away when the ledger is made is not there.
            let back = at + away.min((options.messages_end() - at) / 2);
            part(session, at, Parting::Drop(cut, tab));
            session.stays.push(stay(back, options, rng));
            place.free_from = back + SHORTEST_STAY;
            continue;
        }
        let parting = if drops { Parting::Vanish(cut(&[Cut::End, Cut::Reset])) } else { Parting::Close };
        part(session, at, parting);
        let newcomer = newcomer(sessions, at, options, rng);
        *place = Place { session: sessions.len(), free_from: at + SHORTEST_STAY };
        sessions.push(newcomer);
    }
}

/// A place that somebody can leave.
fn pick(places: &[Place], at: Duration, rng: &mut impl rand::Rng) -> Option<usize> {
    const TRIES: usize = 32;
    let is_free = |place: &usize| places[*place].free_from <= at;
    let tried = (0..TRIES).map(|_| rng.random_range(0..places.len())).find(is_free);
    tried.or_else(|| (0..places.len()).find(is_free))
}

fn part(session: &mut SessionPlan, at: Duration, parting: Parting) {
    let last = session.stays.last_mut().expect("a session has a stay");
    (last.ends, last.parting) = (at, parting);
}

fn stay(begins: Duration, options: &Options, rng: &mut impl rand::Rng) -> Stay {
    Stay { begins, first: begins + options.phase(rng), ends: options.messages_end(), parting: Parting::Stand }
}

/// Somebody like one of those who were there at the start: so scopes, users and projects keep their shares.
fn newcomer(
    sessions: &[SessionPlan],
    at: Duration,
    options: &Options,
    rng: &mut impl rand::Rng,
) -> SessionPlan {
    let like = &sessions[rng.random_range(0..options.sessions as usize)];
    let number = u32::try_from(sessions.len()).expect("fewer sessions than a u32 has numbers");
    SessionPlan { number, stays: vec![stay(at, options, rng)], ..like.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Plan, tests::options};

    fn plan(change: impl FnOnce(&mut Options)) -> Plan {
        let mut options = Options { churn: 20.0, drop: 0.25, ..options() };
        change(&mut options);
        Plan::new(options, "0badcafe".to_owned())
    }

    fn partings(plan: &Plan, fits: fn(&Parting) -> bool) -> usize {
        plan.sessions.iter().flat_map(|session| &session.stays).filter(|stay| fits(&stay.parting)).count()
    }

    #[test]
    fn whoever_leaves_is_replaced_at_that_moment_and_the_share_that_vanishes_is_exact() {
        let plan = plan(|_| {});
        assert_eq!(plan.sessions.len(), 300);
        assert_eq!(partings(&plan, |parting| *parting == Parting::Close), 150);
        assert_eq!(partings(&plan, |parting| matches!(parting, Parting::Vanish(_))), 50);
        assert_eq!(partings(&plan, |parting| *parting == Parting::Stand), 100);
        let mut left: Vec<_> = plan.sessions.iter().map(|session| session.stays[0]).collect();
        left.retain(|stay| stay.parting != Parting::Stand);
        left.sort_by_key(|stay| stay.ends);
        let came = plan.sessions[100..].iter().map(|session| session.stays[0].begins);
        assert!(came.eq(left.iter().map(|stay| stay.ends)));
        assert!(left.iter().all(|stay| stay.ends >= stay.begins + SHORTEST_STAY));
        assert!(plan.sessions.iter().enumerate().all(|(n, session)| session.number as usize == n));
    }

    #[test]
    fn who_comes_back_is_the_same_session_and_nothing_is_due_while_it_is_away() {
        let plan = plan(|options| {
            (options.resume, options.drop, options.tabs) = (true, 1.0, 3);
            options.rate = 20.0;
        });
        assert_eq!(plan.sessions.len(), 100);
        let dropped = partings(&plan, |parting| matches!(parting, Parting::Drop(..)));
        assert_eq!(dropped, 200);
        assert!(partings(&plan, |parting| matches!(parting, Parting::Drop(Cut::Late, _))) > 40);
        let some_tabs = partings(&plan, |parting| matches!(parting, Parting::Drop(_, Some(_))));
        assert!((40..120).contains(&some_tabs), "{some_tabs}");
        let mut sent = 0;
        for session in &plan.sessions {
            for (n, stay) in session.stays.iter().enumerate() {
                let messages: Vec<_> = plan.messages(session, n).collect();
                assert!(messages.iter().all(|m| m.at >= stay.begins && m.at < stay.ends));
                assert!(messages.iter().all(|m| m.tab < session.tabs));
                sent += messages.len() as u64;
            }
            for stays in session.stays.windows(2) {
                let away = stays[1].begins - stays[0].ends;
                assert!(away <= Duration::from_secs(2) && stays[1].begins < plan.options.messages_end());
            }
            sent += u64::from(plan.last_message(session, Duration::ZERO).is_some());
        }
        assert_eq!(plan.planned_messages(), sent);
    }

    #[test]
    fn when_everybody_is_away_nobody_leaves() {
        let plan = plan(|options| {
            (options.sessions, options.churn, options.drop, options.resume) = (2, 50.0, 1.0, true);
        });
        let dropped = partings(&plan, |parting| matches!(parting, Parting::Drop(..)));
        assert!((10..60).contains(&dropped), "{dropped}");
    }
}
