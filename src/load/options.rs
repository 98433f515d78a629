use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    time::Duration,
};

use http::{HeaderName, HeaderValue, Uri};
use rand::{Rng, RngExt};
use serde::Serialize;

use crate::{query_client::Admin, session::SessionScope};

/// What a run shall do, as a person asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Where the sessions connect.
    pub(crate) target: Target,
    /// How many sessions there are.
    pub(crate) sessions: u32,
    /// Sessions begun a second, more than 0.
    pub(crate) connect_rate: f64,
    /// Messages a second and session; 0 leaves the sessions idle.
    pub(crate) rate: f64,
    /// Payload bytes of a message.
    pub(crate) bytes: ByteRange,
    /// Send binary messages, not text.
    pub(crate) binary: bool,
    /// How long messages are sent, once the connecting is over.
    pub(crate) duration: Duration,
    /// How the sessions divide into scopes.
    pub(crate) scopes: ScopeShares,
    /// How many different users the sessions have.
    pub(crate) users: u32,
    /// How many different projects.
    pub(crate) projects: u32,
    /// The addresses connected from, in turn; none leaves the choice to the system.
    pub(crate) source_addresses: Vec<IpAddr>,
    /// Headers of every handshake besides the usual.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// `getSessionInfo` calls a second alongside; 0 is none.
    pub(crate) query_rate: f64,
    /// The admin plane that is asked.
    pub(crate) admin: Admin,
    /// Compare the books with the server's at the end.
    pub(crate) verify: bool,
    /// Sessions that leave a second while messages are sent, each with another that comes in its place.
    pub(crate) churn: f64,
    /// The share of these, of 1, that vanish without a close frame.
    pub(crate) drop: f64,
    /// Those that vanish come back to the session they had.
    pub(crate) resume: bool,
    /// A session has up to so many connections.
    pub(crate) tabs: u32,
    /// When all have left, wait so long for the server to have no session of the run any more.
    pub(crate) settle: Option<Duration>,
    /// What the random choices grow from: with the same seed they are the same.
    pub(crate) seed: u64,
}

impl Options {
    /// When the messages begin, from the start of the run: the first connecting is over by then.
    pub(crate) fn messages_begin(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.sessions) / self.connect_rate)
    }

    /// When the messages end, from the start of the run.
    pub(crate) fn messages_end(&self) -> Duration {
        self.messages_begin() + self.duration
    }

    /// Whether sessions end before the server is asked, or it is asked when all have: its history is looked at then.
    pub(super) fn has_endings(&self) -> bool {
        self.churn > 0.0 || self.settle.is_some()
    }

    /// How long a session waits with its first message: they shall not all send at once.
    pub(super) fn phase(&self, rng: &mut impl Rng) -> Duration {
        let between = if self.rate > 0.0 { 1.0 / self.rate } else { 0.0 };
        Duration::from_secs_f64(rng.random::<f64>() * between)
    }
}

/// Where sessions connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As it was written.
    pub(crate) url: String,
    /// `host:port`, to look up and connect to.
    pub(crate) authority: String,
    /// Over TLS.
    pub(crate) is_secure: bool,
    /// A headcount server, told of each session by path and parameters. Otherwise the URL is used as it is.
    pub(crate) is_headcount: bool,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("{url:?} {why}: write it like ws://127.0.0.1:8080");
        let uri: Uri = url.parse().map_err(|_| bad("is no URL"))?;
        let (is_secure, port) = match uri.scheme_str() {
            Some("ws") => (false, 80),
            Some("wss") => (true, 443),
            _ => return Err(bad("is no WebSocket URL")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| bad("names no host"))?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(port));
        let is_headcount = matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("" | "/"));
        Ok(Self { url: url.to_owned(), authority, is_secure, is_headcount })
    }
}

/// How many payload bytes a message has: `64`, or any number in `16-256`, each as likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

/// Larger messages would make the harness measure its own copying.
const MAX_MESSAGE_BYTES: u32 = 16 << 20;

impl FromStr for ByteRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no number of bytes: write it like 64 or 16-256, at most 16777216");
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        let min = min.parse().map_err(|_| bad())?;
        let max = max.parse().map_err(|_| bad())?;
        if min <= max && max <= MAX_MESSAGE_BYTES { Ok(Self { min, max }) } else { Err(bad()) }
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { write!(f, "{}", self.min) } else { write!(f, "{}-{}", self.min, self.max) }
    }
}

/// How sessions divide into scopes: weights, in the order of [`SessionScope::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ScopeShares(pub(crate) [u32; 4]);

impl FromStr for ScopeShares {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "browser=70,ios=10,designer=5";
        let bad = || format!("{text:?} is no division into scopes: write it like {FORM}");
        let share = |weight: &str| weight.parse().map_err(|_| bad());
        let shares = SessionScope::read_each(text, FORM, share)?.map(Option::unwrap_or_default);
        if shares.iter().all(|&share| share == 0) {
            return Err(bad());
        }
        Ok(Self(shares))
    }
}

