//! The harness against a real server in the same process.

use std::{sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::{
    run::{begin, execute, judge},
    *,
};
use crate::{
    config::Config,
    server::{self, Listeners},
};

pub(super) fn options() -> Options {
    Options {
        target: "ws://127.0.0.1:8080".parse().unwrap(),
        sessions: 100,
        connect_rate: 1000.0,
        rate: 1.0,
        bytes: "16-256".parse().unwrap(),
        binary: false,
        duration: Duration::from_secs(10),
        scopes: "browser=70,ios=10,android=15,designer=5".parse().unwrap(),
        users: 34,
        projects: 5,
        source_addresses: Vec::new(),
        headers: Vec::new(),
        query_rate: 0.0,
        admin: "http://127.0.0.1:8081".into(),
        verify: false,
        churn: 0.0,
        drop: 0.0,
        resume: false,
        tabs: 1,
        settle: None,
        seed: 1,
    }
}

struct Server {
    /// Fifty sessions for a second against it.
    options: Options,
    _stop: oneshot::Sender<()>,
}

async fn serve(change: impl FnOnce(&mut Config)) -> Server {
    let any = "127.0.0.1:0".parse().unwrap();
    let listeners = Listeners::bind(any, any).await.unwrap();
    let clients = listeners.clients.local_addr().unwrap();
    let admin = listeners.admin.local_addr().unwrap();
    let mut config = Config::default();
    change(&mut config);
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(server::run(listeners, config, async {
        let _ = stopped.await;
    }));
    let options = Options {
        target: format!("ws://{clients}").parse().unwrap(),
        sessions: 50,
        connect_rate: 500.0,
        rate: 20.0,
        duration: Duration::from_secs(1),
        admin: format!("http://{admin}").as_str().into(),
        verify: true,
        ..options()
    };
    Server { options, _stop: stop }
}

async fn load(options: Options) -> Report {
    let plan = Plan::new(options, "0badcafe".to_owned());
    run(plan, Arc::default(), CancellationToken::new()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_agree_with_an_honest_server() {
    let server = serve(|_| {}).await;
    let report = load(Options { query_rate: 10.0, ..server.options.clone() }).await;
    let ledger = report.ledger.unwrap();
    assert_eq!((ledger.sessions, ledger.messages, ledger.off), (50, 1000, 0), "{:?}", ledger.differences);
    assert_eq!((report.sessions.connected, report.messages.sent), (50, 1000));
    assert_eq!(report.messages.bytes, ledger.bytes);
    assert_eq!((report.errors, report.ledger_error), (vec![], None));
    assert!(report.echo.is_none());
    let query = report.query.unwrap();
    assert_eq!((query.answered, query.rows), (10, 50));
    assert_eq!((report.handshake.count, query.latency.count), (50, 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_that_are_one_byte_off_are_said_to_be() {
    let server = serve(|_| {}).await;
    let plan = Plan::new(server.options.clone(), "0badcafe".to_owned());
    let run = begin(plan, Arc::default(), CancellationToken::new()).await.unwrap();
    let mut executed = execute(&run).await;
    let tampered = &mut executed.entries[17];
    tampered.total_bytes += 1;
    let (page, total) = (tampered.pages[0].clone(), tampered.total_bytes);
    let ledger = judge(&run.plan, &executed).unwrap();
    assert_eq!(ledger.off, 1);
    assert_eq!(
        ledger.differences,
        [ledger::Difference {
            page_id: page,
            field: "totalBytesSent".to_owned(),
            expected: total.to_string(),
            found: (total - 1).to_string(),
        }]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echoes_are_timed_and_none_is_missed() {
    let server = serve(|config| config.clients.echo = true).await;
    for binary in [false, true] {
        let report = load(Options { binary, ..server.options.clone() }).await;
        let echo = report.echo.unwrap();
        assert_eq!((echo.came_back, echo.missing, report.other_messages), (1000, 0, 0));
        assert_eq!(echo.round_trip.count, 1000);
        assert_eq!(report.ledger.unwrap().off, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_s_refusals_are_counted_and_its_sessions_still_agree() {
    let server = serve(|config| config.clients.rules.limits.max_sessions = Some(10)).await;
    let report = load(server.options.clone()).await;
    assert_eq!((report.sessions.connected, report.sessions.failed), (10, 40));
    assert_eq!(report.errors[0].kind, "handshake: http 503");
    assert!(report.errors[0].said.as_ref().unwrap().contains("full"), "{:?}", report.errors);
    let ledger = report.ledger.as_ref().unwrap();
    assert_eq!((ledger.sessions, ledger.off), (10, 0));
    assert!(!report.is_failed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_server_closes_is_off_with_the_code() {
    let server = serve(|config| config.clients.max_message_bytes = 200).await;
    let options = Options { bytes: "300".parse().unwrap(), sessions: 5, ..server.options.clone() };
    let report = load(options).await;
    assert_eq!(report.errors[0].kind, "session: closed 1009");
    let ledger = report.ledger.as_ref().unwrap();
    assert_eq!((ledger.sessions, ledger.off), (5, 5));
    assert_eq!(ledger.differences[0].found, "session: closed 1009");
    assert!(report.is_failed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_run_is_reported_with_its_ledger() {
    let server = serve(|_| {}).await;
    let options = Options { duration: Duration::from_secs(60), ..server.options.clone() };
    let interrupted = CancellationToken::new();
    let progress = Arc::new(Progress::default());
    let plan = Plan::new(options, "0badcafe".to_owned());
    let running = tokio::spawn(run(plan, progress.clone(), interrupted.clone()));
    while progress.messages.load(std::sync::atomic::Ordering::Relaxed) < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    interrupted.cancel();
    let report = running.await.unwrap().unwrap();
    assert!(report.interrupted && report.messages.sent >= 100);
    assert_eq!(report.ledger.unwrap().off, 0);
    assert_eq!(report.warnings, Vec::<String>::new());
}

/// Who vanished is given up soon.
fn soon(config: &mut Config) {
    let windows = &mut config.clients.rules.windows;
    (windows.resume_ms, windows.resume_mobile_ms) = (300, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_left_are_in_the_history_with_their_last_totals() {
    let server = serve(soon).await;
    let settle = Some(Duration::from_secs(10));
    let options = Options { churn: 40.0, drop: 0.25, tabs: 2, settle, ..server.options.clone() };
    let report = load(options).await;
    let (churn, ledger) = (report.churn.unwrap(), report.ledger.unwrap());
    assert_eq!((churn.left, churn.dropped, churn.came, churn.resumed), (30, 10, 40, 0));
    assert_eq!((ledger.sessions, ledger.off), (90, 0), "{:?}", ledger.differences);
    assert_eq!((ledger.messages, report.messages.unsent), (report.messages.planned, 0));
    let ended = ledger.ended.unwrap();
    assert_eq!((ended.closed, ended.lost, ended.not_checked), (80, 10, 0));
    // The server's clock moves by up to 10 ms at a time.
    assert!(ended.lost_after.unwrap().min_ms >= 290.0, "{ended:?}");
    assert_eq!(ledger.settled.unwrap().left, 0);
    assert_eq!(report.errors, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_come_back_are_the_same_to_the_byte() {
    for tabs in [1, 4] {
        let server = serve(|config| config.clients.echo = true).await;
        let options = Options { churn: 40.0, drop: 0.5, resume: true, tabs, ..server.options.clone() };
        let report = load(Options { duration: Duration::from_secs(2), ..options }).await;
        let (churn, ledger) = (report.churn.unwrap(), report.ledger.unwrap());
        assert_eq!((churn.left, churn.dropped, churn.came, churn.not_resumed), (40, 40, 40, 0));
        assert_eq!(ledger.off, 0, "{:?}", ledger.differences);
        assert!(churn.resumed >= 40 && (tabs > 1 || churn.resumed == 40), "{churn:?}");
        assert_eq!((ledger.resumed, ledger.ended.unwrap().closed), (churn.resumed, 40));
        assert_eq!((report.echo.unwrap().missing, report.other_messages), (0, 0));
        assert_eq!(report.errors, []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_gives_another_session_to_who_comes_back_is_found_out() {
    let server = serve(|config| config.clients.rules.windows.resume_ms = 1).await;
    let scopes = "browser=1".parse().unwrap();
    let options = Options { churn: 20.0, drop: 1.0, resume: true, scopes, ..server.options.clone() };
    let report = load(options).await;
    let (ledger, churn) = (report.ledger.as_ref().unwrap(), report.churn.as_ref().unwrap());
    // A third of them is back before the server learns of the loss.
    assert!(churn.not_resumed > 5 && churn.resumed > 0, "{churn:?}");
    assert_eq!(ledger.off, churn.not_resumed);
    assert!(ledger.differences.iter().all(|difference| difference.field == "resumed"));
    assert!(report.is_failed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_left_on_the_server_are_off_and_those_it_forgot_are_not() {
    let server = serve(|config| config.clients.rules.max_ended = 10).await;
    let options = Options { churn: 20.0, drop: 0.25, scopes: "browser=1".parse().unwrap(), ..server.options };
    let report = load(Options { settle: Some(Duration::from_millis(1)), ..options }).await;
    let ledger = report.ledger.unwrap();
    assert_eq!((ledger.off, ledger.settled.unwrap().left), (5, 5));
    let ended = ledger.ended.unwrap();
    assert_eq!((ended.closed, ended.not_checked), (10, 55));
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let report = load(Options { target, sessions: 3, duration: Duration::from_millis(1), ..options() }).await;
    assert!(report.is_unreachable && report.is_failed());
    assert_eq!(report.errors[0].kind, "connect: connection refused");
    assert_eq!(report.errors[0].count, 3);
}

/// One connection of a server of somebody else's.
type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

/// A server of somebody else's: `talk` has each connection.
async fn other_server<F>(talk: fn(Socket) -> F) -> Options
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/chat", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move { talk(tokio_tungstenite::accept_async(stream).await.unwrap()).await });
        }
    });
    let duration = Duration::from_secs(1);
    Options { target: url.parse().unwrap(), sessions: 3, rate: 40.0, duration, ..options() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_read_holds_messages_up_and_the_harness_is_not_blamed() {
    let options = other_server(|mut socket: Socket| async move {
        tokio::time::sleep(Duration::from_millis(600)).await;
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let report = load(Options { bytes: "1000000".parse().unwrap(), ..options }).await;
    assert_eq!((report.messages.sent, report.messages.unsent), (120, 0));
    assert!(report.messages.held_up > 10, "{:?}", report.messages);
    assert_eq!(report.send_lag.count + report.messages.held_up, 120);
    assert_eq!(report.errors, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_comes_back_as_it_went_is_an_echo() {
    let options = other_server(|mut socket: Socket| async move {
        let mut count = 0;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                count += 1;
                let answer = if count % 4 == 1 { Message::text("something else") } else { message };
                socket.send(answer).await.unwrap();
            }
        }
    })
    .await;
    let report = load(options).await;
    let echo = report.echo.unwrap();
    assert_eq!((echo.came_back, echo.missing, report.other_messages), (90, 30, 30));
}
