//! Administrators' tokens (PROTOCOL 3.2), and the file they are kept in: one JSON object a line, without the tokens
//! themselves.
//!
//! ```text
//! # lines like this one are left alone
//! {"name":"grafana","sha256":"9f86…","scopes":["read"]}
//! {"name":"shift-lead","sha256":"60303a…","scopes":["read","pii","kick"],"project":"plant"}
//! ```

use std::{fmt, fs, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::session::text::project_problem;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Asking who is connected, and who was.
    Read,
    /// Seeing addresses and user agents as they are.
    Pii,
    /// Closing and sending.
    Kick,
    /// Figures without persons.
    Metrics,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Read, Self::Pii, Self::Kick, Self::Metrics];

    /// The scope as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Pii => "pii",
            Self::Kick => "kick",
            Self::Metrics => "metrics",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is no scope: there are read, pii, kick and metrics"))
    }
}

/// The SHA-256 of a token. Whoever reads it learns nothing: a token is 256 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Of a token as its holder writes it.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for TokenHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const PROBLEM: &str = "sha256 must be 64 hexadecimal digits";
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(PROBLEM);
        }
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| PROBLEM)?;
        }
        Ok(Self(hash))
    }
}

/// A token as it is kept: who has it and what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    /// Whose it is, for the audit log.
    pub name: String,
    /// What it is known by.
    pub hash: TokenHash,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// The one project whose sessions it sees and touches; `None` is all.
    pub project: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    sha256: String,
    scopes: Vec<Scope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    project: Option<String>,
}

impl AdminToken {
    /// Whether it allows this.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// The token as a line of the file.
    pub fn line(&self) -> String {
        let Self { name, hash, scopes, project } = self.clone();
        let line = Line { name, sha256: hash.to_string(), scopes, project };
        serde_json::to_string(&line).expect("names and words are JSON")
    }

    fn read(line: &str) -> Result<Self, String> {
        let Line { name, sha256, scopes, project } =
            serde_json::from_str(line).map_err(|error| error.to_string())?;
        let hash = sha256.parse().map_err(str::to_owned)?;
        Self { name, hash, scopes, project }.checked()
    }

    /// # Errors
    ///
    /// What makes it a token that nobody can have meant.
    pub fn checked(self) -> Result<Self, String> {
        let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !(1..=64).contains(&self.name.len()) || !self.name.chars().all(is_good) {
            return Err("a token's name has 1 to 64 of A-Z a-z 0-9 . _ -".to_owned());
        }
        if RESERVED.contains(&&*self.name) {
            return Err(format!(
                "the name {} is taken: the audit log says so of who has no token",
                self.name
            ));
        }
        if self.scopes.is_empty() {
            return Err(format!("the token {} has no scope: it would allow nothing", self.name));
        }
        let project = self.project.as_deref();
        if project == Some("") {
            return Err(format!("the project of the token {} is empty: leave it out for all", self.name));
        }
        if let Some(problem) = project.and_then(project_problem) {
            return Err(format!("the project of the token {} {problem}", self.name));
        }
        Ok(self)
    }
}

/// What the audit log calls those who have no token: on the plane's own machine, and elsewhere.
pub const RESERVED: [&str; 2] = ["loopback", "anonymous"];

/// All tokens of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminTokens(pub Vec<AdminToken>);

impl AdminTokens {
    /// Reads a file of tokens. One that holds none lets nobody in.
    ///
    /// # Errors
    ///
    /// The file, the line, and what is wrong there.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = fs::read_to_string(path)
            .map_err(|error| format!("admin-tokens {shown} cannot be read: {error}"))?;
        Self::parse(&text).map_err(|problem| format!("admin-tokens {shown}, {problem}"))
    }

    /// # Errors
    ///
    /// The line, and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tokens: Vec<AdminToken> = Vec::new();
        for (n, line) in text.lines().enumerate() {
            if is_remark(line) {
                continue;
            }
            let at = |problem: String| format!("line {}: {problem}", n + 1);
            let token = AdminToken::read(line).map_err(at)?;
            if let Some(other) =
                tokens.iter().find(|other| other.name == token.name || other.hash == token.hash)
            {
                return Err(at(format!("the name or the hash of {} is there twice", other.name)));
            }
            tokens.push(token);
        }
        Ok(Self(tokens))
    }

    /// The text of a file without the token of this name; `None` if there is none in it.
    pub fn without(text: &str, name: &str) -> Option<String> {
        let is_it =
            |line: &&str| !is_remark(line) && AdminToken::read(line).is_ok_and(|token| token.name == name);
        text.lines()
            .any(|line| is_it(&line))
            .then(|| text.lines().filter(|line| !is_it(line)).map(|line| format!("{line}\n")).collect())
    }
}

fn is_remark(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, scopes: &[Scope], project: Option<&str>) -> AdminToken {
        let hash = TokenHash::of(name.as_bytes());
        AdminToken {
            name: name.to_owned(),
            hash,
            scopes: scopes.to_vec(),
            project: project.map(str::to_owned),
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let tokens = [
            token("grafana", &[Scope::Read], None),
            token("lead-2", &[Scope::Read, Scope::Pii, Scope::Kick, Scope::Metrics], Some("plant")),
        ];
        let text = format!("# ours\n\n{}\n{}\n", tokens[0].line(), tokens[1].line());
        assert_eq!(AdminTokens::parse(&text), Ok(AdminTokens(tokens.to_vec())));
        let rest = AdminTokens::without(&text, "grafana").unwrap();
        assert_eq!(rest, format!("# ours\n\n{}\n", tokens[1].line()));
        assert_eq!(AdminTokens::without(&rest, "grafana"), None);
        assert_eq!(AdminTokens::parse(""), Ok(AdminTokens::default()));
    }

    #[test]
    fn a_hash_is_sha_256_in_hexadecimal() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenHash::of(b"abc").to_string(), abc);
        assert_eq!(abc.parse(), Ok(TokenHash::of(b"abc")));
        assert!(abc[1..].parse::<TokenHash>().is_err() && "é".repeat(32).parse::<TokenHash>().is_err());
    }

    #[track_caller]
    fn refused(line: &str, expected: &str) {
        let hash = TokenHash::of(b"x");
        let good = token("good", &[Scope::Read], None).line();
        let problem =
            AdminTokens::parse(&format!("{good}\n{}", line.replace("HASH", &hash.to_string()))).unwrap_err();
        assert!(problem.starts_with("line 2: ") && problem.contains(expected), "{problem}");
    }

    #[test]
    fn a_line_that_cannot_be_meant_is_refused_with_its_number() {
        refused("a line", "expected value");
        refused(r#"{"name":"a","sha256":"12","scopes":["read"]}"#, "64 hexadecimal digits");
        refused(r#"{"name":"a","sha256":"HASH","scopes":["admin"]}"#, "unknown variant");
        refused(r#"{"name":"a","sha256":"HASH","scopes":[]}"#, "has no scope");
        refused(r#"{"name":"a b","sha256":"HASH","scopes":["read"]}"#, "a token's name has");
        refused(r#"{"name":"loopback","sha256":"HASH","scopes":["read"]}"#, "is taken");
        refused(r#"{"name":"a","sha256":"HASH","scopes":["read"],"project":""}"#, "leave it out");
        refused(
            r#"{"name":"a","sha256":"HASH","scopes":["read"],"project":"a/b"}"#,
            "of the token a has a /: it",
        );
        refused(r#"{"name":"a","sha256":"HASH","scopes":["read"],"projects":"p"}"#, "unknown field");
        refused(r#"{"name":"good","sha256":"HASH","scopes":["read"]}"#, "there twice");
    }
}
