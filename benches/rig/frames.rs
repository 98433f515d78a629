//! What clients send, made before the clock starts.

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Whole messages as they go over the wire, and what a server has to count for them.
#[derive(Clone, Debug)]
pub struct Block {
    pub wire: Vec<u8>,
    pub messages: u64,
    /// Payload bytes, without what frames them.
    pub payload: u64,
}

impl Block {
    /// One message of so many bytes, as the server under test wants it framed.
    pub fn one(wire: Vec<u8>, payload: usize) -> Self {
        Self { wire, messages: 1, payload: payload as u64 }
    }

    /// The same message over and over, about 64 KiB of it: one write fills what one read takes.
    pub fn filled(&self) -> Self {
        self.times((64 * 1024 / self.wire.len()).max(1))
    }

    /// So many of it, for one write.
    pub fn times(&self, times: usize) -> Self {
        Self {
            wire: self.wire.repeat(times),
            messages: self.messages * times as u64,
            payload: self.payload * times as u64,
        }
    }
}

/// A masked frame with all of a message in it.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut wire = vec![0x80 | opcode];
    match payload.len() {
        n @ 0..=125 => wire.push(0x80 | n as u8),
        n @ 126..=65_535 => {
            wire.push(0x80 | 126);
            wire.extend((n as u16).to_be_bytes());
        }
        n => {
            wire.push(0x80 | 127);
            wire.extend((n as u64).to_be_bytes());
        }
    }
    wire.extend(MASK);
    wire.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    wire
}
