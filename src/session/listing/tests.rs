//! A list as it is written: byte for byte what `serde_json` writes of the same rows, whoever comes and goes meanwhile.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use proptest::prelude::*;

use super::super::{
    tests::{close, joining, listed, written},
    *,
};

fn registry() -> Arc<Registry> {
    Arc::new(Registry::new(Rules::default()))
}

/// What `serde_json` makes of the rows, in the order of their places.
fn by_serde(registry: &Registry, now_ms: u64) -> String {
    let rows: Vec<_> = registry.session_info(None, None, now_ms).collect();
    serde_json::to_string(&rows).unwrap()
}

/// Everything that JSON, or a careless writer of it, could trip over.
const HOSTILE: [&str; 8] = [
    r#"" \ / \" \\ "#,
    "\u{0}\u{1}\u{1f}\u{7f}\u{80}\u{9f}",
    "\n\r\t\u{8}\u{c}",
    "\u{2028}\u{2029}\u{feff}\u{fffd}\u{202e}",
    "</script><!-- & ' ` -->",
    "Zo\u{eb} \u{2603} \u{1f642} \u{10ffff}",
    "",
    r#"","authorized":true},{"userAgent":""#,
];

#[test]
fn a_list_is_what_serde_json_makes_of_the_rows() {
    let registry = registry();
    let mut members = Vec::new();
    for (n, text) in HOSTILE.into_iter().enumerate() {
        for (m, other) in HOSTILE.into_iter().enumerate() {
            let mut joining = joining(&format!("{text}{n}.{m}"), other, text);
            joining.identity.user_agent = other.into();
            joining.identity.authorized = m % 2 == 0;
            joining.identity.scope = SessionScope::ALL[m % 4];
            joining.identity.client_address =
                ["10.0.0.7", "255.255.255.255", "::1", "2001:db8::7:0:1"][n % 4].parse().unwrap();
            joining.page_id = text.into();
            let mut member = registry.join(joining, n as u64 * 1000).unwrap();
            for page in 0..m {
                member.open_page(&format!("{other}{page}").into(), None, 0).unwrap();
            }
            if n == 3 {
                member.close_page(text, 0).unwrap();
            }
            member.session().message_came(n * 1_000_003);
            member.session().message_came(m);
            member.session().heard(m as u64 * 999);
            members.push(member);
        }
    }
    for now_ms in [0, 9_999, u64::MAX] {
        let expected = by_serde(&registry, now_ms);
        for part_bytes in [1, 500, usize::MAX] {
            assert_eq!(written(&registry, registry.list(None, None), now_ms, part_bytes), expected);
        }
    }
    // A page that is lost is listed all the same, and one that is closed is not.
    members.truncate(20);
    assert_eq!(written(&registry, registry.list(None, None), 5, 1), by_serde(&registry, 5));
    members.into_iter().for_each(close);
    assert_eq!(written(&registry, registry.list(None, None), 5, 1), by_serde(&registry, 5));
}

proptest! {
    #[test]
    fn any_text_is_written_as_serde_json_writes_it(
        user_agent in any::<String>(), id in any::<String>(), username in any::<String>(),
        project in any::<String>(), page in any::<String>(), bytes in any::<u32>(),
    ) {
        let registry = registry();
        let mut joining = joining(&id, &username, &project);
        joining.identity.user_agent = user_agent.into();
        joining.page_id = page.into();
        let member = registry.join(joining, 0).unwrap();
        member.session().message_came(bytes as usize);
        prop_assert_eq!(written(&registry, registry.list(None, None), 7, 1), by_serde(&registry, 7));
    }
}