impl ScopeShares {
    /// How many of so many sessions each scope gets, by largest remainder: the sum is exact, and no scope is a
    /// whole session off its share.
    pub(crate) fn divide(&self, sessions: u32) -> [u32; 4] {
        let total: u64 = self.0.iter().map(|&share| u64::from(share)).sum();
        let exact = |i: usize| u64::from(sessions) * u64::from(self.0[i]);
        let mut counts: [u32; 4] =
            std::array::from_fn(|i| u32::try_from(exact(i) / total).expect("a share of a u32"));
        let mut order = [0, 1, 2, 3];
        order.sort_by_key(|&i| std::cmp::Reverse(exact(i) % total));
        let left = sessions - counts.iter().sum::<u32>();
        for &i in order.iter().take(left as usize) {
            counts[i] += 1;
        }
        counts
    }
}

/// Addresses to connect from: `127.0.0.2`, `127.0.0.2-127.0.0.9`, or several of these with commas between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceAddresses(pub(crate) Vec<IpAddr>);

/// More would be a mistyped range.
const MAX_SOURCE_ADDRESSES: u128 = 65_536;

impl FromStr for SourceAddresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut addresses = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = address_range(first.trim(), last.trim()).ok_or_else(|| {
                format!("{part:?} is no range of addresses: write it like 127.0.0.2-127.0.0.9")
            })?;
            addresses.extend(range);
        }
        Ok(Self(addresses))
    }
}

fn address_range(first: &str, last: &str) -> Option<Vec<IpAddr>> {
    let (first, last): (IpAddr, IpAddr) = (first.parse().ok()?, last.parse().ok()?);
    let number = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    };
    let span = number(last).checked_sub(number(first))?;
    if first.is_ipv4() != last.is_ipv4() || span >= MAX_SOURCE_ADDRESSES {
        return None;
    }
    let address = |number: u128| match first {
        IpAddr::V4(_) => Ipv4Addr::from(u32::try_from(number).expect("between two IPv4 addresses")).into(),
        IpAddr::V6(_) => Ipv6Addr::from(number).into(),
    };
    Some((number(first)..=number(last)).map(address).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_path_is_a_headcount_server_and_any_other_is_left_as_it_is() {
        for (url, authority, is_headcount) in [
            ("ws://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("ws://plant/", "plant:80", true),
            ("wss://plant", "plant:443", true),
            ("wss://plant:9/chat", "plant:9", false),
            ("ws://[::1]:9/", "[::1]:9", true),
            ("ws://127.0.0.1:9/chat", "127.0.0.1:9", false),
            ("ws://127.0.0.1:9/?room=1", "127.0.0.1:9", false),
        ] {
            let target: Target = url.parse().unwrap();
            assert_eq!((target.authority.as_str(), target.is_headcount), (authority, is_headcount), "{url}");
            assert_eq!(target.is_secure, url.starts_with("wss:"), "{url}");
        }
        for (bad, why) in [
            ("http://plant", "no WebSocket URL"),
            ("plant:8080", "no WebSocket URL"),
            ("ws://", "no URL"),
            ("", "no URL"),
        ] {
            let error = bad.parse::<Target>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn bytes_are_one_number_or_a_range() {
        let read = |text: &str| text.parse::<ByteRange>().ok().map(|range| (range.min, range.max));
        assert_eq!(read("64"), Some((64, 64)));
        assert_eq!(read("0-16777216"), Some((0, 16 << 20)));
        for bad in ["", "-", "5-", "9-3", "64KiB", "16777217", "-1"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!("16-256".parse::<ByteRange>().unwrap().to_string(), "16-256");
        assert_eq!("5-5".parse::<ByteRange>().unwrap().to_string(), "5");
    }

    #[test]
    fn scopes_get_their_shares_to_the_session() {
        let divide = |text: &str, n| text.parse::<ScopeShares>().unwrap().divide(n);
        // Designer, browser, ios, android.
        assert_eq!(divide("browser=70,ios=10,android=15,designer=5", 100), [5, 70, 10, 15]);
        assert_eq!(divide("browser=70,ios=10,android=15,designer=5", 7), [0, 5, 1, 1]);
        assert_eq!(divide("browser=1,ios=1,android=1", 10), [0, 4, 3, 3]);
        assert_eq!(divide("Designer=3", 2), [2, 0, 0, 0]);
        assert_eq!(divide("browser=4294967295,ios=4294967295", u32::MAX).iter().sum::<u32>(), u32::MAX);
    }

    #[test]
    fn a_division_that_cannot_be_is_refused() {
        for (bad, why) in [
            ("", "write it like"),
            ("browser", "write it like"),
            ("browser=x", "write it like"),
            ("browser=0", "write it like"),
            ("desktop=1", "must be designer"),
            ("ios=1,ios=2", "names ios twice"),
        ] {
            let error = bad.parse::<ScopeShares>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn source_addresses_are_single_or_a_range_and_may_be_several() {
        let read = |text: &str| text.parse::<SourceAddresses>().ok().map(|addresses| addresses.0);
        let v4 = |last| IpAddr::from([127, 0, 0, last]);
        assert_eq!(read("127.0.0.2"), Some(vec![v4(2)]));
        assert_eq!(read("127.0.0.2-127.0.0.4, 127.0.0.9"), Some(vec![v4(2), v4(3), v4(4), v4(9)]));
        assert_eq!(read("::1-::3").unwrap().len(), 3);
        for bad in ["", "127.0.0.4-127.0.0.2", "127.0.0.1-::1", "10.0.0.0-11.0.0.0", "plant"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
