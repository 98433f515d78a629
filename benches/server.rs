//! The real server as a child process, and what it costs.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

/// A server on these addresses, without limits on one address; it ends with the bench.
pub struct Server {
    child: Child,
    pub clients: SocketAddr,
    pub admin: SocketAddr,
}

impl Server {
    /// On ports that are free now, and may be taken again after it.
    pub fn start() -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let clients = free().expect("a free port");
        Self::start_at(clients, free().expect("a free port"))
    }

    pub fn start_at(clients: SocketAddr, admin: SocketAddr) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_headcount"))
            .args(["serve", "--max-sessions-per-address", "0"])
            .args(["--listen", &clients.to_string(), "--admin-listen", &admin.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        Self { child, clients, admin }
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Processor time used so far, in milliseconds (`/proc` counts in hundredths of a second).
    pub fn cpu_ms(&self) -> u64 {
        let stat = self.proc("stat");
        // The name in parentheses may hold blanks; the fields after it are numbered from 3.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields[at - 3].parse::<u64>().expect("a number");
        (ticks(14) + ticks(15)) * 10
    }

    /// A line of `/proc/PID/status` in KiB, such as `VmRSS`.
    pub fn memory_kib(&self, name: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
