//! **headcount** tells who is connected right now, from where, on which pages, with how much traffic.
//!
//! Each browser, phone app or designer holds a WebSocket; an administrator asks `getSessionInfo` and gets exact
//! rows. This page is the map for whoever picks up the code; [`protocol`] is what clients and scripts rely on.
//! To run a server inside a program of your own, start at [`server::run`].
//!
//! # The picture
//!
//! ```text
//!  client ── edge::accept ── clients::upgrade ── clients::connection ──► session::Session (its own, no look-up)
//!                                 │ join                 ▲  │ leave
//!                                 └─► session::Registry ─┘◄─┘      the registry tells a connection by its Outlet
//!                                       │ select, ended
//!  administrator ── edge::accept ── admin::http ── admin::rpc ── admin::methods ──► rows
//!                                                       └─ admin::watch ◄── what changes: marks, ends
//! ```
//!
//! | module | holds | may name |
//! |---|---|---|
//! | [`session`] | the model: sessions, registry, rows, filters. Pure: no socket, no task, no clock | nothing of ours |
//! | [`config`] | the one validated configuration | `session` |
//! | [`frames`] | WebSocket frames of clients, read where they lie. Pure: no socket, no clock | nothing of ours |
//! | `edge` | what both planes share: accepting, refusals, TLS, tokens in headers, `Origin` and `Host`, files that change, the WebSocket's upgrade and end, schemas, the clock | nothing of ours |
//! | `clients` | the client plane: who may come in, and the counting | `session`, `config`, `frames`, `edge` |
//! | `admin` | the query plane: JSON-RPC and HTTP | `session`, `config`, `edge` |
//! | [`server`] | the two planes over given listeners, until told to stop; the drain | all above |
//! | [`query_client`] | a typed client of the query plane | `session` |
//! | `load` | the load harness with its ledger, and the demo's crowd | `session`, `query_client` |
//! | [`cli`] | the only place that reads arguments and environment, prints, and exits | all |
//! | `src/sdk/python` | the scripting function `system.perspective.getSessionInfo`, one source for every Python | - |
//!
//! A test (`tests/it/architecture.rs`) holds the arrows.
//!
//! # What always holds
//!
//! 1. What one read brings costs its session a few stores into a cache line of its own, however many messages that is:
//!    no map is touched, nothing is allocated for counting, no lock is taken that a reader could hold. They are done
//!    before any reply goes out, so that a client which has its pong, its echo or the answer to its close finds its
//!    bytes counted.
//! 2. `dashmap` is named in `session/registry.rs` alone. No guard of it leaves that file, and none lives across an
//!    `.await` (`.clippy.toml` denies it).
//! 3. A client has joined before it can see the 101, and has left before it can see the answer to its close frame.
//! 4. One task owns one connection. Leaving is a `Drop`, so a panic or an abort leaks no session: it loses the
//!    connection, as a cut cable does.
//! 5. Every buffer, list and wait has a bound with a name in [`config`] or a constant beside its use.
//!    A client that does not read is closed, and counted as a slow consumer.
//! 6. A row is never torn: `recentBytesSent` and `totalBytesSent` are of the same message.
//! 7. An answer of many rows is made part by part as its reader takes it, so one of any size needs the memory of a
//!    part. No part holds a thread that serves sockets for long: those of `getSessionInfo` are short, and between two of
//!    them all sockets have their turn; others are made off those threads (`admin/source.rs`).
//! 8. [`server::run`] binds nothing and decides nothing about its end: the caller does both.
//! 9. Flags, environment and file become one checked configuration before anything binds.
//! 10. Nothing a client sends reaches a terminal, a log line or a spreadsheet unescaped.
//!
//! # Choices that are not obvious
//!
//! - **The handshake is judged here** (`edge/switching.rs`), over the headers that hyper or its parser read: tungstenite's
//!   acceptor answers nothing to what is no upgrade, has no timeout, and overlooks a list of several lines. A test holds
//!   the judgement against tungstenite's. After the 101 the bare stream goes to a task of its own, so that no HTTP state
//!   stays with a session.
//! - **The counters of a session are a sequence lock** (`session/tally.rs`): a session may have several connections, so
//!   there may be several writers; they take turns, and a reader that meets one reads again. A list of all sessions
//!   writes to none of them.
//! - **Sessions lie side by side** (`session/rows.rs`), in blocks of 256 with a lock each, and a list walks through the
//!   blocks. The map knows only which session has an id. A list takes whoever was there when it began: those that begin
//!   later are left out, so an id that ends and begins again is not in it twice.
//! - **What changes is marked, not queued** (`session/changes.rs`): one bit a session, set while somebody watches. So a
//!   message costs a load more, an idle session nothing, and a busy one no more than its batch has room for. A place keeps
//!   its number while the end of its session is held, so that a set of sessions is a set of bits.
//! - **Who watches between two batches is a cohort of its own** (`admin/watch`) until the next: nobody is told out of turn,
//!   and nobody of what his snapshot holds.
//! - **Names are indexed in order** (`session/index.rs`), under the lock that counts them for the limits: `billy` and
//!   `billy*` are found without looking at anybody else.
//! - **tungstenite does not read the clients' frames** ([`frames`]): it needs a buffer for each connection and a
//!   copy of each message, where a tracker needs a length. A connection's task is a hand-written future of some two
//!   hundred bytes. It reads into a buffer of its thread, goes through the frames where they lie, and keeps nothing: what
//!   is begun and wanted whole, and what the system will not take yet, are on the heap while that lasts. Each read
//!   restarts `lastComm`, so the silence ends with the first byte of a frame, not its last.
//! - **One read of 256 KiB a poll**, then the others' turn: 32 clients that always have more to send delay others by some
//!   8 ms. With a quarter of it that was 5 ms, but what waits then leaves the caches, and 1 KiB cost 155 ns and not 100.
//! - **Whoever asks in one piece is let in from one read** (`clients/greeting.rs`), in the task that then is the
//!   connection's; what comes in pieces, over TLS, or is refused, is hyper's. That took a third off a handshake, and a
//!   parser whose headers share one copy of the request, with an answer that is written as it stands, another tenth.
//! - **Nothing ticks**: what nobody came back to is given up by a timer set for the first deadline, and a server whose
//!   clients are silent does nothing between two heartbeats.
//! - **Long waits are a thread's of their own** (`edge/waits.rs`): a runtime with a timer pending arms one in the system
//!   each time it goes to sleep. In a virtual machine that was a tenth of a lone message.
//! - **One runtime with work stealing, and one loop that accepts**, not a runtime a core with `SO_REUSEPORT`: a task may
//!   go to whichever thread has time, so accepting is fair without a thought, and a second server on a taken port is an
//!   error and no silent share of it. Two single-threaded runtimes on two cores took the same for a message (0.95 to 1.03
//!   times) and a tenth less for a handshake. With one core the runtime has one thread, which costs the same as a worker
//!   thread, and none that idles.
//! - **mimalloc, without huge pages**: an idle session takes 1,242 bytes with it. With huge pages the server was 7 MiB
//!   larger at its start, and a handshake cost a tenth more; a lone message cost the same, side by side.
//! - **The life of a session is bookkeeping without a clock or a task** (`session/presence.rs`): connections, the pages
//!   they serve, and until when what was lost is kept. Every change answers whether the session ends by it. A session
//!   that ends leaves the map and enters the history under one guard.
//! - **One timer pings everybody** (`clients/heart.rs`): a connection has its turn on a wheel for life, drawn by lot.
//!   The wheel knows every line, so it is also what cuts those that have not left when the grace period ends: no
//!   connection keeps a token for that. A ping and its pong cost 0.96 to 1.1 times what they cost raw tokio. The heart
//!   goes by a time of its own, which stands still while the server does, so that nobody is lost for a pause of ours.
//! - **Who comes to a page that another connection serves has it challenged** (`session/presence.rs`): nobody can know
//!   yet whether that one is a second tab or dead. Whether it has answered decides when the newer one leaves, and not
//!   before, so that a living tab loses nothing and a dead one keeps nothing.
//! - **A list is put in order as far as it is shown** (`admin/select.rs`), by values that were read once: an order by
//!   what changes meanwhile would be none. A snapshot keeps the sessions themselves and not their rows, so that it is
//!   small; a session that is held so has its final state.
//! - **Totals are added up when somebody asks** (`session/census.rs`): a block of rows keeps what its ended sessions were
//!   counted with, under the lock that lists them, so counting a message pays nothing for it and the sums hold at every
//!   look. A connection is one value from its accept to its end (`clients/arrival.rs`), and is counted when that goes.
//! - **Those who ask the same at about the same time share what was selected, not what is written** (`admin/sharing.rs`):
//!   one selects, the others wait without a place, and each writes the values of its own moment, a few rows at a time.
//!   The plain array alone is shared as it was written, in bounded memory: writing it is all the work there is.
//! - **The clock is coarse** (`edge/clock.rs`): it moves with the kernel's tick, every few milliseconds, so that reading it
//!   costs next to nothing and an idle server does nothing to keep it.
//! - **A resume token carries the session's id in the clear**, before its 128 secret bits: the session is found by what
//!   is no secret, and the secret is then compared in constant time.
//! - **The kind of a key file is said, not guessed**, and the algorithm is the key's: a public key that is taken for a
//!   secret lets everybody sign. The file is polled, which finds a replaced link on any file system.
//! - **What proxies wrote is read from its end.** There the nearest one wrote; left of it a client may have put anything,
//!   such as a quote that is never closed, and none of it may hide what the proxy added.
//! - **What a caller may not see is not there for them** (`admin/view.rs`): the same rows and the same filters, over
//!   masked values and fewer sessions, and no second set of answers that could forget something.
//! - **TLS by rustls over ring** (`edge/tls.rs`): it builds with a C compiler and nothing else. The task of a connection is
//!   the same over either stream, compiled twice, so that TLS costs nothing where there is none; an idle
//!   session over TLS takes some 6 KiB more (measured).
//! - **What programs are told is what the code goes by** (`admin/describe`): the schemas of `/api/v1/openapi.json` and
//!   `/asyncapi.json` come from the types that read and write, and from the tables of columns and operators. The client
//!   plane describes itself, and [`server`] hands that to the other, which does not know it.
//! - **A failing connection is read on after its close frame**: a socket closed with unread data is reset, and the
//!   reset may destroy the frame that says why.

mod admin;
pub mod cli;
mod clients;
pub mod config;
mod edge;
pub mod frames;
mod load;
pub mod query_client;
pub mod server;
pub mod session;

#[doc = include_str!("protocol.md")]
pub mod protocol {}