/// Enough for several pages and for the indexes to be asked.
#[test]
fn a_filter_finds_the_same_by_an_index_and_by_looking_at_all() {
    let registry = registry();
    let _members: Vec<_> = (0..1_000)
        .map(|n| {
            let user = if n % 100 == 7 { format!("billy{}", n / 500) } else { format!("user{n}") };
            let project = if n % 50 == 0 { "small" } else { "plant" };
            registry.join(joining(&format!("d{n}"), &user, project), 0).unwrap()
        })
        .collect();
    let globs = ["billy0", "billy*", "bill?1", "*", "user1*", "*7", "nobody", r"billy\*", "u*9"];
    for user in globs {
        for project in ["small", "plant", "s*", "*l*"] {
            let (user_glob, project_glob) = (Glob::new(user), Glob::new(project));
            let mut expected: Vec<_> =
                registry.session_info(Some(&user_glob), Some(&project_glob), 9).collect();
            let mut found = listed(&registry, Some(user_glob), Some(project_glob), 9);
            for rows in [&mut expected, &mut found] {
                rows.sort_by(|a, b| a.id.cmp(&b.id));
            }
            assert_eq!(found, expected, "{user} {project}");
        }
    }
    let looks = |user: &str| registry.looks(&registry.list(Some(Glob::new(user)), None));
    assert_eq!((looks("billy0"), looks("billy*"), looks("*7")), (5, 10, 1_000));
}

#[test]
fn those_who_begin_later_are_not_in_a_list_and_those_who_end_before_their_turn_neither() {
    let registry = registry();
    let join = |id: &str| registry.join(joining(id, "ann", "p"), 0).unwrap();
    let mut members: Vec<_> = (0..600).map(|n| join(&format!("d{n}"))).collect();
    let mut list = registry.list(None, None);
    let mut out = b"[".to_vec();
    assert!(registry.write_list(&mut list, 0, 2, &mut out));
    // The first page has been read. Somebody of it comes again, in a later page's place.
    close(members.swap_remove(0));
    let gone = members.swap_remove(500);
    let gone_id = gone.session().who().id().to_owned();
    close(gone);
    members.push(join("x"));
    members.push(join("d0"));
    while registry.write_list(&mut list, 0, usize::MAX, &mut out) {}
    out.push(b']');
    let rows: Vec<SessionInfo> = serde_json::from_slice(&out).unwrap();
    let ids: HashSet<_> = rows.iter().map(|row| row.id.to_string()).collect();
    assert_eq!(rows.len(), ids.len(), "none twice");
    assert!(ids.contains("d0") && !ids.contains("x") && !ids.contains(&gone_id), "{gone_id}");
    assert_eq!(rows.len(), 599);
}

/// Lists are read while sessions come and go in several pages: whoever stays is in every list, nobody twice.
#[test]
fn whoever_stays_is_in_every_list() {
    const STAY: usize = 700;
    let registry = registry();
    let _stay: Vec<_> =
        (0..STAY).map(|n| registry.join(joining(&format!("s{n}"), "stay", "p"), 0).unwrap()).collect();
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        let actors = [0, 1].map(|actor| {
            let registry = &registry;
            threads.spawn(move || {
                let mut members = Vec::new();
                for n in 0..20_000_u64 {
                    let id = format!("a{actor}.{}", n % 400);
                    members.push(registry.join(joining(&id, "come", "p"), n).unwrap());
                    if members.len() > 300 {
                        close(members.swap_remove((n * 7) as usize % 300));
                    }
                }
            })
        });
        let watcher = threads.spawn(|| {
            let mut lists = 0;
            while !done.load(Ordering::Relaxed) {
                let rows = listed(&registry, None, None, 0);
                let ids: HashSet<_> = rows.iter().map(|row| &*row.id).collect();
                assert_eq!(ids.len(), rows.len(), "none twice");
                assert_eq!(rows.iter().filter(|row| &*row.username == "stay").count(), STAY);
                assert!(rows.iter().all(|row| row.active_pages == 1), "none without its page");
                let stay = listed(&registry, Some(Glob::new("stay")), None, 0);
                assert_eq!(stay.len(), STAY);
                lists += 1;
            }
            lists
        });
        for actor in actors {
            actor.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(watcher.join().unwrap() > 1);
    });
}
