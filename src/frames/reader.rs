use std::ops::Range;

use tokio_tungstenite::tungstenite::{
    Error,
    error::{CapacityError, ProtocolError},
    protocol::{
        CloseFrame,
        frame::{
            Utf8Bytes,
            coding::{CloseCode, Control, Data, OpCode},
        },
    },
};

use super::{
    header::Header,
    mask::{turned, unmask},
    utf8::{Utf8, is_utf8},
};

/// What the reader goes by. The same for every read of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The largest message, in payload bytes. A larger one is refused as soon as a header announces it. Control frames
    /// have a limit of their own (RFC 6455, 5.5).
    pub max_message_bytes: usize,
    /// The messages that are wanted whole.
    pub keep: Keep,
}

/// The messages that are handed over whole, beside their lengths.
#[derive(Clone, Copy, Debug)]
pub enum Keep {
    /// None.
    Nothing,
    /// Text messages that begin with exactly this.
    TextBeginning(&'static str),
    /// All.
    Everything,
}

/// What a client has sent, whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A message, reassembled if it came in fragments.
    Message {
        /// Text, which is then UTF-8, or binary.
        is_text: bool,
        /// Its payload, in bytes.
        bytes: usize,
        /// The payload itself, unmasked, if [`Rules::keep`] wants it.
        kept: Option<&'a [u8]>,
    },
    /// A ping with its payload, which the pong to it must have too.
    Ping(&'a [u8]),
    /// A pong with its payload.
    Pong(&'a [u8]),
    /// The close frame: its code, which is one that may be sent, and its reason. Nothing comes after it.
    Close(Option<CloseFrame>),
}

/// What is between two reads of a connection: where the bytes that came last have ended.
#[derive(Debug, Default)]
pub struct Reader {
    /// Of the current frame's payload, what has not come yet.
    left: usize,
    /// Payload of the current message, up to the end of the current frame.
    message_bytes: usize,
    /// As it goes on with the next byte.
    mask: [u8; 4],
    utf8: Utf8,
    frame: Frame,
    is_final: bool,
    message: Message,
    wish: Wish,
    /// The peer has closed, or broken a rule: what comes now is not for us.
    is_over: bool,
    carry: Option<Box<Carry>>,
}

/// The frame whose payload comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Frame {
    #[default]
    None,
    Data,
    Ping,
    Pong,
    Close,
}

/// The message whose frames come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Message {
    #[default]
    None,
    Text,
    Binary,
}

/// Whether the current message is wanted whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wish {
    #[default]
    No,
    /// What has come of it is how a wanted one begins.
    Perhaps,
    Yes,
}

/// What came in an earlier read and is wanted whole. Dropped as soon as it is.
#[derive(Debug, Default)]
struct Carry {
    /// A part of a header, or of the payload of a control frame.
    frame: Vec<u8>,
    /// A part of a message.
    message: Vec<u8>,
}

impl Reader {
    /// Goes through what the connection's last read brought, which may begin and end anywhere.
    ///
    /// # Errors
    ///
    /// The events end with the first violation: [`Error::Protocol`] is to be answered with 1002, [`Error::Utf8`] with
    /// 1007, [`Error::Capacity`] with 1009 (RFC 6455, 7.4.1). No other error occurs, and no event comes after it, of
    /// this read or of later ones; nor after a close frame.
    #[inline]
    pub fn read<'a>(&'a mut self, bytes: &'a mut [u8], rules: Rules) -> Events<'a> {
        Events { reader: self, bytes, at: 0, rules, whole: Vec::new() }
    }

    #[inline]
    fn is_between_messages(&self) -> bool {
        self.frame == Frame::None && self.message == Message::None && self.carry.is_none() && !self.is_over
    }

