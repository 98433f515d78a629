//! Watches over HTTP, as Server-Sent Events (PROTOCOL 3.2, `/api/v1/events`).

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Extension, Request, State},
    http::{HeaderValue, Method, Uri, header},
    response::Response,
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time,
};

use super::{
    http::{Answer, Connection, ok, refuse},
    item::Column,
    methods::Methods,
    rest,
    source::{Unanswered, Workshop},
    view::View,
    watch::{self, Told, Watch},
};
use crate::{
    config::tokens::Scope,
    edge::{refusal::Refusal, waits::long},
};

/// A stream that says nothing for so long says so, for the sake of whoever stands in between.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The parameters that are no conditions.
const PARAMETERS: [&str; 2] = ["search", "intervalMs"];

/// Who is there now, and from then on what changes.
pub(super) async fn stream(
    State(connection): State<Connection>,
    Extension(methods): Extension<Methods>,
    request: Request,
) -> Answer {
    methods.caller.must_have(Scope::Read)?;
    let asked = read(methods.caller.view(), request.uri())?;
    if request.method() == Method::HEAD {
        // Of no length, as that of the stream: a body that is empty would be said to have none.
        return Ok(as_events(
            ok("").map(|_| Body::from_stream(stream::pending::<Result<Bytes, Unanswered>>())),
        ));
    }
    let plane = &connection.plane;
    let place = plane.query_place()?;
    let wake = Arc::new(Notify::new());
    let watch = Arc::new(plane.hub.watch(asked, wake.clone())?);
    let (workshop, mut first) = (methods.workshop.clone(), Vec::new());
    let mut told = Told::first_event(&watch, &workshop);
    let has_more = told.write_part(&mut first).await.map_err(refuse)?;
    let events = Events { watch, wake, workshop, told: has_more.then_some(told), _place: place };
    let first = stream::iter([Ok(first.into())]);
    let plane = plane.clone();
    let ending = async move {
        tokio::select! {
            () = plane.closing.cancelled() => {}
            () = plane.gate.revoked(&methods.caller) => {}
        }
    };
    let body = first.chain(events.into_stream()).take_until(Box::pin(ending));
    Ok(as_events(ok("").map(|_| Body::from_stream(body))))
}

fn read(view: &View, uri: &Uri) -> Result<watch::Asked, Refusal> {
    let (conditions, mut given) = rest::given::<Column>(uri, &PARAMETERS)?;
    let [search, interval] = PARAMETERS.map(|name| given.remove(name));
    let interval = rest::number("intervalMs", interval)?;
    let (question, written) = rest::question(conditions, search.as_deref(), None)?;
    Ok(watch::Asked::new(view, question, written, watch::interval(interval)?))
}

fn as_events(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would keep events back until it has some kilobytes of them.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// One stream of events.
struct Events {
    watch: Arc<Watch>,
    wake: Arc<Notify>,
    workshop: Workshop,
    /// The event that is being written.
    told: Option<Told>,
    _place: OwnedSemaphorePermit,
}

impl Events {
    /// The parts of events, each made when it is asked for.
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, Unanswered>> {
        stream::unfold(Some(self), |events| async {
            let mut events = events?;
            let mut out = Vec::new();
            Some(match events.write_part(&mut out).await {
                Ok(()) => (Ok(out.into()), Some(events)),
                Err(why) => (Err(why), None),
            })
        })
    }

    /// Writes the next part when there is one, or that there is none.
    async fn write_part(&mut self, out: &mut Vec<u8>) -> Result<(), Unanswered> {
        let mut told = match self.told.take() {
            Some(told) => told,
            None => match long(|| time::timeout(KEEP_ALIVE, self.next())).await {
                Ok(told) => told,
                Err(_) => {
                    out.extend_from_slice(b":\n\n");
                    return Ok(());
                }
            },
        };
        if told.write_part(out).await? {
            self.told = Some(told);
        }
        Ok(())
    }

    async fn next(&mut self) -> Told {
        loop {
            if let Some(told) = Told::event(&self.watch, &self.workshop) {
                return told;
            }
            self.wake.notified().await;
        }
    }
}
