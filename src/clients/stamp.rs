use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

/// What a ping carries and its pong brings back: when the ping was sent, and a mark that only this server can make. So
/// no connection has to remember its last ping, and no client can seem nearer than it is.
#[derive(Debug)]
pub(super) struct Stamps {
    /// The plane's clock is too coarse for this.
    started: Instant,
    marks: RandomState,
}

/// The bytes of a moment, and as many of its mark.
const HALF: usize = 8;

impl Stamps {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), marks: RandomState::new() }
    }

    /// The payload of a ping that is sent now.
    pub(super) fn now(&self) -> [u8; 2 * HALF] {
        self.stamp(self.micros())
    }

    /// How long ago the ping was sent that was answered with this payload; `None` if it is no stamp of ours.
    pub(super) fn age(&self, payload: &[u8]) -> Option<Duration> {
        let (sent, _) = payload.split_first_chunk()?;
        let sent_us = u64::from_be_bytes(*sent);
        (payload == self.stamp(sent_us)).then(|| Duration::from_micros(self.micros().saturating_sub(sent_us)))
    }

    fn stamp(&self, sent_us: u64) -> [u8; 2 * HALF] {
        let mut stamp = [0; 2 * HALF];
        stamp[..HALF].copy_from_slice(&sent_us.to_be_bytes());
        stamp[HALF..].copy_from_slice(&self.marks.hash_one(sent_us).to_be_bytes());
        stamp
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_tells_its_age_and_cannot_be_made_by_others() {
        let stamps = Stamps::new();
        let sent = stamps.now();
        std::thread::sleep(Duration::from_millis(2));
        let age = stamps.age(&sent).unwrap();
        assert!(age >= Duration::from_millis(2) && age < Duration::from_secs(60), "{age:?}");
        let mut later = sent;
        later[HALF - 1] ^= 1;
        for wrong in [&later[..], &sent[..HALF], &[&sent[..], b"x"].concat(), b"", &Stamps::new().now()] {
            assert_eq!(stamps.age(wrong), None, "{wrong:?}");
        }
    }
}
