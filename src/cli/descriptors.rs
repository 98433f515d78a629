//! A session is a descriptor: how many there may be, and room for them.

use std::io;

use rustix::{
    io::fcntl_dupfd_cloexec,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// Takes as many descriptors as the system will give; answers how many that is.
pub(super) fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Lets the system's table of our descriptors grow before there are threads. Afterwards each doubling, at 256
/// sessions, at 512 and so on, would stop all of them for some 10 ms (it waits for an RCU grace period).
pub(super) fn make_room(count: usize) {
    /// The table costs eight bytes a descriptor, and far more of them than this no machine serves smoothly.
    const MOST: usize = 1 << 20;
    // A descriptor of the highest number makes the table that large, and it never shrinks. If this fails the
    // program is only a little less smooth.
    let highest = i32::try_from(count.min(MOST)).unwrap_or(i32::MAX) - 1;
    drop(fcntl_dupfd_cloexec(io::stderr(), highest));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_raised_to_what_there_is_and_making_room_never_fails() {
        let limit = raise();
        assert!(limit >= 3);
        assert_eq!(raise(), limit);
        for count in [0, 1, 300, limit, usize::MAX] {
            make_room(count);
        }
    }
}
