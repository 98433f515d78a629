use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use tokio_tungstenite::tungstenite::{
    Error, Message, WebSocket,
    error::ProtocolError,
    protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::OpCode},
};

use super::*;

/// Small, so that streams often go beyond it.
const MAX_MESSAGE_BYTES: usize = 300;

const BEGINNING: &str = r#"{"headcount":"#;

/// What is told of a stream, in one shape for both readers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// Its payload as far as it was kept, and its length.
    Message(bool, usize, Option<Vec<u8>>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    /// With the close code that the peer is owed.
    Failed(u16),
}

fn code_of(error: &Error) -> u16 {
    match error {
        Error::Utf8(_) => 1007,
        Error::Capacity(_) => 1009,
        Error::Protocol(_) => 1002,
        error => panic!("{error}"),
    }
}

fn close(frame: Option<CloseFrame>) -> Option<(u16, String)> {
    frame.map(|CloseFrame { code, reason }| (code.into(), reason.to_string()))
}

/// Reads a stream in these pieces, whose lengths repeat.
fn ours(stream: &[u8], pieces: &[usize], keep: Keep) -> Vec<Seen> {
    ours_by(Rules { max_message_bytes: MAX_MESSAGE_BYTES, keep }, stream, pieces)
}

fn ours_by(rules: Rules, stream: &[u8], pieces: &[usize]) -> Vec<Seen> {
    let mut reader = Reader::default();
    let mut seen = Vec::new();
    let mut rest = stream;
    for &size in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(size.min(rest.len()));
        let mut piece = piece.to_vec();
        let mut events = reader.read(&mut piece, rules);
        while let Some(event) = events.next() {
            seen.push(match event {
                Ok(Event::Message { is_text, bytes, kept }) => {
                    Seen::Message(is_text, bytes, kept.map(<[u8]>::to_vec))
                }
                Ok(Event::Ping(payload)) => Seen::Ping(payload.to_vec()),
                Ok(Event::Pong(payload)) => Seen::Pong(payload.to_vec()),
                Ok(Event::Close(frame)) => Seen::Close(close(frame)),
                Err(error) => Seen::Failed(code_of(&error)),
            });
        }
        rest = after;
    }
    seen
}

/// A peer that has sent all it will, and takes whatever it is sent.
struct Peer(Cursor<Vec<u8>>);

impl Read for Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// tungstenite holds control frames against the limit of messages too, and calls one beyond it a message that is too
/// long. So it gets one that is beyond the limit of control frames alone, which it answers as we do; nothing comes after.
fn with_smaller_control_frames(stream: &[u8]) -> Vec<u8> {
    let mut at = 0_usize;
    while let Some((header, bytes)) = stream.get(at..).and_then(header::Header::parse) {
        let payload_bytes = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX);
        if matches!(header.opcode, OpCode::Control(_)) && payload_bytes > MAX_MESSAGE_BYTES {
            return [&stream[..at], &frame(stream[at], [0; 4], &[0; 126])].concat();
        }
        at = at.saturating_add(bytes).saturating_add(payload_bytes);
    }
    stream.to_vec()
}

fn tungstenite_s(stream: &[u8]) -> Vec<Seen> {
    let stream = with_smaller_control_frames(stream);
    let limits = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let peer = Peer(Cursor::new(stream));
    let mut socket = WebSocket::from_raw_socket(peer, Role::Server, Some(limits));
    let mut seen = Vec::new();
    loop {
        seen.push(match socket.read() {
            Ok(Message::Text(text)) => Seen::Message(true, text.len(), Some(text.as_bytes().to_vec())),
            Ok(Message::Binary(bytes)) => Seen::Message(false, bytes.len(), Some(bytes.to_vec())),
            Ok(Message::Ping(payload)) => Seen::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Seen::Pong(payload.to_vec()),
            // A close code that may not be sent: the one difference in what is told.
            Ok(Message::Close(Some(frame))) if frame.reason == "Protocol violation" => Seen::Failed(1002),
            Ok(Message::Close(frame)) => Seen::Close(close(frame)),
            Ok(Message::Frame(_)) => unreachable!("never read"),
            Err(Error::ConnectionClosed | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return seen;
            }
            Err(error) => Seen::Failed(code_of(&error)),
        });
        if matches!(seen.last(), Some(Seen::Failed(_))) {
            return seen;
        }
    }
}