    /// Checks a header, in the order that tungstenite does, and makes its frame the current one. The limit of messages is
    /// none of control frames, unlike there: a small one would forbid the pongs to our own pings.
    #[inline]
    fn begin(&mut self, header: Header, rules: Rules) -> Result<(), Error> {
        let Header { is_final, has_reserved_bits, opcode, mask, payload_bytes } = header;
        let payload_bytes = match opcode {
            OpCode::Data(Data::Reserved(code)) | OpCode::Control(Control::Reserved(code)) => {
                return Err(ProtocolError::InvalidOpcode(code).into());
            }
            OpCode::Data(_) => within(payload_bytes, 0, rules.max_message_bytes)?,
            OpCode::Control(_) => usize::try_from(payload_bytes).unwrap_or(usize::MAX),
        };
        let Some(mask) = mask else { return Err(ProtocolError::UnmaskedFrameFromClient.into()) };
        if has_reserved_bits {
            return Err(ProtocolError::NonZeroReservedBits.into());
        }
        self.frame = match opcode {
            OpCode::Data(data) => {
                self.begin_data(data, payload_bytes, rules)?;
                Frame::Data
            }
            OpCode::Control(_) if !is_final => return Err(ProtocolError::FragmentedControlFrame.into()),
            OpCode::Control(_) if payload_bytes > 125 => {
                return Err(ProtocolError::ControlFrameTooBig.into());
            }
            OpCode::Control(Control::Ping) => Frame::Ping,
            OpCode::Control(Control::Pong) => Frame::Pong,
            OpCode::Control(_) => Frame::Close,
        };
        self.left = payload_bytes;
        self.mask = mask;
        // That of a control frame must be, so it tells nothing of the message around it.
        self.is_final = is_final;
        Ok(())
    }

    #[inline]
    fn begin_data(&mut self, data: Data, payload_bytes: usize, rules: Rules) -> Result<(), Error> {
        match (data, self.message) {
            (Data::Continue, Message::None) => return Err(ProtocolError::UnexpectedContinueFrame.into()),
            (Data::Continue, _) => {}
            (data, Message::None) => {
                let is_text = data == Data::Text;
                self.message = if is_text { Message::Text } else { Message::Binary };
                self.wish = match rules.keep {
                    Keep::Everything => Wish::Yes,
                    Keep::TextBeginning(_) if is_text => Wish::Perhaps,
                    _ => Wish::No,
                };
            }
            (data, _) => return Err(ProtocolError::ExpectedFragment(data).into()),
        }
        self.message_bytes = within(payload_bytes as u64, self.message_bytes, rules.max_message_bytes)?;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn carries(&self) -> bool {
        self.carry.is_some()
    }

    fn carry(&mut self) -> &mut Carry {
        self.carry.get_or_insert_default()
    }

    /// Takes a part of the carry out, and frees the carry if nothing else is in it.
    fn take(&mut self, part: impl FnOnce(&mut Carry) -> &mut Vec<u8>) -> Vec<u8> {
        let Some(carry) = &mut self.carry else { return Vec::new() };
        let taken = std::mem::take(part(carry));
        if carry.frame.is_empty() && carry.message.is_empty() {
            self.carry = None;
        }
        taken
    }
}

/// Whether a payload begins like this. Much of what is sent is JSON and begins alike, so the last byte is looked at first.
#[inline]
fn begins(payload: &[u8], beginning: &[u8]) -> bool {
    let last = beginning.len().wrapping_sub(1);
    payload.get(last) == beginning.get(last) && payload.starts_with(beginning)
}

/// The sum, if it is within the limit.
#[inline]
fn within(more: u64, bytes: usize, max_size: usize) -> Result<usize, Error> {
    let size = usize::try_from(more).unwrap_or(usize::MAX).saturating_add(bytes);
    if size > max_size {
        return Err(CapacityError::MessageTooLong { size, max_size }.into());
    }
    Ok(size)
}

/// What one read brought. Drop it only after [`next`](Self::next) has answered `None`, or an error.
#[derive(Debug)]
pub struct Events<'a> {
    reader: &'a mut Reader,
    bytes: &'a mut [u8],
    at: usize,
    rules: Rules,
    /// What the last event hands over, if a part of it came in an earlier read.
    whole: Vec<u8>,
}

/// An event whose bytes are not borrowed yet.
enum Found {
    Message { is_text: bool, bytes: usize, kept: Option<Place> },
    Ping(Place),
    Pong(Place),
    Close(Option<CloseFrame>),
}

/// What [`Events::at_once`] finds: numbers alone, so that the common case moves nothing about.
enum AtOnce {
    Message {
        is_text: bool,
        payload: Range<usize>,
        is_kept: bool,
    },
    NoUtf8,
    /// Something else, which is looked at with care.
    Other,
}

/// Where wanted bytes are.
enum Place {
    /// Among those of this read.
    Here(Range<usize>),
    /// In [`Events::whole`].
    Whole,
}

