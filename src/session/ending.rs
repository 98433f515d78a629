use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a session ended (PROTOCOL 2.4): one word for programs, one sentence for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(description = "Why a session ended.")]
pub enum EndReason {
    /// The client closed its last page.
    Closed,
    /// The connection broke or fell silent, and nobody resumed in time.
    Lost,
    /// An administrator ended it.
    Terminated,
    /// A newer login of the same user took its place.
    Replaced,
    /// The user did nothing for too long.
    Idle,
    /// The client broke the WebSocket protocol, or sent text that is no UTF-8.
    Protocol,
    /// A message was over the limit.
    TooBig,
    /// The client did not read what was sent to it.
    SlowConsumer,
    /// The client sent too much too fast.
    RateLimited,
    /// The token that proved the identity expired.
    TokenExpired,
    /// The server ended.
    Drained,
}

impl EndReason {
    /// Every reason, in the order of their declaration.
    pub const ALL: [Self; 11] = [
        Self::Closed,
        Self::Lost,
        Self::Terminated,
        Self::Replaced,
        Self::Idle,
        Self::Protocol,
        Self::TooBig,
        Self::SlowConsumer,
        Self::RateLimited,
        Self::TokenExpired,
        Self::Drained,
    ];

    /// The reason as it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Lost => "lost",
            Self::Terminated => "terminated",
            Self::Replaced => "replaced",
            Self::Idle => "idle",
            Self::Protocol => "protocol",
            Self::TooBig => "too-big",
            Self::SlowConsumer => "slow-consumer",
            Self::RateLimited => "rate-limited",
            Self::TokenExpired => "token-expired",
            Self::Drained => "drained",
        }
    }

    /// What the connections of a session are closed with that ends for this reason (PROTOCOL 2.5).
    pub fn close_code(self) -> u16 {
        match self {
            Self::Terminated => 4001,
            Self::Replaced => 4002,
            Self::Idle => 4003,
            Self::TokenExpired => 4005,
            Self::Drained => 1001,
            Self::Protocol => 1002,
            Self::TooBig => 1009,
            Self::SlowConsumer | Self::RateLimited => 1008,
            // It may come back, if it lives.
            Self::Lost => 1013,
            Self::Closed => 1000,
        }
    }

    /// Why a connection is closed that others have ordered to be, with this code: an administrator did it, if nobody else
    /// gives such an order.
    pub fn of_close_code(code: u16) -> Self {
        let others = [Self::Replaced, Self::Idle, Self::TokenExpired, Self::Drained, Self::Lost];
        others.into_iter().find(|reason| reason.close_code() == code).unwrap_or(Self::Terminated)
    }
}

/// How one connection left its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// With a close frame.
    Closed {
        /// The code was 1001, as browsers send it when a page is left or reloaded.
        going_away: bool,
    },
    /// Without one: reset, end of the stream, silence.
    Lost,
    /// The server ended it.
    Ended(EndReason),
}

impl Leaving {
    /// Why a session ends that ends by it.
    pub fn reason(self) -> EndReason {
        match self {
            Self::Closed { .. } => EndReason::Closed,
            Self::Lost => EndReason::Lost,
            Self::Ended(reason) => reason,
        }
    }
}

/// How long what is gone may come back (PROTOCOL 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// How long a lost page of a browser or designer is kept, in milliseconds.
    pub resume_ms: u64,
    /// How long a lost page of a mobile client is kept, in milliseconds.
    pub resume_mobile_ms: u64,
    /// How long a session without pages waits for its page to be loaded again, in milliseconds.
    pub reload_ms: u64,
    /// How long a connection has to answer that is asked whether it lives because another came to its page, in
    /// milliseconds.
    pub answer_ms: u64,
}

impl Default for Windows {
    fn default() -> Self {
        Self { resume_ms: 30_000, resume_mobile_ms: 300_000, reload_ms: 5_000, answer_ms: 2_000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_one_name_wherever_it_is_written() {
        for (at, reason) in EndReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