/// The two must agree, whatever is kept and however the stream is cut.
fn agree(stream: &[u8], pieces: &[usize]) -> Result<(), TestCaseError> {
    let all = ours(stream, pieces, Keep::Everything);
    let mut theirs = tungstenite_s(stream);
    if matches!(all.last(), Some(Seen::Failed(_))) && !matches!(theirs.last(), Some(Seen::Failed(_))) {
        // tungstenite judges a frame when it is there to its end: so it gets that end.
        let whole = [stream, &[0; MAX_MESSAGE_BYTES + 14]].concat();
        theirs = tungstenite_s(&whole);
    }
    prop_assert_eq!(&all, &theirs);
    let with = |keep: &dyn Fn(bool, &[u8]) -> bool| -> Vec<_> {
        let forget = |seen: &Seen| match seen.clone() {
            Seen::Message(is_text, bytes, Some(kept)) => {
                Seen::Message(is_text, bytes, keep(is_text, &kept).then_some(kept))
            }
            seen => seen,
        };
        all.iter().map(forget).collect()
    };
    prop_assert_eq!(ours(stream, pieces, Keep::Nothing), with(&|_, _| false));
    let beginning = with(&|is_text, kept| is_text && kept.starts_with(BEGINNING.as_bytes()));
    prop_assert_eq!(ours(stream, pieces, Keep::TextBeginning(BEGINNING)), beginning);
    Ok(())
}

fn frame(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let any_text = any::<String>().prop_map(String::into_bytes);
    let control = any::<String>().prop_map(|rest| format!("{BEGINNING}{rest}").into_bytes());
    let almost = (0..=BEGINNING.len()).prop_map(|bytes| BEGINNING.as_bytes()[..bytes].to_vec());
    prop_oneof![any_text, control, almost]
}

/// A message in fragments, with control frames between them.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        3 => text().prop_map(|text| (1_u8, text)),
        1 => proptest::collection::vec(any::<u8>(), 0..MAX_MESSAGE_BYTES + 20).prop_map(|bytes| (2, bytes)),
    ];
    let cuts =
        proptest::collection::vec((any::<prop::sample::Index>(), proptest::option::of(control())), 0..4);
    (payload, cuts, any::<[u8; 4]>()).prop_map(|((opcode, payload), mut cuts, mask)| {
        cuts.sort_by_key(|(at, _)| at.index(payload.len() + 1));
        let mut bytes = Vec::new();
        let mut opcode = opcode;
        let mut begin = 0;
        for (at, between) in cuts {
            let end = at.index(payload.len() + 1);
            bytes.extend(frame(opcode, mask, &payload[begin..end]));
            bytes.extend(between.unwrap_or_default());
            (opcode, begin) = (0, end);
        }
        bytes.extend(frame(0x80 | opcode, mask, &payload[begin..]));
        bytes
    })
}

fn control() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![Just(0x89_u8), Just(0x8a)];
    let payload = proptest::collection::vec(any::<u8>(), 0..126);
    (opcode, any::<[u8; 4]>(), payload).prop_map(|(first, mask, payload)| frame(first, mask, &payload))
}

fn closing() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![any::<u16>(), 990_u16..1020];
    let reason = "[a-zé☃]{0,30}".prop_map(String::into_bytes);
    let payload = prop_oneof![
        8 => (code, reason).prop_map(|(code, reason)| [&code.to_be_bytes()[..], &reason].concat()),
        1 => proptest::collection::vec(any::<u8>(), 0..10),
    ];
    (payload, any::<[u8; 4]>()).prop_map(|(payload, mask)| frame(0x88, mask, &payload))
}

