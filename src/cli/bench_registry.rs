//! `headcount bench-registry`: more sessions than one machine has sockets, in memory alone, and what they cost.

use std::{
    fs,
    hint::black_box,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;

use super::{Failure, Outcome, interrupted, runtime};
use crate::{
    config::Config,
    server::{self, Listeners},
    session::{
        Came, Glob, Identity, Joining, Membership, Order, Outlet, Registry, Rules, SessionInfo, SessionScope,
    },
};

/// Measure the registry alone: sessions in memory, without sockets
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How many sessions
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..=50_000_000))]
    sessions: u32,
    /// How many threads count messages meanwhile
    #[arg(long, default_value_t = 2)]
    writers: usize,
    /// Measure each figure so many times, and print the median
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Do not measure: serve these sessions beside whoever connects, for load tools
    #[arg(long)]
    serve: bool,
    /// Where clients connect, with --serve
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where administrators ask, with --serve
    #[arg(long, default_value = "127.0.0.1:8081")]
    admin_listen: SocketAddr,
}

/// How many sessions belong to billy.
const BILLYS: usize = 20;

/// How large the parts of a list are.
const PART_BYTES: usize = 64 * 1024;

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let empty = resident_bytes();
    let registry = Arc::new(Registry::new(Rules::default()));
    let crowd = Crowd::gather(registry, arguments.sessions as usize)?;
    let each = resident_bytes().saturating_sub(empty) / crowd.members.len();
    if arguments.serve {
        return crowd.serve(arguments);
    }
    let out = &mut io::stdout().lock();
    writeln!(out, "sessions  {} in memory, {each} bytes each", crowd.members.len())?;
    let rounds = arguments.rounds.max(1);
    crowd.measure_list(rounds, out)?;
    crowd.measure_filter(rounds, out)?;
    if arguments.writers > 0 {
        crowd.measure_writers(arguments.writers, rounds, out)?;
    }
    Ok(())
}

/// Sessions that nobody holds a socket for.
struct Crowd {
    registry: Arc<Registry>,
    members: Vec<Membership>,
    began: Instant,
}

