//! The real program.

use std::{io, net::SocketAddr, process::Command};

use super::{
    http::{Http, rows},
    process::{Place, Process},
    subject::{Subject, Tally, await_listening, free_address, user},
};

/// `headcount serve` with its defaults, but for the limit on one address: here all clients have the same.
pub struct Server {
    pub process: Process,
    pub clients: SocketAddr,
    pub admin: SocketAddr,
    /// Where those are listed who connect.
    list: &'static str,
}

impl Server {
    pub fn start(place: Place) -> io::Result<Self> {
        Self::start_with(place, &[])
    }

    /// With more arguments, on ports that are free now, and may be taken again after it.
    pub fn start_with(place: Place, arguments: &[&str]) -> io::Result<Self> {
        Self::start_at(place, [free_address(), free_address()], arguments)
    }

    pub fn start_at(place: Place, addresses: [SocketAddr; 2], arguments: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headcount"));
        command.args(["serve", "--max-sessions-per-address", "0"]).args(arguments);
        Self::start_by(place, command, addresses, LIST_ALL)
    }

    /// With so many sessions besides that have no sockets, of other projects.
    pub fn start_among(place: Place, sessions: usize) -> io::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headcount"));
        command.args(["bench-registry", "--serve", "--sessions", &sessions.to_string()]);
        let addresses = [free_address(), free_address()];
        Self::start_by(place, command, addresses, "/api/v1/session-info?projectFilter=plant")
    }

    fn start_by(
        place: Place,
        mut command: Command,
        [clients, admin]: [SocketAddr; 2],
        list: &'static str,
    ) -> io::Result<Self> {
        command.args(["--listen", &clients.to_string(), "--admin-listen", &admin.to_string()]);
        let mut process = Process::start(place, &command)?;
        await_listening(admin, &mut process)?;
        Ok(Self { process, clients, admin, list })
    }
}

/// The request for every row.
pub const LIST_ALL: &str = "/api/v1/session-info";
/// The request for the rows of one user.
pub const LIST_ONE: &str = "/api/v1/session-info?usernameFilter=billy";

/// The request target of the n-th client.
pub(super) fn target(n: usize) -> String {
    format!("/ws/plant?username={}&pageId=p{n}", user(n))
}

impl Subject for Server {
    fn process(&self) -> &Process {
        &self.process
    }

    fn clients(&self) -> SocketAddr {
        self.clients
    }

    fn admin(&self) -> SocketAddr {
        self.admin
    }

    fn target(&self, n: usize) -> String {
        target(n)
    }

    fn tally(&self) -> io::Result<Tally> {
        let mut http = Http::connect(self.admin)?;
        let rows = rows(http.get(self.list)?)?;
        Ok(Tally {
            connections: rows.len() as u64,
            payload: Some(rows.iter().map(|row| row.total_bytes_sent).sum()),
            ..Tally::default()
        })
    }
}
