//! The parts that every message, newcomer and question goes through, each alone: `cargo bench --bench parts`.

#![allow(missing_docs, unreachable_pub, reason = "a bench is nobody's library")]

mod sessions;

use std::{hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use headcount::session::{Came, Glob, Leaving, Membership, Registry, Rules};
use sessions::joining;

const SESSIONS: usize = 10_000;
const USERS: usize = SESSIONS / 4;

fn crowd() -> (Arc<Registry>, Vec<Membership>) {
    let registry = Arc::new(Registry::new(Rules::default()));
    let members =
        (0..SESSIONS).map(|n| registry.join(joining(n, USERS), 0).expect("there is no limit")).collect();
    (registry, members)
}

fn counting(c: &mut Criterion) {
    let (_registry, members) = crowd();
    let mut at = 0;
    c.bench_function("count what one read brought, sessions in turn", |b| {
        b.iter(|| {
            at = (at + 1) % SESSIONS;
            members[at].heard(black_box(5));
            members[at].messages_came(black_box(Came { messages: 1, bytes: 64, newest: 64 }));
        });
    });
}

fn joins(c: &mut Criterion) {
    let (registry, _members) = crowd();
    c.bench_function("a session begins and ends", |b| {
        b.iter_batched(
            || joining(SESSIONS, USERS),
            |joining| {
                let member = registry.join(joining, 0).expect("there is no limit");
                member.leave(Leaving::Closed { going_away: false }, 1);
            },
            BatchSize::SmallInput,
        );
    });
}

fn lists(c: &mut Criterion) {
    let (registry, _members) = crowd();
    let mut out = Vec::new();
    let mut read = |username: Option<&str>| {
        let mut list = registry.list(username.map(Glob::new), None);
        loop {
            out.clear();
            let more = registry.write_list(&mut list, 5, 64 * 1024, &mut out);
            black_box(&out);
            if !more {
                return;
            }
        }
    };
    let mut group = c.benchmark_group("getSessionInfo");
    group.bench_function("of one user, by the index", |b| b.iter(|| read(Some("user77"))));
    group.throughput(Throughput::Elements(SESSIONS as u64));
    group.bench_function("of all, a row", |b| b.iter(|| read(None)));
    group.bench_function("of one user by a pattern that no index knows, a row", |b| {
        b.iter(|| read(Some("*ser77")));
    });
}

fn patterns(c: &mut Criterion) {
    let glob = Glob::new("*boiler*-?7");
    c.bench_function("a pattern against a name", |b| {
        b.iter(|| glob.matches(black_box("plant-boiler-house-north-27")));
    });
}

criterion_group!(parts, counting, joins, lists, patterns);
criterion_main!(parts);
