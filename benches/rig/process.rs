//! A server as a child process, on a core of its own, and what it costs.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs, io,
    os::unix::process::CommandExt,
    process::{Child, ChildStdout, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, Signal, kill_process, set_parent_process_death_signal},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

const RUN_ON: &str = "--run-on";

/// Where a child process may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the first core alone: a server, so that its runtime has one worker and the generator the rest.
    FirstCore,
    /// On the second core alone, where the generator is.
    SecondCore,
    /// Wherever the system likes.
    Anywhere,
}

/// The cores that the bench was given.
fn cores() -> &'static [usize] {
    static CORES: OnceLock<Vec<usize>> = OnceLock::new();
    CORES.get_or_init(|| {
        let allowed = sched_getaffinity(None).expect("this thread's cores");
        (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect()
    })
}

fn bind_to(cores: impl IntoIterator<Item = usize>) {
    let mut set = CpuSet::new();
    cores.into_iter().for_each(|core| set.set(core));
    sched_setaffinity(None, &set).expect("cores of this machine");
}

/// Puts this thread, and those that it starts from now on, on the second core. `false` if there is but one.
pub fn become_generator() -> bool {
    let second = cores().get(1);
    second.inspect(|core| bind_to([**core])).is_some()
}

/// What each `main` of a bench calls first: where this process was started only to become a server, it does.
///
/// A bench starts its servers through itself, so that they are on their core from their first instruction, and
/// end when the bench ends, however that comes.
pub fn become_server_if_asked() {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != RUN_ON) {
        return;
    }
    let cores = arguments.next().and_then(|cores| cores.into_string().ok()).unwrap_or_default();
    bind_to(cores.split(',').filter_map(|core| core.parse().ok()));
    set_parent_process_death_signal(Some(Signal::KILL)).expect("the server ends with the bench");
    let program = arguments.next().expect("a program");
    let error = Command::new(&program).args(arguments).exec();
    panic!("{}: {error}", program.display());
}

/// A child process; it ends when this is dropped.
pub struct Process {
    child: Child,
}

/// Processor time of each thread so far, in nanoseconds.
#[derive(Debug)]
pub struct Cpu(BTreeMap<OsString, u64>);

impl Process {
    pub fn start(place: Place, command: &Command) -> io::Result<Self> {
        let cores = match place {
            Place::FirstCore if cores().len() > 1 => &cores()[..1],
            Place::SecondCore if cores().len() > 1 => &cores()[1..2],
            _ => cores(),
        };
        let cores: Vec<_> = cores.iter().map(ToString::to_string).collect();
        let child = Command::new(env::current_exe()?)
            .args([RUN_ON, &cores.join(",")])
            .arg(command.get_program())
            .args(command.get_args())
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child })
    }

    /// What it says on stdout.
    pub fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("taken once")
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Lets it stand still, so that what comes for it has to wait, until [`go_on`](Self::go_on).
    pub fn stand_still(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child of this process");
    }

    /// Whether it runs still.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Processor time, exact to the last time that each thread went to sleep.
    pub fn cpu(&self) -> Cpu {
        let tasks = fs::read_dir(self.path("task")).into_iter().flatten().flatten();
        let time = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
            Some((task.file_name(), first_number(&stat)?))
        };
        Cpu(tasks.filter_map(time).collect())
    }

    /// Waits until the server has no more to do, for as long as that takes within reason; answers since when.
    pub fn settle(&self) -> Instant {
        const BUSY_NS: u64 = 500_000; // a twentieth: 15,000 idle sessions and their heartbeats take less
        self.await_quiet(3, Duration::from_millis(10), BUSY_NS)
    }

    /// Waits until the server has done what waited for it: until it does nothing for 3 ms.
    pub fn catch_up(&self) {
        self.await_quiet(1, Duration::from_millis(3), 1);
    }

    /// Waits until it was less busy than this in so many looks, one after the other; answers since when.
    fn await_quiet(&self, looks: usize, look: Duration, busy_ns: u64) -> Instant {
        let until = Instant::now() + Duration::from_secs(20);
        let (mut quiet, mut since) = (0, Instant::now());
        while quiet < looks && Instant::now() < until {
            let before = self.cpu();
            thread::sleep(look);
            quiet += 1;
            if self.cpu().since(&before) >= busy_ns {
                (quiet, since) = (0, Instant::now());
            }
        }
        since
    }

    /// Resident memory in bytes, counted page by page (`VmRSS` may be a few dozen pages late).
    pub fn resident(&self) -> u64 {
        self.field("smaps_rollup", "Rss:") * 1024
    }

    /// How much memory it has touched first so far, in bytes: what it had given back and touches anew counts again, and
    /// what it never gives back as well, so between two looks it has not grown by more. `VmHWM` is no use for
    /// little: the kernel counts it to within 64 pages a core.
    pub fn touched(&self) -> u64 {
        const MINOR_FAULTS: usize = 7; // after the name and the state: proc_pid_stat(5) has them as number 10
        let stat = fs::read_to_string(self.path("stat")).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let faults =
            after_name.split_whitespace().nth(MINOR_FAULTS).and_then(|faults| faults.parse::<u64>().ok());
        faults.unwrap_or(0) * rustix::param::page_size() as u64
    }

    /// The most that was ever resident, in bytes.
    pub fn peak(&self) -> u64 {
        self.field("status", "VmHWM:") * 1024
    }

    fn field(&self, file: &str, name: &str) -> u64 {
        let text = fs::read_to_string(self.path(file)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(first_number).unwrap_or(0)
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Cpu {
    /// Nanoseconds used since then by the threads that live still.
    pub fn since(&self, before: &Self) -> u64 {
        let used =
            |(thread, ns): (&OsString, &u64)| ns.saturating_sub(before.0.get(thread).copied().unwrap_or(0));
        self.0.iter().map(used).sum()
    }
}

/// Processor time of this thread so far, in nanoseconds.
pub fn own_cpu_ns() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    first_number(&stat).unwrap_or(0)
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}
