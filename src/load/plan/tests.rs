use super::*;
use crate::load::tests::options;

fn plan(change: impl FnOnce(&mut Options)) -> Plan {
    let mut options = options();
    change(&mut options);
    Plan::new(options, "0badcafe".to_owned())
}

#[test]
fn the_same_seed_is_the_same_schedule_and_another_is_another() {
    let (one, same, other) = (plan(|_| {}), plan(|_| {}), plan(|options| options.seed = 2));
    assert_eq!(one.sessions, same.sessions);
    assert_ne!(one.sessions, other.sessions);
    assert_eq!(one.pool(), same.pool());
    let messages = |plan: &Plan, n: usize| plan.messages(&plan.sessions[n], 0).collect::<Vec<_>>();
    assert_eq!(messages(&one, 3), messages(&same, 3));
    assert_ne!(
        messages(&one, 3).iter().map(|m| m.bytes).collect::<Vec<_>>(),
        messages(&one, 4).iter().map(|m| m.bytes).collect::<Vec<_>>(),
    );
}

#[test]
fn connecting_comes_first_and_messages_fill_the_duration_evenly() {
    let plan = plan(|options| {
        options.sessions = 20;
        options.connect_rate = 10.0;
        options.rate = 4.0;
        options.duration = Duration::from_secs(5);
    });
    assert_eq!(plan.sessions[19].stays[0].begins, Duration::from_millis(1900));
    assert_eq!(plan.options.messages_begin(), Duration::from_secs(2));
    assert_eq!(plan.planned_messages(), 20 * 4 * 5);
    for session in &plan.sessions {
        let messages: Vec<_> = plan.messages(session, 0).collect();
        assert_eq!(messages.len(), 20);
        assert_eq!(messages[0].at, session.stays[0].first);
        let phase = messages[0].at - plan.options.messages_begin();
        assert!(phase < Duration::from_millis(250));
        assert!(messages[19].at < plan.options.messages_end());
        let gap = messages[1].at - messages[0].at;
        assert!(gap.abs_diff(Duration::from_millis(250)) < Duration::from_micros(1), "{gap:?}");
    }
}

#[test]
fn a_rate_may_be_a_fraction_or_nothing() {
    let slow = plan(|options| {
        options.sessions = 1000;
        options.rate = 0.01;
        options.duration = Duration::from_secs(10);
    });
    let messages = slow.planned_messages();
    assert!((60..140).contains(&messages), "a tenth of the sessions sends one: {messages}");
    assert_eq!(messages, slow.sessions.iter().map(|s| slow.messages(s, 0).count() as u64).sum::<u64>());
    assert_eq!(plan(|options| options.rate = 0.0).planned_messages(), 0);
}

#[test]
fn sizes_and_payloads_stay_in_their_bounds() {
    let plan = plan(|options| options.bytes = "3-5".parse().unwrap());
    let pool = plan.pool();
    for planned in plan.sessions.iter().flat_map(|session| plan.messages(session, 0)) {
        assert!((3..=5).contains(&planned.bytes));
        assert!(planned.range().end <= pool.len());
    }
    assert!(pool.is_ascii() && !pool.contains('{'));
}

#[test]
fn users_projects_and_addresses_are_shared_out_evenly() {
    let plan = plan(|options| {
        options.sessions = 100;
        (options.users, options.projects) = (10, 4);
        options.source_addresses = vec![[127, 0, 0, 2].into(), [127, 0, 0, 3].into()];
    });
    let count = |fits: &dyn Fn(&SessionPlan) -> bool| plan.sessions.iter().filter(|s| fits(s)).count();
    assert_eq!(count(&|s| &*s.username == "user-0010"), 10);
    assert_eq!(count(&|s| &*s.project == "project-04"), 25);
    assert_eq!(count(&|s| s.scope == SessionScope::Designer), 5);
    assert_eq!(count(&|s| s.source == Some([127, 0, 0, 3].into())), 50);
}

#[test]
fn a_headcount_server_is_told_who_comes_and_no_other_is() {
    let ours = plan(|options| options.scopes = "designer=1".parse().unwrap());
    let SessionPlan { project, username, .. } = &ours.sessions[7];
    assert_eq!(
        ours.url(&ours.sessions[7], 0, None),
        format!("ws://127.0.0.1:8080/ws/{project}?pageId=load-0badcafe-7&username={username}&scope=designer")
    );
    let tab = ours.url(&ours.sessions[7], 2, Some("d.1&"));
    assert!(tab.contains("pageId=load-0badcafe-7-2&") && tab.ends_with("&resumeToken=d%2E1%26"), "{tab}");
    let other = plan(|options| options.target = "ws://127.0.0.1:9/chat?room=1".parse().unwrap());
    assert_eq!(other.url(&other.sessions[7], 0, None), "ws://127.0.0.1:9/chat?room=1");
}

#[test]
fn the_server_derives_each_scope_from_the_user_agents() {
    for scope in [SessionScope::Browser, SessionScope::Ios, SessionScope::Android] {
        for which in 0..USER_AGENTS {
            assert_eq!(SessionScope::from_user_agent(user_agent(scope, which)), scope);
        }
    }
}
