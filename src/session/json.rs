//! Rows as JSON, byte for byte as `serde_json` writes a [`SessionInfo`](super::SessionInfo), some ten times as fast.

use super::{
    SessionScope, Who, network_of,
    tally::{Counts, Tally},
};

/// Whether JSON has the text as it is, between quotes.
pub(super) fn is_plain(text: &str) -> bool {
    // To the end, without a way out of the loop: the compiler makes vector instructions of that.
    !text.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\'))
}

/// Writes a text between quotes.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str, is_plain: bool) {
    if is_plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("a Vec takes any text");
    }
}

/// Writes a list of texts.
pub(super) fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    /// Enough for a page or two.
    const USUAL: usize = 32;
    let mut out = Vec::with_capacity(USUAL);
    out.push(b'[');
    for text in texts {
        if out.len() > 1 {
            out.push(b',');
        }
        write_text(&mut out, text, is_plain(text));
    }
    out.push(b']');
    String::from_utf8(out).expect("texts are text")
}

/// The part of a row that changes with every message and every moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) uptime_ms: u64,
    pub(super) silent_ms: u64,
    pub(super) counts: Counts,
    pub(super) authorized: bool,
    /// Who reads it may not see who somebody is.
    pub(super) is_masked: bool,
}

impl Moment {
    /// The moment `now_ms` of a session that began then, with these of its counts.
    pub(super) fn new(tally: &Tally, counts: Counts, who: &Who, times: (u64, u64), is_masked: bool) -> Self {
        let (began_ms, now_ms) = times;
        Self {
            // A session may begin, or be heard, after the snapshot took its `now`.
            uptime_ms: now_ms.saturating_sub(began_ms),
            silent_ms: now_ms.saturating_sub(tally.last_comm_ms()),
            counts,
            authorized: tally.is_authorized(who, now_ms),
            is_masked,
        }
    }
}

/// Writes one row of `getSessionInfo`; `page_ids` is JSON already.
pub(super) fn write_row(out: &mut Vec<u8>, who: &Who, moment: &Moment, pages: (u32, &str)) {
    /// Room for what is the same in all rows, and four numbers.
    const BESIDE: usize = 320;
    out.reserve(BESIDE + who.user_agent().len() + pages.1.len());
    let user_agent = if moment.is_masked { "" } else { who.user_agent() };
    // Nearly all are plain: few and long pieces, none of which is looked at.
    if who.is_plain() {
        out.extend_from_slice(br#"{"userAgent":""#);
        out.extend_from_slice(user_agent.as_bytes());
        out.extend_from_slice(br#"","id":""#);
        write_id(out, who.id());
        out.extend_from_slice(br#"","username":""#);
        out.extend_from_slice(who.username().as_bytes());
        out.extend_from_slice(br#"","project":""#);
        out.extend_from_slice(who.project().as_bytes());
        out.push(b'"');
    } else {
        for (name, text) in [
            (r#"{"userAgent":"#, user_agent),
            (r#","id":"#, who.id()),
            (r#","username":"#, who.username()),
            (r#","project":"#, who.project()),
        ] {
            out.extend_from_slice(name.as_bytes());
            write_text(out, text, false);
        }
    }
    write_rest(out, who, moment, pages);
}

/// What comes after the project.
#[inline]
fn write_rest(out: &mut Vec<u8>, who: &Who, moment: &Moment, (active_pages, page_ids): (u32, &str)) {
    out.extend_from_slice(br#","uptime":"#);
    write_number(out, moment.uptime_ms);
    out.extend_from_slice(br#","clientAddress":""#);
    if moment.is_masked {
        out.extend_from_slice(network_of(who.client_address()).to_string().as_bytes());
    } else {
        out.extend_from_slice(who.address_text().as_bytes());
    }
    out.extend_from_slice(br#"","lastComm":"#);
    write_number(out, moment.silent_ms);
    out.extend_from_slice(match who.scope() {
        SessionScope::Browser => br#","sessionScope":"browser","activePages":"#,
        SessionScope::Designer => br#","sessionScope":"designer","activePages":"#,
        SessionScope::Android => br#","sessionScope":"android","activePages":"#,
        SessionScope::Ios => br#","sessionScope":"ios","activePages":"#,
    });
    write_number(out, active_pages.into());
    out.extend_from_slice(br#","recentBytesSent":"#);
    write_number(out, moment.counts.recent_bytes_sent);
    out.extend_from_slice(br#","totalBytesSent":"#);
    write_number(out, moment.counts.total_bytes_sent);
    out.extend_from_slice(br#","pageIds":"#);
    out.extend_from_slice(page_ids.as_bytes());
    if moment.authorized {
        out.extend_from_slice(br#","authorized":true}"#);
    } else {
        out.extend_from_slice(br#","authorized":false}"#);
    }
}

#[inline]
fn write_number(out: &mut Vec<u8>, number: u64) {
    if number < 10 {
        out.push(b'0' + number as u8);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
}

/// Nearly all ids are UUIDs: a copy of a known length is a few instructions.
#[inline]
fn write_id(out: &mut Vec<u8>, id: &str) {
    const UUID: usize = 36;
    match id.as_bytes().first_chunk::<UUID>() {
        Some(uuid) if id.len() == UUID => out.extend_from_slice(uuid),
        _ => out.extend_from_slice(id.as_bytes()),
    }
}
