//! A connection as it is counted, from being accepted to its end: by values that go with it, so that none is forgotten
//! whatever becomes of its task.

use std::{ops::Deref, sync::Arc, time::Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{listener::ClientPlane, upgrade::Admitted};
use crate::{
    edge::connections::{Dropped, Missed},
    session::EndReason,
};

/// A connection that has been accepted. If it is dropped before it was [let in](Self::let_in), it has become nothing, for
/// the last reason that was given.
pub(super) struct Arrival {
    plane: Arc<ClientPlane>,
    began: Instant,
    /// None if it was let in.
    missed: Option<Missed>,
    inside: Option<Inside>,
    /// Its place among all that are open, or beside them, until it is let in.
    place: Option<OwnedSemaphorePermit>,
}

/// What belongs to a connection that was let in.
pub(super) struct Inside {
    pub(super) admitted: Admitted,
    pub(super) open: Open,
    /// Its place among those that a drain waits for.
    pub(super) task: TaskTrackerToken,
}

impl Arrival {
    /// While all places are taken, so many may arrive at a time beside them, and are told so. The descriptors are shared
    /// out with room for them (`cli/settings.rs`).
    pub(super) const MAX_BESIDE: usize = 32;

    pub(super) fn new(plane: Arc<ClientPlane>, place: OwnedSemaphorePermit) -> Self {
        plane.counted.accepted();
        Self {
            plane,
            began: Instant::now(),
            missed: Some(Missed::Dropped(Dropped::Gone)),
            inside: None,
            place: Some(place),
        }
    }

    /// Whether all places were taken when it was accepted. It is told so, and not let in even if there is one by now.
    pub(super) fn is_beside(&self) -> bool {
        self.place.as_ref().is_some_and(|place| !Arc::ptr_eq(place.semaphore(), &self.plane.places))
    }

    /// A request was answered so.
    pub(super) fn answered(&mut self, so: Missed) {
        self.missed = self.missed.map(|_| so);
    }

    /// It goes on no more. If a request was answered before, it is that what it has come to.
    pub(super) fn failed(&mut self, how: Dropped) {
        if self.missed == Some(Missed::Dropped(Dropped::Gone)) {
            self.missed = Some(Missed::Dropped(how));
        }
    }

    /// It is granted its upgrade, as it is once.
    pub(super) fn let_in(&mut self, admitted: Admitted) {
        if self.missed.take().is_some() {
            self.plane.counted.upgraded(self.began.elapsed());
            let open = Open(Some(self.plane.clone()));
            // The open connection gives it back, without keeping it meanwhile.
            self.place.take().expect("there until now").forget();
            // The token is taken together with the membership, so a drain waits for both or neither.
            self.inside = Some(Inside { admitted, open, task: self.plane.connections.token() });
        }
    }

    /// What belongs to it if it was let in.
    pub(super) fn take_inside(&mut self) -> Option<Inside> {
        self.inside.take()
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if let Some(missed) = self.missed {
            self.plane.counted.missed(missed);
        }
    }
}

/// The client plane, as an open connection has it, and a place there: dropping this is losing the connection.
///
/// It is as large as what it holds, since there is one for every client.
pub(super) struct Open(Option<Arc<ClientPlane>>);

impl Open {
    /// The connection has ended for this reason.
    pub(super) fn close(mut self, reason: EndReason) {
        self.count(reason);
    }

    fn count(&mut self, reason: EndReason) {
        if let Some(plane) = self.0.take() {
            plane.counted.closed(reason.as_str());
            plane.places.add_permits(1);
        }
    }
}

impl Deref for Open {
    type Target = ClientPlane;

    fn deref(&self) -> &ClientPlane {
        self.0.as_ref().expect("there until it is closed, which takes this away")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count(EndReason::Lost);
    }
}
