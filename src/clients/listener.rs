use std::{sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
    task,
    time::{self, Instant, MissedTickBehavior},
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use super::{
    arrival::Arrival, connection::READ_BYTES, control, heart::Heart, identity::Identities, pace::Gate,
    stamp::Stamps, upgrade,
};
use crate::{
    config::ClientsConfig,
    edge::{
        accept::{Accepted, accept, places},
        clock::Clock,
        connections::Connections,
        tls::{self, Tls},
        waits::long,
        watched::ReadAgain,
    },
    frames::{Keep, Rules},
    session::{Alarm, EndReason, Order, Registry},
};

/// Connections are told to leave in portions, one every so often.
const DRAIN_STEP: Duration = Duration::from_millis(10);

/// While the server ends, those who came in late are looked for so often.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// How late, at the most, a session ends that nobody came back to.
const EXPIRY_LATENESS: Duration = Duration::from_millis(50);

/// The client plane, shared by all its connections.
#[derive(Debug)]
pub(crate) struct ClientPlane {
    pub(super) config: ClientsConfig,
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Clock,
    pub(super) heart: Heart,
    pub(super) stamps: Stamps,
    pub(super) gate: Gate,
    pub(super) identities: Identities,
    /// For so many connections at a time.
    pub(super) places: Arc<Semaphore>,
    /// What has become of all connections so far.
    pub(crate) counted: Arc<Connections>,
    /// Without it the plane is plain.
    pub(super) tls: Option<Tls>,
    /// Everybody is asked to leave, and nobody may come in.
    pub(super) draining: CancellationToken,
    /// Whoever is still there is cut.
    pub(crate) cut: CancellationToken,
    /// One task a connected session's connection.
    pub(crate) connections: TaskTracker,
}

impl ClientPlane {
    /// A plane that nobody has come to yet; `draining` is the server's.
    pub(crate) fn new(
        config: ClientsConfig,
        registry: Arc<Registry>,
        clock: Clock,
        draining: CancellationToken,
    ) -> Self {
        Self {
            heart: Heart::new(config.heartbeat),
            stamps: Stamps::new(),
            gate: Gate::default(),
            identities: Identities::new(&config.identity),
            places: places(config.max_open),
            counted: Arc::new(Connections::new(&upgrade::REFUSALS, &EndReason::ALL.map(EndReason::as_str))),
            tls: config.tls.as_ref().map(|files| {
                Tls::new("the certificate and key of the client plane", &files.certificate, &files.key)
            }),
            config,
            registry,
            clock,
            draining,
            cut: CancellationToken::new(),
            connections: TaskTracker::new(),
        }
    }

    /// Accepts clients until the plane is cut. While it drains, they are told so. Files are read again when they
    /// change, and when that is asked for.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener, read_again: ReadAgain) {
        let accepting = accept(listener, &self.places, Arrival::MAX_BESIDE, self.cut.clone(), |accepted| {
            let Accepted { stream, peer, place } = accepted;
            tokio::spawn(self.clone().greet(stream, peer, Arrival::new(self.clone(), place)));
        });
        let plane = self.clone();
        let _heart = AbortOnDropHandle::new(tokio::spawn(async move { plane.heart.run(plane.clock).await }));
        tokio::select! {
            () = accepting => {}
            () = self.expire() => {}
            () = self.identities.keep_keys(read_again.clone()) => {}
            () = tls::keep(self.tls.as_ref(), read_again) => {}
        }
        self.heart.cut();
    }

    /// Gives up, for ever, what nobody came back to. It sleeps until there is something to give up: where nobody comes
    /// or goes, nothing ticks.
    async fn expire(&self) {
        let sooner = Arc::new(Notify::new());
        let told = sooner.clone();
        let alarm: Arc<Alarm> = Arc::new(move || told.notify_one());
        self.registry.when_due_sooner(&alarm);
        loop {
            // Thousands may be due at one moment, when a network broke for all of them.
            while self.registry.expire_some(self.clock.now_ms()) {
                task::yield_now().await;
            }
            let now_ms = self.clock.now_ms();
            let Some(due_ms) = self.registry.due_ms() else {
                sooner.notified().await;
                continue;
            };
            let pause = Duration::from_millis(due_ms.saturating_sub(now_ms)).max(EXPIRY_LATENESS);
            let _ = long(|| time::timeout(pause, sooner.notified())).await;
        }
    }

    /// The server ends: tells every connection, and again those that came in while it told the others.
    pub(crate) async fn ask_to_leave(&self, spread: Duration) {
        self.end_waiting();
        let outlets = self.registry.outlets();
        // One by one if there are few, in portions if there are many: a pause shorter than that is none.
        let most_portions =
            usize::try_from(spread.as_millis() / DRAIN_STEP.as_millis()).unwrap_or(usize::MAX);
        let portion = outlets.len().div_ceil(most_portions.max(1)).max(1);
        let portions = u32::try_from(outlets.len().div_ceil(portion)).unwrap_or(u32::MAX).max(1);
        let begun = Instant::now();
        for (some, told) in outlets.chunks(portion).zip(1..) {
            for outlet in some {
                outlet.tell(Order::Drain);
            }
            // By the clock, since each sleep is somewhat late.
            time::sleep_until(begun + spread * told / portions).await;
        }
        let mut looks = time::interval(DRAIN_LOOK);
        // However long a look takes, there is a pause before the next, in which the clients that leave have their turn.
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.registry.drain();
            self.end_waiting();
        }
    }

    /// Ends the sessions that wait for somebody to come back.
    pub(crate) fn end_waiting(&self) {
        self.registry.drain_waiting(self.clock.now_ms());
    }

    /// How many bytes may wait to be sent to one client. An echo waits for its reader, who is not read meanwhile, so
    /// that of one read more is no matter.
    pub(super) fn max_waiting(&self) -> usize {
        let echo =
            if self.config.echo { self.config.max_message_bytes.saturating_add(READ_BYTES) } else { 0 };
        self.config.max_send_buffer_bytes.saturating_add(echo)
    }

    /// What of the clients' messages is looked at.
    pub(super) fn reading(&self) -> Rules {
        let keep = if self.config.echo { Keep::Everything } else { Keep::TextBeginning(control::PREFIX) };
        Rules { max_message_bytes: self.config.max_message_bytes, keep }
    }
}
