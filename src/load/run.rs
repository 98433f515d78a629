use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::{
    net::lookup_host,
    runtime::Handle,
    sync::mpsc,
    task,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ledger::{self, Books, Entry, Ledger},
    life,
    options::Options,
    pacer::Pacer,
    plan::Plan,
    problem::{Problem, Stage},
    record::{Progress, Record, Recorder, add, count},
    report::Report,
};
use crate::{
    query_client::{Admin, QueryClient, QueryError, Trust},
    session::SessionInfo,
};

/// How long messages that are late may still go out when the messages should have ended.
const LATE_GRACE: Duration = Duration::from_secs(1);

/// How long an answer may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is asked whether everybody has gone.
const SETTLE_BEAT: Duration = Duration::from_millis(250);

/// Entries that wait to be filed.
const MAX_WAITING_ENTRIES: usize = 1024;

/// Why a run did not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The host has no address that can be used.
    #[error("{authority} cannot be looked up: {reason}")]
    Address { authority: String, reason: String },
    /// The server speaks TLS, and nobody is trusted to say who it is.
    #[error("{0}; --ca-file names some")]
    Trust(String),
    /// The admin plane was to be asked, and cannot be.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The system refuses something.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// A run that is under way: what all its tasks share.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) plan: Plan,
    pub(super) address: SocketAddr,
    /// Whose word is taken for who the server is, if it speaks TLS.
    pub(super) trust: Option<Trust>,
    pub(super) start: Instant,
    pub(super) pacer: Pacer,
    /// What payloads are cut from.
    pub(super) pool: Bytes,
    pub(super) recorder: Recorder,
    pub(super) progress: Arc<Progress>,
    /// Nothing more is sent, nor connected.
    pub(super) sending_over: CancellationToken,
    /// Nothing more is asked.
    asking_over: CancellationToken,
    /// The person at the terminal has had enough.
    pub(super) interrupted: CancellationToken,
    /// The ledger is made, and everybody leaves.
    pub(super) closing: CancellationToken,
}

/// What a run has left behind, to be judged.
#[derive(Debug)]
pub(super) struct Executed {
    pub(super) started_at: DateTime<Utc>,
    pub(super) is_interrupted: bool,
    pub(super) record: Record,
    pub(super) entries: Vec<Entry>,
    /// What the server says of its sessions, if it was asked.
    pub(super) books: Option<Result<Books, QueryError>>,
    /// The same when all had left, if that was waited for.
    pub(super) settled: Option<Result<Settled, QueryError>>,
}

/// What the server says when all have left.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) books: Books,
    /// How many sessions of the run it still lists.
    pub(super) left: u64,
    /// Since the sessions were told to leave.
    pub(super) took: Duration,
}

/// Carries out a plan and judges it. `interrupted` ends it early: what was done until then is reported all the
/// same, with the ledger if it is wanted.
///
/// # Errors
///
/// A [`LoadError`] if it could not begin. Whatever fails later is in the report.
pub(crate) async fn run(
    plan: Plan,
    progress: Arc<Progress>,
    interrupted: CancellationToken,
) -> Result<Report, LoadError> {
    let run = begin(plan, progress, interrupted).await?;
    let executed = execute(&run).await;
    let Executed { started_at, is_interrupted, ref record, .. } = executed;
    let ledger = executed.books.as_ref().map(|_| judge(&run.plan, &executed));
    Ok(Report::new(&run.plan, started_at, is_interrupted, &run.progress, record, ledger))
}

/// Compares the books of a run that has asked for the server's.
pub(super) fn judge(plan: &Plan, executed: &Executed) -> Result<Ledger, String> {
    let said = |error: &QueryError| error.to_string();
    let at_end = executed.books.as_ref().expect("they were asked for").as_ref().map_err(said)?;
    let settled = executed.settled.as_ref().map(Result::as_ref).transpose().map_err(said)?;
    let books = settled.map(|settled| &settled.books);
    let mut ledger = ledger::compare(&plan.page_prefix(), &executed.entries, at_end, books);
    ledger.settled = settled.map(|settled| ledger::Settled {
        left: settled.left,
        took_ms: settled.took.as_micros() as f64 / 1000.0,
    });
    Ok(ledger)
}

/// Finds out whether the run can be, before anything is sent.
pub(super) async fn begin(
    plan: Plan,
    progress: Arc<Progress>,
    interrupted: CancellationToken,
) -> Result<Arc<Run>, LoadError> {
    let address = look_up(&plan.options).await?;
    let trust = match plan.options.target.is_secure {
        true => Some(plan.options.admin.trust().map_err(LoadError::Trust)?),
        false => None,
    };
    if plan.options.verify || plan.options.query_rate > 0.0 {
        QueryClient::connect(&plan.options.admin).await?;
    }
    Ok(Arc::new(Run {
        address,
        trust,
        pacer: Pacer::start()?,
        pool: plan.pool().into(),
        plan,
        start: Instant::now(),
        recorder: Recorder::new(),
        progress,
        sending_over: CancellationToken::new(),
        asking_over: interrupted.child_token(),
        interrupted,
        closing: CancellationToken::new(),
    }))
}

/// The server's address: one that the source addresses can reach, if there are any.
async fn look_up(options: &Options) -> Result<SocketAddr, LoadError> {
    let authority = &options.target.authority;
    let failed = |reason: String| LoadError::Address { authority: authority.clone(), reason };
    let mut addresses = lookup_host(authority).await.map_err(|error| failed(error.to_string()))?;
    let fits = |address: &SocketAddr| {
        options.source_addresses.iter().all(|source| source.is_ipv4() == address.is_ipv4())
    };
    addresses.find(fits).ok_or_else(|| failed("no address of the source addresses' kind".to_owned()))
}

