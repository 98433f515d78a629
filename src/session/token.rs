use std::fmt;

use subtle::ConstantTimeEq;

/// What lets a client come back to its session (PROTOCOL 2.4): 128 random bits, useless for any other session.
///
/// It is written with the session's id before it, so that finding the session compares nothing secret.
#[derive(Clone)]
pub struct ResumeToken {
    session_id: String,
    secret: Secret,
}

/// The random part.
#[derive(Clone, Copy)]
pub(super) struct Secret([u8; 16]);

impl Secret {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }

    /// Takes the same time whatever the two hold.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl ResumeToken {
    pub(super) fn new(session_id: &str, secret: Secret) -> Self {
        Self { session_id: session_id.to_owned(), secret }
    }

    /// Reads a token as a client brings it; `None` if it is none.
    pub fn read(text: &str) -> Option<Self> {
        let (session_id, secret) = text.rsplit_once('.')?;
        let is_secret = secret.len() == 32 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
        let secret = u128::from_str_radix(secret, 16).ok().filter(|_| is_secret)?;
        Some(Self { session_id: session_id.to_owned(), secret: Secret(secret.to_be_bytes()) })
    }

    /// The token as it is handed to its client, and to nobody else.
    pub fn reveal(&self) -> String {
        format!("{}.{:032x}", self.session_id, u128::from_be_bytes(self.secret.0))
    }

    pub(super) fn session_id(&self) -> &str {
        &self.session_id
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }
}

/// Without the secret: a token is never logged.
impl fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResumeToken({:?}, …)", self.session_id)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_shows_itself_to_nobody_else() {
        let token = ResumeToken::new("d.1", Secret::random());
        let text = token.reveal();
        let read = ResumeToken::read(&text).unwrap();
        assert_eq!(read.session_id(), "d.1");
        assert!(read.secret().is(token.secret()) && !read.secret().is(&Secret::random()));
        let secret = text.rsplit_once('.').unwrap().1;
        assert!(secret.len() == 32 && !format!("{token:?} {:?}", token.secret()).contains(secret));
        for bad in ["", ".", "x", "id.", "id.12", &format!("id.+{}", &secret[1..]), &format!("{text}0")] {
            assert!(ResumeToken::read(bad).is_none(), "{bad}");
        }
    }
}