impl Crowd {
    fn gather(registry: Arc<Registry>, sessions: usize) -> Result<Self, Failure> {
        let mut members = Vec::with_capacity(sessions);
        let outlet: Arc<dyn Outlet> = Arc::new(Nobody);
        for n in 0..sessions {
            let member = registry.join(joining(n, sessions, &outlet), 0);
            members.push(member.map_err(|error| Failure::Failed(error.to_string()))?);
        }
        Ok(Self { registry, members, began: Instant::now() })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Reads a list through one buffer; answers how many bytes it has.
    fn read_list(&self, username: Option<&str>, buffer: &mut Vec<u8>) -> usize {
        let mut list = self.registry.list(username.map(Glob::new), None);
        let mut bytes = 0;
        loop {
            buffer.clear();
            let more = self.registry.write_list(&mut list, self.now_ms(), PART_BYTES, buffer);
            bytes += buffer.len();
            black_box(&buffer);
            if !more {
                return bytes;
            }
        }
    }

    /// The whole list, against copying as many bytes and against `serde_json`.
    fn measure_list(&self, rounds: usize, out: &mut impl Write) -> Outcome {
        let rows = self.members.len();
        let mut buffer = Vec::with_capacity(2 * PART_BYTES);
        let bytes = self.read_list(None, &mut buffer);
        let before = resident_bytes();
        let list = median(rounds, || elapsed(|| self.read_list(None, &mut buffer)));
        let beside = resident_bytes().saturating_sub(before) + buffer.capacity();
        let source = vec![b'x'; bytes];
        let copy = median(rounds, || {
            elapsed(|| {
                for part in source.chunks(PART_BYTES) {
                    buffer.clear();
                    buffer.extend_from_slice(part);
                    black_box(&buffer);
                }
            })
        });
        drop(source);
        let [cloned, built] = self.measure_serde_json(rounds.min(3));
        let each = |time: Duration| time.as_nanos() as f64 / rows as f64;
        writeln!(
            out,
            "list      {:.0} ns a row of {} bytes: {:.1} x memcpy ({:.0} ns); {:.1} x as fast as cloning rows for serde_json \
             ({:.0} ns), {:.1} x as building them of shared texts ({:.0} ns); {} KiB of memory beside",
            each(list),
            bytes / rows,
            list.as_secs_f64() / copy.as_secs_f64(),
            each(copy),
            cloned.as_secs_f64() / list.as_secs_f64(),
            each(cloned),
            built.as_secs_f64() / list.as_secs_f64(),
            each(built),
            beside / 1024,
        )?;
        Ok(())
    }

    /// The same list by `serde_json`: of rows that are cloned with their texts, as a server does that keeps a struct for
    /// each session, and of rows that share their texts with our sessions.
    fn measure_serde_json(&self, rounds: usize) -> [Duration; 2] {
        let infos = || self.registry.session_info(None, None, self.now_ms());
        let kept: Vec<_> = infos().map(OwnRow::from).collect();
        let cloned = median(rounds, || elapsed(|| to_text(&kept.to_vec())));
        drop(kept);
        let built = median(rounds, || elapsed(|| to_text(&infos().collect::<Vec<_>>())));
        [cloned, built]
    }

    /// One user's sessions among all.
    fn measure_filter(&self, rounds: usize, out: &mut impl Write) -> Outcome {
        let mut buffer = Vec::new();
        let mut measure = |user: &str| {
            self.read_list(Some(user), &mut buffer);
            median(rounds * 20, || elapsed(|| self.read_list(Some(user), &mut buffer)))
        };
        let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
        let (whole, prefix, scan) = (measure("billy"), measure("bill*"), measure("*illy"));
        writeln!(
            out,
            "filter    {BILLYS} sessions by user: \"billy\" {:.1} us, \"bill*\" {:.1} us, \"*illy\" {:.0} us",
            micros(whole),
            micros(prefix),
            micros(scan),
        )?;
        Ok(())
    }

    /// Counting at full speed, alone and while lists are read.
    fn measure_writers(&self, writers: usize, rounds: usize, out: &mut impl Write) -> Outcome {
        let (counted, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let rate = |work: &mut dyn FnMut()| {
            let (before, begun) = (counted.load(Ordering::Relaxed), Instant::now());
            work();
            (counted.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64()
        };
        let (alone, beside, list) = thread::scope(|threads| {
            for writer in 0..writers {
                let (counted, stop) = (&counted, &stop);
                threads.spawn(move || self.count_messages(writer as u64, counted, stop));
            }
            thread::sleep(Duration::from_millis(200));
            let mut buffer = Vec::with_capacity(2 * PART_BYTES);
            let alone = rate(&mut || thread::sleep(Duration::from_secs(2)));
            let mut list = Duration::ZERO;
            let beside =
                rate(&mut || list = median(rounds, || elapsed(|| self.read_list(None, &mut buffer))));
            stop.store(true, Ordering::Relaxed);
            (alone, beside, list)
        });
        writeln!(
            out,
            "writers   {writers} count {:.1} M messages/s; {:.0} % of that while lists are read, then at {:.0} ns a row",
            alone / 1e6,
            100.0 * beside / alone,
            list.as_nanos() as f64 / self.members.len() as f64,
        )?;
        Ok(())
    }

    /// Counts messages of sessions in random order until it is told to stop.
    fn count_messages(&self, seed: u64, counted: &AtomicU64, stop: &AtomicBool) {
        const AT_A_TIME: u64 = 4096;
        let mut random = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
        while !stop.load(Ordering::Relaxed) {
            let now_ms = self.now_ms();
            for _ in 0..AT_A_TIME {
                // xorshift64: which session comes next must cost nothing beside counting.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let member = &self.members[random as usize % self.members.len()];
                member.heard(now_ms);
                member.messages_came(Came { messages: 1, bytes: 64, newest: 64 });
            }
            counted.fetch_add(AT_A_TIME, Ordering::Relaxed);
        }
    }

    fn serve(self, arguments: &Arguments) -> Outcome {
        runtime()?.block_on(async {
            let stop = interrupted()?;
            let listeners = Listeners::bind(arguments.listen, arguments.admin_listen).await?;
            writeln!(io::stdout(), "serving {} sessions and whoever connects", self.members.len())?;
            server::run_on(self.registry.clone(), listeners, Config::default(), stop).await;
            Ok(())
        })
    }
}

/// A session as clients have them: a browser's `User-Agent` of 110 bytes, one page, every user a few sessions.
fn joining(n: usize, sessions: usize, outlet: &Arc<dyn Outlet>) -> Joining {
    let is_billy = n.is_multiple_of(sessions / BILLYS) && n / (sessions / BILLYS) < BILLYS;
    let username = if is_billy { "billy".to_owned() } else { format!("user{}", n % (sessions / 4)) };
    let address = Ipv4Addr::from_bits(0x0a00_0000 | u32::try_from(n % 0x00ff_ffff).unwrap_or(0)).into();
    let browser = format!(
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.8078.73 Safari/537.36",
        100 + n % 50
    );
    Joining {
        identity: Identity {
            id: uuid::Uuid::new_v4().to_string().into(),
            username: username.into(),
            authorized: false,
            project: format!("plant-{}", n % 20).into(),
            scope: SessionScope::Browser,
            client_address: address,
            peer_address: address,
            user_agent: browser.into(),
        },
        page_id: format!("{:08x}", n.wrapping_mul(0x9e37_79b9) & 0xffff_ffff).into(),
        page_path: None,
        resume: None,
        expires_ms: None,
        speaks_headcount: false,
        outlet: outlet.clone(),
    }
}

/// The way to a connection that is not there.
#[derive(Debug)]
struct Nobody;

impl Outlet for Nobody {
    fn tell(&self, _: Order) -> bool {
        false
    }
}

fn elapsed<T>(work: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    black_box(work());
    begun.elapsed()
}

fn median(rounds: usize, mut measure: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<_> = (0..rounds).map(|_| measure()).collect();
    times.sort_unstable();
    times[rounds / 2]
}

/// The memory of this process; 0 where `/proc` does not tell.
fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) * 1024
}

/// A row of `getSessionInfo` whose texts are its own.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct OwnRow {
    user_agent: String,
    id: String,
    username: String,
    project: String,
    uptime: u64,
    client_address: String,
    last_comm: u64,
    session_scope: SessionScope,
    active_pages: usize,
    recent_bytes_sent: u64,
    total_bytes_sent: u64,
    page_ids: Vec<String>,
    authorized: bool,
}

impl From<SessionInfo> for OwnRow {
    fn from(info: SessionInfo) -> Self {
        Self {
            user_agent: info.user_agent.to_string(),
            id: info.id.to_string(),
            username: info.username.to_string(),
            project: info.project.to_string(),
            uptime: info.uptime,
            client_address: info.client_address.to_string(),
            last_comm: info.last_comm,
            session_scope: info.session_scope,
            active_pages: info.active_pages,
            recent_bytes_sent: info.recent_bytes_sent,
            total_bytes_sent: info.total_bytes_sent,
            page_ids: info.page_ids.iter().map(|id| id.to_string()).collect(),
            authorized: info.authorized,
        }
    }
}

/// How long the text is that `serde_json` makes of these.
fn to_text(rows: &impl Serialize) -> usize {
    black_box(serde_json::to_string(rows).map_or(0, |text| text.len()))
}
