//! What reading frames costs: `cargo bench --bench frames`. Ours beside tungstenite, on the same bytes in the same run.
//!
//! `cargo bench --bench frames -- ours text 64 1000000` does one thing so many times and measures nothing, for
//! `valgrind --tool=callgrind`.

#![allow(missing_docs, unreachable_pub, clippy::print_stdout, reason = "a bench prints")]

use std::{
    hint::black_box,
    io::{self, Read, Write},
    time::Instant,
};

use headcount::frames::{Event, Keep, Reader, Rules};
use tokio_tungstenite::tungstenite::{
    WebSocket,
    protocol::{Role, WebSocketConfig},
};

const MAX_MESSAGE_BYTES: usize = 64 * 1024;
const RULES: Rules =
    Rules { max_message_bytes: MAX_MESSAGE_BYTES, keep: Keep::TextBeginning(r#"{"headcount":"#) };

/// As much as one read of a connection brings at the most.
const READ_BYTES: usize = 64 * 1024;
const ROUNDS: usize = 15;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [who, kind, bytes, messages] = &arguments[..] {
        let stream = Stream::new(kind == "text", bytes.parse().expect("a size"));
        let reads = messages.parse::<usize>().expect("a number") / stream.messages;
        let sum = if who == "ours" { ours(&stream, reads) } else { tungstenite_s(&stream, reads) };
        println!("{sum}");
        return;
    }
    println!("ns a message, medians of {ROUNDS} rounds; 64 KiB of messages a read");
    println!("{:24}{:>10}{:>14}{:>10}{:>12}", "", "copying", "frames", "x copy", "tungstenite");
    for (is_text, bytes) in [(true, 64), (true, 1024), (false, 64), (false, 1024)] {
        let stream = Stream::new(is_text, bytes);
        let reads = 4_000;
        let copying = median(&stream, reads, copying);
        let ours = median(&stream, reads, ours);
        let theirs = median(&stream, reads / 4, tungstenite_s);
        let name = format!("{} of {bytes} B", if is_text { "text" } else { "binary" });
        println!("{name:24}{copying:>10.1}{ours:>14.1}{:>10.1}{theirs:>12.1}", ours / copying);
    }
}

/// Masked frames, whole, back to back.
struct Stream {
    bytes: Vec<u8>,
    messages: usize,
    payload: usize,
}

impl Stream {
    fn new(is_text: bool, payload: usize) -> Self {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut frame = vec![if is_text { 0x81 } else { 0x82 }];
        if payload < 126 {
            frame.push(0x80 | u8::try_from(payload).expect("short"));
        } else {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload).expect("below 64 KiB").to_be_bytes());
        }
        frame.extend(mask);
        frame.extend((0..payload).map(|at| b"{\"v\":42} "[at % 9] ^ mask[at % 4]));
        let messages = READ_BYTES / frame.len();
        Self { bytes: frame.repeat(messages), messages, payload }
    }
}

fn median(stream: &Stream, reads: usize, read: fn(&Stream, usize) -> u64) -> f64 {
    let messages = (reads * stream.messages) as f64;
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(black_box(read(stream, reads)), (reads * stream.messages * stream.payload) as u64);
            begun.elapsed().as_nanos() as f64 / messages
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// What any reader pays: the bytes come from somewhere, as from a system call.
fn copying(stream: &Stream, reads: usize) -> u64 {
    let mut buffer = vec![0; READ_BYTES];
    for _ in 0..reads {
        buffer[..stream.bytes.len()].copy_from_slice(black_box(&stream.bytes));
        black_box(&mut buffer);
    }
    (reads * stream.messages * stream.payload) as u64
}

fn ours(stream: &Stream, reads: usize) -> u64 {
    let mut buffer = vec![0; READ_BYTES];
    let mut reader = Reader::default();
    let mut total = 0;
    for _ in 0..reads {
        let buffer = &mut buffer[..stream.bytes.len()];
        buffer.copy_from_slice(black_box(&stream.bytes));
        let mut events = reader.read(buffer, RULES);
        while let Some(event) = events.next() {
            if let Ok(Event::Message { bytes, .. }) = event {
                total += bytes as u64;
            }
        }
    }
    total
}

/// A peer that sends the same so many times.
struct Peer<'a> {
    stream: &'a [u8],
    at: usize,
    left: usize,
}

impl Read for Peer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.stream.len() && self.left > 1 {
            (self.at, self.left) = (0, self.left - 1);
        }
        let bytes = buffer.len().min(self.stream.len() - self.at);
        buffer[..bytes].copy_from_slice(&self.stream[self.at..self.at + bytes]);
        self.at += bytes;
        Ok(bytes)
    }
}

impl Write for Peer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tungstenite_s(stream: &Stream, reads: usize) -> u64 {
    let limits = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let peer = Peer { stream: black_box(&stream.bytes), at: 0, left: reads };
    let mut socket = WebSocket::from_raw_socket(peer, Role::Server, Some(limits));
    let mut total = 0;
    while let Ok(message) = socket.read() {
        total += message.len() as u64;
    }
    total
}