/// Frames that need not fit together: text cut within a character, a message within a message, a message without a
/// beginning.
fn disorder() -> impl Strategy<Value = Vec<u8>> {
    let first = proptest::sample::select(vec![0x00_u8, 0x01, 0x02, 0x80, 0x81, 0x82, 0x89]);
    let text = ("[aé☃😀]{0,6}", 0_usize..4).prop_map(|(text, cut)| {
        let mut bytes = text.into_bytes();
        bytes.truncate(bytes.len().saturating_sub(cut));
        bytes
    });
    let one = (first, any::<[u8; 4]>(), text).prop_map(|(first, mask, payload)| frame(first, mask, &payload));
    proptest::collection::vec(one, 1..6).prop_map(|frames| frames.concat())
}

fn valid() -> impl Strategy<Value = Vec<u8>> {
    let some = prop_oneof![3 => message(), 1 => control()];
    (proptest::collection::vec(some, 0..6), proptest::option::of(closing()))
        .prop_map(|(frames, end)| [frames.concat(), end.unwrap_or_default()].concat())
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![usize::MAX]), Just(vec![1]), proptest::collection::vec(1_usize..40, 1..6)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn it_agrees_with_tungstenite_on_what_clients_send((stream, pieces) in (valid(), pieces())) {
        agree(&stream, &pieces)?;
    }

    #[test]
    fn it_agrees_with_tungstenite_on_what_is_damaged(
        mut stream in valid(),
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        pieces in pieces(),
    ) {
        for (at, byte) in damages {
            if !stream.is_empty() {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
        }
        agree(&stream, &pieces)?;
    }

    #[test]
    fn it_agrees_with_tungstenite_on_frames_that_do_not_fit((stream, pieces) in (disorder(), pieces())) {
        agree(&stream, &pieces)?;
    }

    #[test]
    fn it_agrees_with_tungstenite_on_anything(
        // What begins like a frame gets farther.
        heads in proptest::collection::vec((0x80_u8..0x8b, 0x80_u8..=0xff, any::<[u8; 20]>()), 0..4),
        tail in proptest::collection::vec(any::<u8>(), 0..60),
        pieces in pieces(),
    ) {
        let mut stream: Vec<u8> = Vec::new();
        for (first, second, bytes) in heads {
            stream.extend([first, second]);
            stream.extend(bytes);
        }
        stream.extend(tail);
        agree(&stream, &pieces)?;
    }
}

#[test]
fn a_violation_is_known_as_soon_as_it_can_be() {
    let mask = [0; 4];
    for (what, begun, code) in [
        ("a length beyond the limit", &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 1, 45, 0, 0, 0, 0][..], 1009),
        (
            "a message that is too long with this frame",
            &[&frame(2, mask, &[0; 299])[..], &[0x80, 0x82, 0, 0, 0, 0]].concat(),
            1009,
        ),
        ("a ping beyond the limit of messages too", &[0x89, 0xfe, 1, 45, 0, 0, 0, 0], 1002),
        ("no mask", &[0x81, 5], 1002),
        ("a reserved bit", &[0xc1, 0x85, 0, 0, 0, 0], 1002),
        ("no UTF-8, and more to come", &[0x81, 0x85, 0, 0, 0, 0, b'a', 0xff], 1007),
    ] {
        assert_eq!(ours(begun, &[usize::MAX], Keep::Nothing), [Seen::Failed(code)], "{what}");
        assert_eq!(ours(begun, &[1], Keep::Nothing), [Seen::Failed(code)], "{what}, byte by byte");
    }
}

