//! How far a run has come, while it runs, if there is somebody to see it.

use std::{
    future::Future,
    io::{IsTerminal, stderr},
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::load::{Plan, Progress};

/// Two bars: sessions and messages.
#[derive(Debug)]
pub(super) struct Bars {
    all: MultiProgress,
    sessions: ProgressBar,
    messages: ProgressBar,
}

impl Bars {
    /// None if standard error is no terminal.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        if !stderr().is_terminal() {
            return None;
        }
        let all = MultiProgress::new();
        let bar = |name: &'static str, length| {
            let template = "{prefix:9} {bar:30} {pos}/{len} {msg}";
            let style = ProgressStyle::with_template(template).expect("the template is well-formed");
            all.add(ProgressBar::new(length).with_style(style).with_prefix(name))
        };
        let sessions = bar("sessions", u64::from(plan.options.sessions));
        let messages = bar("messages", plan.planned_messages());
        Some(Self { all, sessions, messages })
    }

    fn show(&self, progress: &Progress) {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        self.sessions.set_position(read(&progress.connected));
        let failed = read(&progress.failed);
        if failed > 0 {
            self.sessions.set_message(format!("{failed} failed"));
        }
        self.messages.set_position(read(&progress.messages));
        let echoes = read(&progress.echoes);
        if echoes > 0 {
            self.messages.set_message(format!("{echoes} came back"));
        }
    }
}

/// Shows the bars while the work goes on, and takes them away when it is done.
pub(super) async fn alongside<T>(
    bars: Option<Bars>,
    progress: &Progress,
    work: impl Future<Output = T>,
) -> T {
    let Some(bars) = bars else { return work.await };
    let mut work = pin!(work);
    let mut beat = tokio::time::interval(Duration::from_millis(100));
    let outcome = loop {
        tokio::select! {
            outcome = &mut work => break outcome,
            _ = beat.tick() => bars.show(progress),
        }
    };
    // Bars are no output: what is worth keeping is in the report. A terminal that fails is none to mourn.
    let _ = bars.all.clear();
    outcome
}
