use std::{fmt::Write, net::IpAddr, sync::Arc};

use super::{Identity, SessionScope, json};

/// Who a session is, as it is kept: in one piece of memory, beside the `User-Agent`, which many sessions share.
#[derive(Clone, Debug)]
pub struct Who {
    /// Id, user name, project and address, one after the other; and the address of the peer, if it is another.
    text: Arc<str>,
    /// Where the first four of them end.
    ends: [u16; 4],
    scope: SessionScope,
    authorized: bool,
    /// Nothing in it needs an escape in JSON.
    is_plain: bool,
    user_agent: Arc<str>,
}

impl Who {
    /// # Panics
    ///
    /// If the id, the user name and the project have 64 KiB together; the edge lets a hundredth of that in.
    pub(super) fn new(identity: &Identity, user_agent: &Arc<str>) -> Self {
        let Identity { id, username, project, client_address, peer_address, .. } = identity;
        let mut text = String::with_capacity(128);
        let end = |text: &str| u16::try_from(text.len()).expect("names have a bound");
        let names = [id, username, project].map(|name| {
            text.push_str(name);
            end(&text)
        });
        write!(text, "{client_address}").expect("a String takes any text");
        let ends = [names[0], names[1], names[2], end(&text)];
        // Behind no proxy it is the client's, and takes no memory.
        if peer_address != client_address {
            write!(text, "{peer_address}").expect("a String takes any text");
        }
        Self {
            text: text.into(),
            ends,
            scope: identity.scope,
            authorized: identity.authorized,
            is_plain: [id, username, project, user_agent].iter().all(|text| json::is_plain(text)),
            user_agent: user_agent.clone(),
        }
    }

    fn part(&self, from: Option<usize>, to: Option<usize>) -> &str {
        let at = |n: usize| usize::from(self.ends[n]);
        &self.text[from.map_or(0, at)..to.map_or(self.text.len(), at)]
    }

    /// A UUID, or the designer's own id.
    pub fn id(&self) -> &str {
        self.part(None, Some(0))
    }

    /// The user, or [`UNAUTHENTICATED`](super::UNAUTHENTICATED).
    pub fn username(&self) -> &str {
        self.part(Some(0), Some(1))
    }

    /// The project.
    pub fn project(&self) -> &str {
        self.part(Some(1), Some(2))
    }

    /// The client's address as rows show it.
    pub fn address_text(&self) -> &str {
        self.part(Some(2), Some(3))
    }

    /// [`peer_address`](Self::peer_address) as rows show it.
    pub fn peer_address_text(&self) -> &str {
        match self.part(Some(3), None) {
            "" => self.address_text(),
            other => other,
        }
    }

    /// The client's address.
    pub fn client_address(&self) -> IpAddr {
        self.address_text().parse().expect("written from an address")
    }

    /// The address of whoever made its first connection: the client's own, or its proxy's.
    pub fn peer_address(&self) -> IpAddr {
        self.peer_address_text().parse().expect("written from an address")
    }

    /// Where it runs.
    pub fn scope(&self) -> SessionScope {
        self.scope
    }

    /// Whether the user name was verified.
    pub fn authorized(&self) -> bool {
        self.authorized
    }

    /// The cleaned `User-Agent`.
    pub fn user_agent(&self) -> &Arc<str> {
        &self.user_agent
    }

    pub(super) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Has the processor fetch what a row is written from, and does not wait for it.
    pub(super) fn touch(&self) -> u8 {
        let text = self.text.as_bytes();
        text.first().copied().unwrap_or(0) ^ text.last().copied().unwrap_or(0)
    }

    /// Whether both are of one session, not only of two with the same name.
    #[cfg(test)]
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text)
    }

    /// How many bytes its texts take.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// What no other session has for an address, as long as this one is remembered.
    #[cfg(test)]
    pub(super) fn token(&self) -> *const u8 {
        self.text.as_ptr()
    }

    /// Whether a connection that names a live session's id may join it: it must be the same user in the same
    /// project and scope (PROTOCOL 2.1, `designerId`).
    pub(super) fn may_be_joined_by(&self, newcomer: &Identity) -> bool {
        self.is_of(newcomer) && self.scope == newcomer.scope
    }

    /// Whether it is the same user in the same project.
    pub(super) fn is_of(&self, newcomer: &Identity) -> bool {
        *newcomer.username == *self.username()
            && newcomer.authorized == self.authorized
            && *newcomer.project == *self.project()
    }
}