/// With less than the 16 bytes of a heartbeat, every client was closed for its first pong.
#[test]
fn the_limit_is_for_messages_and_control_frames_have_their_own() {
    let rules = Rules { max_message_bytes: 10, keep: Keep::Nothing };
    let mask = [1, 2, 3, 4];
    let (ping, pong) = (frame(0x89, mask, &[b'x'; 125]), frame(0x8a, mask, &[b'y'; 16]));
    let heard = [Seen::Ping(vec![b'x'; 125]), Seen::Pong(vec![b'y'; 16])];
    let ended = [&1000_u16.to_be_bytes()[..], b"the end of the shift"].concat();
    let begun = frame(0x02, mask, &[0; 6]);
    for (what, stream, expected) in [
        ("a ping and a pong", [&ping[..], &pong].concat(), heard.to_vec()),
        (
            "a close",
            frame(0x88, mask, &ended),
            vec![Seen::Close(Some((1000, "the end of the shift".into())))],
        ),
        ("a message", frame(0x82, mask, &[0; 10]), vec![Seen::Message(false, 10, None)]),
        (
            "a message around a ping and a pong",
            [&begun[..], &ping, &pong, &frame(0x80, mask, &[0; 4])].concat(),
            [&heard[..], &[Seen::Message(false, 10, None)]].concat(),
        ),
        ("a message of 11", frame(0x82, mask, &[0; 11]), vec![Seen::Failed(1009)]),
        (
            "a message of 6 and 5",
            [&begun[..], &frame(0x80, mask, &[0; 5])].concat(),
            vec![Seen::Failed(1009)],
        ),
        ("a ping of 126", frame(0x89, mask, &[0; 126]), vec![Seen::Failed(1002)]),
        ("a part of a pong", frame(0x0a, mask, &[0; 16]), vec![Seen::Failed(1002)]),
    ] {
        assert_eq!(ours_by(rules, &stream, &[usize::MAX]), expected, "{what}");
        assert_eq!(ours_by(rules, &stream, &[1]), expected, "{what}, byte by byte");
    }
}

#[test]
fn an_idle_connection_keeps_tens_of_bytes_and_nothing_on_the_heap() {
    assert!(size_of::<Reader>() <= 48, "{}", size_of::<Reader>());
    let rules = Rules { max_message_bytes: 1 << 20, keep: Keep::TextBeginning(BEGINNING) };
    let control = format!("{BEGINNING}{}", "x".repeat(300));
    let mask = [1, 2, 3, 4];
    for stream in [
        frame(0x81, mask, control.as_bytes()),
        frame(0x89, mask, b"a ping in pieces"),
        [frame(0x01, mask, control.as_bytes()), frame(0x80, mask, b"}")].concat(),
    ] {
        let mut reader = Reader::default();
        let mut carried = false;
        for byte in &stream {
            let mut byte = [*byte];
            let mut events = reader.read(&mut byte, rules);
            while let Some(event) = events.next() {
                event.unwrap();
            }
            carried |= reader.carries();
        }
        assert!(carried, "its parts were kept");
        assert!(!reader.carries(), "and dropped when they were whole");
    }
}

#[test]
fn a_message_that_nobody_wants_whole_is_never_kept() {
    let rules = Rules { max_message_bytes: 1 << 20, keep: Keep::TextBeginning(BEGINNING) };
    let mask = [1, 2, 3, 4];
    let long = [frame(0x01, mask, &[b'x'; 40_000]), frame(0x80, mask, &[b'y'; 30_000])].concat();
    let mut reader = Reader::default();
    let mut heard = Vec::new();
    for piece in long.chunks(1000) {
        let mut piece = piece.to_vec();
        let mut events = reader.read(&mut piece, rules);
        while let Some(event) = events.next() {
            heard.push(format!("{:?}", event.unwrap()));
        }
        assert!(!reader.carries());
    }
    assert_eq!(heard, ["Message { is_text: true, bytes: 70000, kept: None }"]);
}
