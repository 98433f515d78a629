//! PROTOCOL 2.4 as a browser lives it: tabs of a real Chromium, opened, reloaded and closed.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    harness::{Server, eventually, tool},
    lives::history,
    real_clients::{Client, chromium},
};

/// How soon a closed tab's page must be gone.
const SOON: Duration = Duration::from_secs(1);

/// chromium-tabs.mjs, which says what it can be told. No tab is open at first.
struct Browser(Client);

impl Browser {
    /// `None` where there is no Chromium.
    fn start(server: &Server, options: &[&str]) -> Option<Self> {
        let mut command = tool("chromium", chromium("chromium-tabs.mjs"))?;
        command.args(options);
        Some(Self(Client::start(command, &server.url("/ws/plant?username=ann"))))
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{command}").unwrap();
    }

    /// What the browser answers once the oldest unanswered command is done.
    #[track_caller]
    fn done(&mut self) -> Value {
        serde_json::from_str(&self.0.lines.next().expect("an answer").unwrap()).unwrap()
    }

    #[track_caller]
    fn ask(&mut self, command: &str) -> Value {
        self.tell(command);
        self.done()
    }

    /// Closes a tab and sees its page gone soon; answers when it was told to.
    #[track_caller]
    fn close(&mut self, tab: u64, is_gone: impl Fn(&[Value]) -> bool, server: &Server) -> Instant {
        let told = Instant::now();
        self.tell(&format!("close {tab}"));
        eventually("the page gone", || Some(server.rows("")).filter(|rows| is_gone(rows)).ok_or("it is not"));
        assert!(told.elapsed() < SOON, "{:?}", told.elapsed());
        assert_eq!(self.done(), json!({"tab": tab}));
        told
    }
}

impl Drop for Browser {
    /// Lets it clean up, which it could not if it were killed; it takes a minute at the very most.
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        while let Some(Ok(_)) = self.0.lines.next() {}
    }
}

#[test]
fn tabs_are_pages_of_one_session_and_a_reload_keeps_it() {
    // Whatever is kept although it should be gone, is kept for long enough to be seen.
    let server = Server::start(&["--reload-grace", "30s", "--resume-window", "30s"]);
    let Some(mut browser) = Browser::start(&server, &[]) else { return };
    let first = browser.ask("open");
    let second = browser.ask("open");
    assert_eq!((&first["resumed"], &second["resumed"]), (&json!(false), &json!(true)));
    assert_eq!(first["sessionId"], second["sessionId"]);
    assert_ne!(first["pageId"], second["pageId"]);
    browser.ask("send 1");
    let before = server.row("ann", |row| row["totalBytesSent"] == 5);
    let seen = Instant::now();
    assert_eq!((&before["id"], &before["activePages"]), (&first["sessionId"], &json!(2)));
    assert_eq!(before["pageIds"], json!([first["pageId"], second["pageId"]]), "in the order opened");

    let reloaded = json!({
        "tab": 1, "pageId": first["pageId"], "sessionId": first["sessionId"], "resumed": true,
    });
    let is_kept = |pages: u64| {
        let lived = before["uptime"].as_u64().unwrap() + u64::try_from(seen.elapsed().as_millis()).unwrap();
        let row = server.row("ann", |row| row["activePages"] == pages);
        assert_eq!((&row["id"], &row["totalBytesSent"]), (&first["sessionId"], &json!(5)));
        // The server's clock moves with the kernel's tick, of 10 ms at the most.
        assert!(row["uptime"].as_u64().unwrap() + 12 >= lived, "{row}, {lived}");
        row["pageIds"].clone()
    };
    assert_eq!(browser.ask("reload 1"), reloaded, "beside another tab");
    // It was closed and opened again, so it is the youngest.
    assert_eq!(is_kept(2), json!([second["pageId"], first["pageId"]]));
    browser.close(2, |rows| rows.len() == 1 && rows[0]["pageIds"] == json!([first["pageId"]]), &server);
    assert_eq!(browser.ask("reload 1"), reloaded, "as the only tab");
    assert_eq!(is_kept(1), json!([first["pageId"]]));
    assert!(history(&server, 0).is_empty());
}

#[test]
fn the_last_tab_closed_ends_the_session_after_the_reload_grace() {
    let server = Server::start(&["--reload-grace", "1s", "--resume-window", "30s"]);
    let Some(mut browser) = Browser::start(&server, &[]) else { return };
    let page = browser.ask("open");
    let told = browser.close(1, |rows| rows.len() == 1 && rows[0]["pageIds"] == json!([]), &server);
    server.empties();
    let lived = told.elapsed();
    assert!((1000..3000).contains(&lived.as_millis()), "{lived:?}");
    let ended = &history(&server, 1)[0];
    assert_eq!((&ended["reason"], &ended["id"]), (&json!("closed"), &page["sessionId"]));
    assert_eq!(ended["pageIds"], json!([page["pageId"]]));

    // The token that the browser still has is worth nothing now.
    let next = browser.ask("open");
    assert_eq!(next["resumed"], false);
    assert_ne!(next["sessionId"], page["sessionId"]);
}

#[test]
fn the_last_tab_closed_ends_the_session_of_a_plain_client_at_once() {
    let server = Server::start(&["--reload-grace", "30s", "--resume-window", "30s"]);
    let Some(mut browser) = Browser::start(&server, &["--plain"]) else { return };
    let page = browser.ask("open");
    assert_eq!(server.row("ann", |_| true)["pageIds"], json!([page["pageId"]]));
    browser.close(1, <[Value]>::is_empty, &server);
    let ended = &history(&server, 1)[0];
    assert_eq!((&ended["reason"], &ended["pageIds"]), (&json!("closed"), &json!([page["pageId"]])));
}
