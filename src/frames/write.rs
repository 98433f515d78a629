use tokio_tungstenite::tungstenite::protocol::frame::{FrameHeader, coding::OpCode};

/// Appends a whole frame as a server sends it: in one piece, and not masked (RFC 6455, 5.1).
pub fn put(frames: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    header.format(payload.len() as u64, frames).expect("a vector takes everything");
    frames.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data};

    use super::*;

    #[test]
    fn frames_are_the_bytes_of_the_rfc() {
        let frame = |opcode, payload: &[u8]| {
            let mut bytes = Vec::new();
            put(&mut bytes, opcode, payload);
            bytes
        };
        assert_eq!(frame(OpCode::Control(Control::Ping), b""), [0x89, 0]);
        assert_eq!(frame(OpCode::Control(Control::Pong), b"Hello"), b"\x8a\x05Hello");
        assert_eq!(frame(OpCode::Data(Data::Text), b"Hello"), b"\x81\x05Hello");
        assert_eq!(frame(OpCode::Data(Data::Binary), &[7; 256])[..5], [0x82, 126, 1, 0, 7]);
        assert_eq!(
            frame(OpCode::Data(Data::Binary), &[7; 65_536])[..11],
            [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0, 7]
        );
    }
}
