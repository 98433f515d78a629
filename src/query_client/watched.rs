//! Sessions that are watched: who was there, and what was told since (PROTOCOL 3.1, `watchSessions`).

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{QueryClient, QueryError, garbled};
use crate::session::SessionInfo;

/// The sessions of one watch, as they were told last.
#[derive(Debug)]
pub struct Watched {
    id: String,
    rows: HashMap<Arc<str>, Row>,
}

#[derive(Debug)]
struct Row {
    info: SessionInfo,
    /// When `uptime` was what it is in there.
    told: Instant,
    /// When `lastComm` was.
    heard: Instant,
}

/// What a watch begins with, and what it begins with again.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    watch_id: String,
    items: Vec<Value>,
}

#[derive(Deserialize)]
struct Notification {
    method: String,
    params: Params,
}

/// Of `sessionsChanged` and of `resync`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params {
    watch_id: String,
    #[serde(default)]
    items: Vec<Value>,
    #[serde(default)]
    opened: Vec<Value>,
    #[serde(default)]
    changed: Vec<Value>,
    #[serde(default)]
    closed: Vec<Closed>,
}

#[derive(Deserialize)]
struct Closed {
    id: Arc<str>,
}

impl QueryClient {
    /// `watchSessions`: those that the filter picks, and from then on what [changes](Self::follow), told so often.
    ///
    /// # Errors
    ///
    /// A [`QueryError`]; [`QueryError::Server`] if the filter is none, or the interval is too short or too long.
    pub async fn watch(&mut self, filter: &Value, interval: Duration) -> Result<Watched, QueryError> {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let params = json!({"filter": filter, "intervalMs": interval_ms});
        let Snapshot { watch_id, items } = self.call("watchSessions", &params).await?;
        let mut watched = Watched { id: watch_id, rows: HashMap::new() };
        watched.insert(items)?;
        Ok(watched)
    }

    /// Waits for what is told next, and brings the sessions up to date by it. Cancel safe.
    ///
    /// # Errors
    ///
    /// A [`QueryError`].
    pub async fn follow(&mut self, watched: &mut Watched) -> Result<(), QueryError> {
        let text = match self.told.pop_front() {
            Some(text) => text,
            None => self.receive().await?,
        };
        watched.apply(serde_json::from_str(&text).map_err(garbled)?)
    }
}

impl Watched {
    /// The sessions as they are now: as they were told last, with `uptime` and `lastComm` gone on since.
    pub fn rows(&self) -> Vec<SessionInfo> {
        let since = |at: Instant| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let row = |row: &Row| SessionInfo {
            uptime: row.info.uptime.saturating_add(since(row.told)),
            last_comm: row.info.last_comm.saturating_add(since(row.heard)),
            ..row.info.clone()
        };
        self.rows.values().map(row).collect()
    }

    /// Takes over when each of them was heard last. Of that alone, as with a heartbeat, nothing is told.
    pub fn refresh(&mut self, fresh: &[SessionInfo]) {
        let now = Instant::now();
        for SessionInfo { id, last_comm, .. } in fresh {
            if let Some(row) = self.rows.get_mut(id) {
                row.info.last_comm = *last_comm;
                row.heard = now;
            }
        }
    }

    fn apply(&mut self, told: Notification) -> Result<(), QueryError> {
        let Notification { method, params: Params { watch_id, items, opened, changed, closed } } = told;
        if watch_id != self.id {
            return Ok(());
        }
        if method == "resync" {
            self.rows.clear();
        }
        // First: an id may have ended, and begun again.
        for Closed { id } in closed {
            self.rows.remove(&id);
        }
        [items, opened, changed].into_iter().try_for_each(|items| self.insert(items))
    }

    fn insert(&mut self, items: Vec<Value>) -> Result<(), QueryError> {
        let now = Instant::now();
        for mut item in items {
            if let Some(item) = item.as_object_mut() {
                item.retain(|key, _| SessionInfo::KEYS.contains(&&**key));
            }
            let info: SessionInfo = serde_json::from_value(item).map_err(garbled)?;
            self.rows.insert(info.id.clone(), Row { info, told: now, heard: now });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str, bytes: u64) -> Value {
        json!({
            "userAgent": "", "id": id, "username": "ann", "project": "p", "uptime": 5, "clientAddress": "::1",
            "lastComm": 3, "sessionScope": "ios", "activePages": 1, "recentBytesSent": 0,
            "totalBytesSent": bytes, "pageIds": ["x"], "authorized": false, "connected": true, "rttMs": null,
        })
    }

    fn tell(watched: &mut Watched, method: &str, params: &Value) {
        let told = json!({"jsonrpc": "2.0", "method": method, "params": params});
        watched.apply(serde_json::from_value(told).unwrap()).unwrap();
    }

    fn shown(watched: &Watched) -> Vec<(String, u64)> {
        let mut shown: Vec<_> =
            watched.rows().iter().map(|row| (row.id.to_string(), row.total_bytes_sent)).collect();
        shown.sort();
        shown
    }

    #[test]
    fn what_is_told_is_applied_in_order_and_to_its_own_watch() {
        let mut watched = Watched { id: "w1".to_owned(), rows: HashMap::new() };
        watched.insert(vec![item("a", 1), item("b", 1)]).unwrap();
        let change = json!({
            "watchId": "w1", "revision": 2, "opened": [item("a", 0)], "changed": [item("b", 2)],
            "closed": [{"id": "a", "reason": "closed", "endedAt": "x", "totalBytesSent": 9}, {"id": "short"}],
        });
        tell(&mut watched, "sessionsChanged", &change);
        assert_eq!(shown(&watched), [("a".to_owned(), 0), ("b".to_owned(), 2)]);
        tell(&mut watched, "resync", &json!({"watchId": "w2", "revision": 3, "items": []}));
        assert_eq!(watched.rows().len(), 2);
        tell(&mut watched, "resync", &json!({"watchId": "w1", "revision": 3, "items": [item("c", 7)]}));
        assert_eq!(shown(&watched), [("c".to_owned(), 7)]);
    }

    #[test]
    fn time_goes_on_between_two_batches() {
        let mut watched = Watched { id: "w1".to_owned(), rows: HashMap::new() };
        watched.insert(vec![item("a", 1)]).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        let row = watched.rows().remove(0);
        assert!(row.uptime >= 35 && row.last_comm >= 33, "{row:?}");
        watched.refresh(&[SessionInfo { last_comm: 0, ..row.clone() }]);
        let fresh = watched.rows().remove(0);
        assert!(fresh.last_comm < row.last_comm && fresh.uptime >= row.uptime, "{fresh:?}");
    }
}