impl Events<'_> {
    /// The next event of this read; `None` at its end. See [`Reader::read`] for the errors.
    #[expect(
        clippy::should_implement_trait,
        reason = "an event is borrowed from this: it lends, it does not iterate"
    )]
    #[inline]
    pub fn next(&mut self) -> Option<Result<Event<'_>, Error>> {
        match self.at_once() {
            AtOnce::Message { is_text, payload, is_kept } => {
                let bytes = payload.len();
                let kept = is_kept.then(|| &self.bytes[payload]);
                Some(Ok(Event::Message { is_text, bytes, kept }))
            }
            AtOnce::NoUtf8 => Some(Err(self.fail(no_utf8()))),
            AtOnce::Other => self.next_of_any_kind(),
        }
    }

    #[inline(never)]
    fn next_of_any_kind(&mut self) -> Option<Result<Event<'_>, Error>> {
        let found = match self.find() {
            Ok(found) => found?,
            Err(error) => return Some(Err(self.fail(error))),
        };
        Some(Ok(match found {
            Found::Message { is_text, bytes, kept } => {
                Event::Message { is_text, bytes, kept: kept.map(|place| self.at_place(place)) }
            }
            Found::Ping(place) => Event::Ping(self.at_place(place)),
            Found::Pong(place) => Event::Pong(self.at_place(place)),
            Found::Close(frame) => Event::Close(frame),
        }))
    }

    #[cold]
    fn fail(&mut self, error: Error) -> Error {
        self.reader.is_over = true;
        self.reader.carry = None;
        error
    }

    #[inline]
    fn at_place(&self, place: Place) -> &[u8] {
        match place {
            Place::Here(range) => &self.bytes[range],
            Place::Whole => &self.whole,
        }
    }

    /// The common case, ahead of the rest: a message in one frame that is here to its end.
    #[inline]
    fn at_once(&mut self) -> AtOnce {
        if !self.reader.is_between_messages() {
            return AtOnce::Other;
        }
        let rest = &mut self.bytes[self.at..];
        let (first, header_bytes, bytes) = match *rest {
            [first, second @ 0x80..=0xfd, ..] => (first, 6, usize::from(second & 0x7f)),
            [first, 0xfe, high, low, ..] => (first, 8, usize::from(u16::from_be_bytes([high, low]))),
            _ => return AtOnce::Other,
        };
        let is_text = first == 0x81;
        if !(is_text || first == 0x82) || bytes > self.rules.max_message_bytes {
            return AtOnce::Other;
        }
        let Some((mask, payload)) = rest
            .get_mut(header_bytes - 4..header_bytes + bytes)
            .and_then(|frame| frame.split_first_chunk_mut())
        else {
            return AtOnce::Other;
        };
        let is_ascii = (is_text || matches!(self.rules.keep, Keep::Everything)) && unmask(payload, *mask);
        if is_text && !is_ascii && !is_utf8(payload) {
            return AtOnce::NoUtf8;
        }
        let is_kept = match self.rules.keep {
            Keep::Nothing => false,
            Keep::TextBeginning(beginning) => is_text && begins(payload, beginning.as_bytes()),
            Keep::Everything => true,
        };
        let begin = self.at + header_bytes;
        self.at = begin + bytes;
        AtOnce::Message { is_text, payload: begin..self.at, is_kept }
    }

    fn find(&mut self) -> Result<Option<Found>, Error> {
        while !self.reader.is_over && self.at < self.bytes.len() {
            if self.reader.frame == Frame::None && !self.header()? {
                break;
            }
            if self.at == self.bytes.len() && self.reader.left > 0 {
                break;
            }
            let here = self.reader.left.min(self.bytes.len() - self.at);
            let range = self.at..self.at + here;
            self.at += here;
            self.reader.left -= here;
            let found =
                if self.reader.frame == Frame::Data { self.data(range)? } else { self.control(range)? };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Begins the next frame; `false` if its header is not all there.
    #[inline]
    fn header(&mut self) -> Result<bool, Error> {
        if self.reader.carry.as_ref().is_some_and(|carry| !carry.frame.is_empty()) {
            return self.rest_of_header();
        }
        if let Some((header, bytes)) = Header::parse(&self.bytes[self.at..]) {
            self.at += bytes;
            self.reader.begin(header, self.rules)?;
            Ok(true)
        } else {
            self.reader.carry().frame.extend_from_slice(&self.bytes[self.at..]);
            self.at = self.bytes.len();
            Ok(false)
        }
    }

    #[cold]
    fn rest_of_header(&mut self) -> Result<bool, Error> {
        let part = &mut self.reader.carry().frame;
        let before = part.len();
        let more = (Header::MAX_BYTES - before).min(self.bytes.len() - self.at);
        part.extend_from_slice(&self.bytes[self.at..self.at + more]);
        let Some((header, bytes)) = Header::parse(part) else {
            self.at += more;
            return Ok(false);
        };
        self.at += bytes - before;
        self.reader.take(|carry| &mut carry.frame);
        self.reader.begin(header, self.rules)?;
        Ok(true)
    }

    /// A control frame is wanted whole; it has 125 bytes at the most.
    fn control(&mut self, range: Range<usize>) -> Result<Option<Found>, Error> {
        let reader = &mut *self.reader;
        let payload = &mut self.bytes[range.clone()];
        unmask(payload, reader.mask);
        reader.mask = turned(reader.mask, payload.len());
        let was_begun = reader.carry.as_ref().is_some_and(|carry| !carry.frame.is_empty());
        let place = if reader.left > 0 || was_begun {
            reader.carry().frame.extend_from_slice(payload);
            if reader.left > 0 {
                return Ok(None);
            }
            self.whole = reader.take(|carry| &mut carry.frame);
            Place::Whole
        } else {
            Place::Here(range)
        };
        Ok(Some(match std::mem::take(&mut reader.frame) {
            Frame::Ping => Found::Ping(place),
            Frame::Pong => Found::Pong(place),
            _ => {
                let frame = close_frame(self.at_place(place))?;
                self.reader.is_over = true;
                self.reader.carry = None;
                Found::Close(frame)
            }
        }))
    }

    /// A part of a message is counted; what must be looked at is unmasked for that.
    #[inline]
    fn data(&mut self, range: Range<usize>) -> Result<Option<Found>, Error> {
        let reader = &mut *self.reader;
        let is_text = reader.message == Message::Text;
        let payload = &mut self.bytes[range.clone()];
        if is_text || reader.wish != Wish::No {
            unmask(payload, reader.mask);
        }
        if is_text && !reader.utf8.goes_on(payload) {
            return Err(no_utf8());
        }
        let is_whole = reader.left == 0 && reader.is_final;
        if is_whole && !reader.utf8.is_whole() {
            return Err(no_utf8());
        }
        let kept = if self.reader.wish == Wish::No { None } else { self.keep(range.clone(), is_whole) };
        let reader = &mut *self.reader;
        if reader.left > 0 {
            reader.mask = turned(reader.mask, range.len());
            return Ok(None);
        }
        reader.frame = Frame::None;
        if !is_whole {
            return Ok(None);
        }
        reader.message = Message::None;
        Ok(Some(Found::Message { is_text, bytes: std::mem::take(&mut reader.message_bytes), kept }))
    }

    /// Decides whether the message is wanted, and keeps this part of it if it is and will not end here.
    fn keep(&mut self, range: Range<usize>, is_whole: bool) -> Option<Place> {
        let reader = &mut *self.reader;
        let payload = &self.bytes[range.clone()];
        if let (Wish::Perhaps, Keep::TextBeginning(beginning)) = (reader.wish, self.rules.keep) {
            let before = reader.message_bytes - reader.left - payload.len();
            let (came, to_come) = beginning.as_bytes().split_at(before);
            if !payload.starts_with(to_come) {
                // Too short to tell, as yet, if it goes on like the beginning.
                reader.wish = if to_come.starts_with(payload) { Wish::Perhaps } else { Wish::No };
                return None;
            }
            reader.wish = Wish::Yes;
            if before > 0 {
                reader.carry().message.extend_from_slice(came);
            }
        }
        let was_begun = reader.carry.as_ref().is_some_and(|carry| !carry.message.is_empty());
        if is_whole && !was_begun {
            return Some(Place::Here(range));
        }
        if !payload.is_empty() {
            reader.carry().message.extend_from_slice(payload);
        }
        if !is_whole {
            return None;
        }
        self.whole = reader.take(|carry| &mut carry.message);
        Some(Place::Whole)
    }
}

#[cold]
fn no_utf8() -> Error {
    Error::Utf8("text is not valid UTF-8".to_owned())
}

/// Reads a close frame's payload (RFC 6455, 5.5.1).
fn close_frame(payload: &[u8]) -> Result<Option<CloseFrame>, Error> {
    let [high, low, reason @ ..] = payload else {
        return if payload.is_empty() { Ok(None) } else { Err(ProtocolError::InvalidCloseSequence.into()) };
    };
    let reason = str::from_utf8(reason).map_err(|_| no_utf8())?;
    let code = CloseCode::from(u16::from_be_bytes([*high, *low]));
    if !code.is_allowed() {
        return Err(ProtocolError::InvalidCloseSequence.into());
    }
    Ok(Some(CloseFrame { code, reason: Utf8Bytes::from(reason) }))
}
