//! A client of the query plane that does nothing but read: one kept connection, no parsing of what comes.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde::Deserialize;

/// A kept HTTP/1.1 connection.
pub struct Http {
    reader: BufReader<TcpStream>,
    host: SocketAddr,
    body: Vec<u8>,
}

impl Http {
    pub fn connect(host: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { reader: BufReader::with_capacity(64 * 1024, stream), host, body: Vec::new() })
    }

    /// The body of a 200; anything else is an error.
    pub fn get(&mut self, target: &str) -> io::Result<&[u8]> {
        self.ask(target, true)?;
        Ok(&self.body)
    }

    /// The same, read and thrown away: a list may be larger than it is wise to keep.
    pub fn skip(&mut self, target: &str) -> io::Result<()> {
        self.ask(target, false)
    }

    fn ask(&mut self, target: &str, is_kept: bool) -> io::Result<()> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.reader.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        if status.split(' ').nth(1) != Some("200") {
            return Err(io::Error::other(format!("GET {target}: {status}")));
        }
        self.body.clear();
        match self.framing()? {
            Some(length) => self.take(length, is_kept),
            None => {
                while self.chunk(is_kept)? {}
                Ok(())
            }
        }
    }

    /// Reads the header fields: how long the body is, or `None` if it comes in chunks.
    fn framing(&mut self) -> io::Result<Option<usize>> {
        let mut length = None;
        loop {
            let line = self.line()?.to_lowercase();
            match line.split_once(": ") {
                None if line.is_empty() => return Ok(length),
                Some(("content-length", value)) => length = value.parse().ok(),
                _ => {}
            }
        }
    }

    /// Reads one chunk; `false` if it was the last.
    fn chunk(&mut self, is_kept: bool) -> io::Result<bool> {
        let size = self.line()?;
        let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
        self.take(size, is_kept)?;
        self.line()?;
        Ok(size > 0)
    }

    fn take(&mut self, bytes: usize, is_kept: bool) -> io::Result<()> {
        let start = if is_kept { self.body.len() } else { 0 };
        self.body.resize(start + bytes, 0);
        self.reader.read_exact(&mut self.body[start..])
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

/// What the ledger needs of a row.
#[derive(Debug, Deserialize)]
pub struct Row {
    #[serde(rename = "totalBytesSent")]
    pub total_bytes_sent: u64,
}

/// The rows of an answer of `getSessionInfo`.
pub fn rows(body: &[u8]) -> io::Result<Vec<Row>> {
    serde_json::from_slice(body).map_err(io::Error::other)
}
