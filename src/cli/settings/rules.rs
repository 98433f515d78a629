//! What sessions live by: how many there may be, and for how long what is lost is kept.

use clap::ValueEnum;
use serde::Deserialize;

use super::{Places, Settings};
use crate::{
    cli::units::Span,
    config::ClientsConfig,
    session::{Limits, OneSessionPerUser, Rules, Windows},
};

/// What becomes of a user's second login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum OneLogin {
    /// It is allowed.
    Off,
    /// It is refused.
    Reject,
    /// It ends the first.
    Replace,
}

impl Settings {
    /// What the registry goes by.
    pub(super) fn rules(&self, places: &Places) -> Rules {
        let limit = |set: Option<usize>, default| set.map_or(default, |n| (n > 0).then_some(n));
        let window = |set: Option<Span>, default| {
            set.map_or(default, |span| u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX))
        };
        let Rules { limits, windows, max_ended, token_grace_ms, .. } = ClientsConfig::default().rules;
        Rules {
            limits: Limits {
                max_sessions: limit(self.max_sessions, Some(places.sessions)),
                max_sessions_per_address: limit(
                    self.max_sessions_per_address,
                    limits.max_sessions_per_address,
                ),
                max_sessions_per_user: limit(self.max_sessions_per_user, limits.max_sessions_per_user),
                max_sessions_per_project: limit(
                    self.max_sessions_per_project,
                    limits.max_sessions_per_project,
                ),
                max_unauthenticated: limit(self.max_unauthenticated, limits.max_unauthenticated),
                max_connections_per_session: limit(
                    self.max_connections_per_session,
                    limits.max_connections_per_session,
                ),
                max_pages_per_session: limit(self.max_pages_per_session, limits.max_pages_per_session),
            },
            windows: Windows {
                resume_ms: window(self.resume_window, windows.resume_ms),
                resume_mobile_ms: window(self.resume_window_mobile, windows.resume_mobile_ms),
                reload_ms: window(self.reload_grace, windows.reload_ms),
                ..windows
            },
            max_ended: self.max_ended.unwrap_or(max_ended),
            one_session_per_user: self.one_session_per_user.map_or(
                OneSessionPerUser::Off,
                |rule| match rule {
                    OneLogin::Off => OneSessionPerUser::Off,
                    OneLogin::Reject => OneSessionPerUser::Reject,
                    OneLogin::Replace => OneSessionPerUser::Replace,
                },
            ),
            idle_ms: self.idle_timeout.map_or([None; 4], |times| times.0),
            token_grace_ms: window(self.token_grace, token_grace_ms),
        }
    }
}