pub(super) async fn execute(run: &Arc<Run>) -> Executed {
    let started_at = Utc::now();
    let tasks = TaskTracker::new();
    let (filing, mut to_file) = mpsc::channel(MAX_WAITING_ENTRIES);
    let ending = tokio::spawn(end_sending(run.clone()));
    let asking = (run.plan.options.query_rate > 0.0).then(|| ask_alongside(run.clone()));
    let file = async {
        let mut entries = Vec::with_capacity(run.plan.sessions.len());
        while let Some(entry) = to_file.recv().await {
            entries.push(entry);
        }
        entries.sort_unstable_by_key(|entry: &Entry| entry.number);
        entries
    };
    let ((), entries) = tokio::join!(connect_all(run, &tasks, filing), file);
    ending.abort();
    run.sending_over.cancel();
    run.recorder.lock().sending_ended = run.start.elapsed();
    if let Some(mut asking) = asking {
        // A run that is over before its time, for whatever reason, has no more questions.
        if run.start.elapsed() >= run.plan.options.messages_end() {
            let _ = timeout(LATE_GRACE, &mut asking).await;
        }
        run.asking_over.cancel();
        if !asking.is_finished() {
            let _ = asking.await;
        }
    }
    let options = &run.plan.options;
    let books = if options.verify { Some(ask_books(options).await) } else { None };
    run.closing.cancel();
    let left_at = Instant::now();
    tasks.close();
    tasks.wait().await;
    let settled = match options.settle {
        Some(patience) if matches!(books, Some(Ok(_))) => {
            let settling = settle(&run.plan, left_at, patience);
            run.interrupted.run_until_cancelled(settling).await
        }
        _ => None,
    };
    Executed {
        started_at,
        is_interrupted: run.interrupted.is_cancelled(),
        record: run.recorder.read(),
        entries,
        books,
        settled,
    }
}

/// Waits until the server has no session of the run any more, or has had so long, and asks once more.
async fn settle(plan: &Plan, left_at: Instant, patience: Duration) -> Result<Settled, QueryError> {
    let prefix = plan.page_prefix();
    let is_ours = |row: &SessionInfo| row.page_ids.iter().any(|page| page.starts_with(&prefix));
    loop {
        let books = ask_books(&plan.options).await?;
        let took = left_at.elapsed();
        let left = books.rows.iter().filter(|row| is_ours(row)).count() as u64;
        if left == 0 || took >= patience {
            return Ok(Settled { books, left, took });
        }
        sleep(SETTLE_BEAT.min(patience - took)).await;
    }
}

/// Begins every session when it is due.
async fn connect_all(run: &Arc<Run>, tasks: &TaskTracker, filing: mpsc::Sender<Entry>) {
    for session in &run.plan.sessions {
        let due = run.pacer.at(run.start + session.stays[0].begins);
        if run.sending_over.run_until_cancelled(due).await.is_none() {
            return;
        }
        tasks.spawn(life::run(run.clone(), session.clone(), filing.clone()));
    }
}

/// Ends the sending when all should have been sent, or when it is given up.
async fn end_sending(run: Arc<Run>) {
    let over = run.pacer.at(run.start + run.plan.options.messages_end() + LATE_GRACE);
    run.interrupted.run_until_cancelled(over).await;
    run.sending_over.cancel();
}

/// Asks on its own schedule, in a thread of its own: reading a long answer takes a while, and no message shall
/// be late for it.
fn ask_alongside(run: Arc<Run>) -> task::JoinHandle<()> {
    let runtime = Handle::current();
    task::spawn_blocking(move || runtime.block_on(ask(&run)))
}

async fn ask(run: &Run) {
    let mut client = None;
    let planned = run.plan.planned_queries();
    let mut asked = 0;
    while asked < planned {
        let due = run.start + run.plan.query_at(asked);
        if run.asking_over.run_until_cancelled(run.pacer.at(due)).await.is_none() {
            break;
        }
        asked += 1;
        let answer = timeout(QUERY_TIMEOUT, ask_once(&run.plan.options.admin, &mut client)).await;
        match answer {
            Ok(Ok(rows)) => {
                count(&run.progress.queries);
                let mut record = run.recorder.lock();
                add(&mut record.query, due.elapsed());
                record.query_rows = rows;
            }
            Ok(Err(error)) => run.recorder.note(Problem::new(Stage::Query, error.to_string())),
            Err(_) => {
                // An answer that comes later would be taken for that to the next question.
                client = None;
                run.recorder.note(Problem::timed_out(Stage::Query));
            }
        }
    }
    let now = run.start.elapsed();
    let due = (asked..planned).take_while(|&number| run.plan.query_at(number) < now).count() as u64;
    run.recorder.lock().unasked = due;
}

/// A connection that has broken since the last question is made anew, once.
async fn ask_once(admin: &Admin, client: &mut Option<QueryClient>) -> Result<usize, QueryError> {
    if let Some(mut open) = client.take() {
        match open.session_info(None, None).await {
            Err(QueryError::Unreachable { .. }) => {}
            answer => {
                *client = Some(open);
                return answer.map(|rows| rows.len());
            }
        }
    }
    let mut new = QueryClient::connect(admin).await?;
    let rows = new.session_info(None, None).await?;
    *client = Some(new);
    Ok(rows.len())
}

async fn ask_books(options: &Options) -> Result<Books, QueryError> {
    let mut client = QueryClient::connect(&options.admin).await?;
    let rows = client.session_info(None, None).await?;
    let history = match options.has_endings() {
        true => Some(client.history().await?),
        false => None,
    };
    Ok(Books { rows, history })
}
