//! The hot paths, each a function that is never inlined, so that callgrind knows it by its name.

use std::{hint::black_box, sync::Arc};

use headcount::{
    frames::{Keep, Reader, Rules},
    session::{self, Came, Glob, Joining, Leaving, Membership, Registry},
};

use crate::sessions::joining;

/// A path that is counted.
pub struct Path {
    /// The name of its function too.
    pub name: &'static str,
    /// Sets up what it needs, which is not counted, and takes it so many times.
    pub run: fn(),
    pub turns: usize,
}

const SESSIONS: usize = 1_000;
const USERS: usize = 100;
const TURNS: usize = 1_000;

pub const ALL: &[Path] = &[
    Path {
        name: "join_and_leave",
        run: || {
            let crowd = crowd();
            join_and_leave(&crowd.registry, (0..TURNS).map(|n| joining(SESSIONS + n, USERS)).collect());
        },
        turns: TURNS,
    },
    Path {
        name: "count_message",
        run: || {
            let crowd = crowd();
            count_message(&crowd.members[0]);
        },
        turns: TURNS,
    },
    Path {
        name: "read_frames",
        run: || {
            // A text message of 64 B, masked, over and over: what one read of a busy client brings.
            let mut frame = vec![0x81, 0x80 | 64, 1, 2, 3, 4];
            frame.extend((0..64).map(|n| b'x' ^ [1, 2, 3, 4][n % 4]));
            read_frames(&mut frame.repeat(TURNS));
        },
        turns: TURNS,
    },
    Path {
        name: "list_row",
        run: || {
            let crowd = crowd();
            black_box(list_row(&crowd.registry));
        },
        turns: SESSIONS,
    },
    Path {
        name: "find_user",
        run: || {
            let crowd = crowd();
            black_box(find_user(&crowd.registry));
        },
        turns: TURNS,
    },
];

/// A session begins and ends, among a thousand others.
#[inline(never)]
pub fn join_and_leave(registry: &Arc<Registry>, joining: Vec<Joining>) {
    for joining in joining {
        let member = registry.join(joining, 1_000).unwrap();
        member.leave(Leaving::Closed { going_away: false }, 2_000);
    }
}

/// A message of 64 B comes, and is counted.
#[inline(never)]
pub fn count_message(member: &Membership) {
    for now_ms in 0..TURNS as u64 {
        member.heard(black_box(now_ms));
        member.messages_came(black_box(Came { messages: 1, bytes: 64, newest: 64 }));
    }
}

/// A thousand messages of 64 B are read where they lie.
#[inline(never)]
pub fn read_frames(bytes: &mut [u8]) {
    let rules = Rules { max_message_bytes: 65_536, keep: Keep::TextBeginning(r#"{"headcount":"#) };
    let mut reader = Reader::default();
    let mut events = reader.read(bytes, rules);
    let mut messages = 0;
    while let Some(event) = events.next() {
        black_box(event.unwrap());
        messages += 1;
    }
    assert_eq!(messages, TURNS);
}

/// A thousand rows of `getSessionInfo`, as JSON.
#[inline(never)]
pub fn list_row(registry: &Registry) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_000_000);
    let mut list = registry.list(None, None);
    assert!(!registry.write_list(&mut list, 5_000, usize::MAX, &mut out));
    out
}

/// One user's session among a thousand.
#[inline(never)]
pub fn find_user(registry: &Registry) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..TURNS {
        out.clear();
        let mut list = registry.list(Some(Glob::new(black_box("user7"))), None);
        assert!(!registry.write_list(&mut list, 5_000, usize::MAX, &mut out));
    }
    out
}

struct Crowd {
    registry: Arc<Registry>,
    members: Vec<Membership>,
}

fn crowd() -> Crowd {
    let registry = Arc::new(Registry::new(session::Rules::default()));
    let members = (0..SESSIONS).map(|n| registry.join(joining(n, USERS), 1_000).unwrap()).collect();
    Crowd { registry, members }
}
