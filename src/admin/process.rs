//! What the system says of this process: where it says nothing, nothing is shown.

use std::{fs, time::Duration};

use rustix::{
    param::page_size,
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// The process at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    /// Memory that is really taken.
    pub(super) resident_bytes: Option<u64>,
    /// Descriptors that are open: since Linux 6.2 the system tells their number without listing them.
    pub(super) open_descriptors: Option<u64>,
    /// How many there may be.
    pub(super) max_descriptors: Option<u64>,
    /// Processor time, of all its threads.
    pub(super) processor_time: Duration,
}

impl Process {
    pub(super) fn now() -> Self {
        let open_descriptors = fs::metadata("/proc/self/fd").ok().map(|folder| folder.len());
        let processor_time = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            resident_bytes: fs::read_to_string("/proc/self/statm").ok().and_then(|pages| resident(&pages)),
            open_descriptors: open_descriptors.filter(|count| *count > 0),
            max_descriptors: getrlimit(Resource::Nofile).current,
            processor_time: processor_time.try_into().unwrap_or_default(),
        }
    }
}

/// The second number of `statm`, which counts pages.
fn resident(statm: &str) -> Option<u64> {
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_tells_of_this_process() {
        let process = Process::now();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 1 << 20), "{process:?}");
        assert!(process.processor_time > Duration::ZERO && process.max_descriptors.is_some());
        assert_eq!(resident("1 2 3 4 5 6 7\n"), Some(2 * page_size() as u64));
        assert_eq!((resident(""), resident("1 x")), (None, None));
    }
}
