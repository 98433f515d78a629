//! What a client says of itself in the URL of its WebSocket (PROTOCOL 2.1).

use std::{fmt, sync::Arc};

use percent_encoding::percent_decode_str;

use crate::{
    edge::{
        query::{Query, Unknown},
        refusal::Refusal,
    },
    session::{
        ResumeToken, SessionScope,
        text::{clean, project_problem},
    },
};

pub(super) const MAX_PAGE_ID_CHARS: usize = 128;
pub(super) const MAX_PAGE_PATH_CHARS: usize = 512;
pub(super) const MAX_USERNAME_CHARS: usize = 256;
pub(super) const MAX_DESIGNER_ID_CHARS: usize = 64;

/// Every query parameter that the client plane knows.
pub(super) const KNOWN: [&str; 7] =
    ["pageId", "pagePath", "scope", "username", "resumeToken", "designerId", "access_token"];

/// The parameters of `/ws/{project}?…`, checked and cleaned.
#[derive(Debug)]
pub(super) struct Params {
    pub(super) project: Arc<str>,
    pub(super) page_id: Arc<str>,
    pub(super) page_path: Option<Arc<str>>,
    /// As asked for; the User-Agent tells otherwise.
    pub(super) scope: Option<SessionScope>,
    /// As claimed.
    pub(super) username: Option<Arc<str>>,
    pub(super) designer_id: Option<Arc<str>>,
    /// The session to come back to; a token that is none is no error (PROTOCOL 2.4).
    pub(super) resume: Option<ResumeToken>,
    pub(super) access_token: Option<AccessToken>,
}

/// A token as it was given. It is shown to nobody: not in a log, not in an answer.
pub(super) struct AccessToken(String);

impl AccessToken {
    /// The token, for whoever verifies it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

impl Params {
    /// Reads the path's last segment and the query.
    ///
    /// # Errors
    ///
    /// 400, naming the parameter and its limit.
    pub(super) fn read(project: &str, query: Option<&str>) -> Result<Self, Refusal> {
        let mut query = Query::parse(query, &KNOWN, Unknown::Ignore)?;
        let scope = match query.take("scope") {
            Some(scope) => {
                Some(scope.parse().map_err(|error| Refusal::bad_parameter(format!("scope {error}")))?)
            }
            None => None,
        };
        let designer_id = query.take("designerId").map(|id| designer_id(&id)).transpose()?;
        if designer_id.is_some() && scope != Some(SessionScope::Designer) {
            return Err(Refusal::bad_parameter("designerId needs scope=designer beside it"));
        }
        let page = match query.take("pageId") {
            Some(id) => page_id(&id)?,
            None => format!("{:08x}", rand::random::<u32>()).into(),
        };
        Ok(Self {
            project: read_project(project)?,
            page_id: page,
            page_path: page_path("pagePath", query.take("pagePath"))?,
            scope,
            username: query.take("username").map_or(Ok(None), |name| username(&name))?,
            resume: query.take("resumeToken").and_then(|token| ResumeToken::read(&token)),
            access_token: query.take("access_token").map(AccessToken),
            designer_id,
        })
    }
}

fn read_project(segment: &str) -> Result<Arc<str>, Refusal> {
    let refuse = |problem: &str| {
        Refusal::new(http::StatusCode::BAD_REQUEST, "bad_project", format!("project {problem}"))
    };
    let Ok(project) = percent_decode_str(segment).decode_utf8() else {
        return Err(refuse("is not valid UTF-8"));
    };
    match project_problem(&project) {
        Some(problem) => Err(refuse(&problem)),
        None => Ok(project.into()),
    }
}

fn designer_id(id: &str) -> Result<Arc<str>, Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if (1..=MAX_DESIGNER_ID_CHARS).contains(&id.len()) && id.chars().all(allowed) {
        Ok(id.into())
    } else {
        Err(Refusal::bad_parameter(format!(
            "designerId must be 1 to {MAX_DESIGNER_ID_CHARS} characters of A-Z a-z 0-9 . _ -"
        )))
    }
}

/// The id of a page, cleaned.
///
/// # Errors
///
/// 400, naming the limit.
pub(super) fn page_id(raw: &str) -> Result<Arc<str>, Refusal> {
    text("pageId", raw, 1, MAX_PAGE_ID_CHARS)
}

/// Where a page is, cleaned, by what was given under this name; an empty path is none.
///
/// # Errors
///
/// 400, naming the limit.
pub(super) fn page_path(name: &str, raw: Option<String>) -> Result<Option<Arc<str>>, Refusal> {
    optional(name, raw, MAX_PAGE_PATH_CHARS)
}

/// A user's name, cleaned, wherever it comes from; an empty one is none.
///
/// # Errors
///
/// 400, naming the limit.
pub(super) fn username(raw: &str) -> Result<Option<Arc<str>>, Refusal> {
    optional("username", Some(raw.to_owned()), MAX_USERNAME_CHARS)
}

fn optional(name: &str, raw: Option<String>, max: usize) -> Result<Option<Arc<str>>, Refusal> {
    let text = raw.map(|raw| text(name, &raw, 0, max)).transpose()?;
    Ok(text.filter(|text| !text.is_empty()))
}

fn text(name: &str, raw: &str, min: usize, max: usize) -> Result<Arc<str>, Refusal> {
    let cleaned = clean(raw);
    let chars = cleaned.chars().count();
    if (min..=max).contains(&chars) {
        return Ok(cleaned.into());
    }
    let limit = if min == 0 { format!("at most {max}") } else { format!("{min} to {max}") };
    Err(Refusal::bad_parameter(format!("{name} must have {limit} characters, not {chars}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(project: &str, query: &str, expected: &str) {
        let message = Params::read(project, Some(query)).unwrap_err().message;
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn a_bare_project_is_enough() {
        let params = Params::read("plant%201", None).unwrap();
        assert_eq!(&*params.project, "plant 1");
        assert_eq!(params.page_id.len(), 8);
        assert!(params.page_id.chars().all(|c| c.is_ascii_hexdigit()));
        assert_eq!((params.page_path, params.scope, params.username), (None, None, None));
    }

    #[test]
    fn what_is_said_is_decoded_and_cleaned() {
        let query = "pageId=p%1b1&pagePath=/a%20b&scope=DESIGNER&username=b%E2%80%AEilly&designerId=d.1";
        let params = Params::read("p", Some(query)).unwrap();
        assert_eq!(&*params.page_id, "p1");
        assert_eq!(params.page_path.as_deref(), Some("/a b"));
        assert_eq!(params.scope, Some(SessionScope::Designer));
        assert_eq!(params.username.as_deref(), Some("billy"));
        assert_eq!(params.designer_id.as_deref(), Some("d.1"));
    }

    #[test]
    fn a_limit_is_counted_in_characters() {
        let query = format!("pageId={}&username=", "%E2%98%83".repeat(128));
        let params = Params::read(&"%C3%AB".repeat(128), Some(&query)).unwrap();
        assert_eq!(params.page_id.chars().count(), 128);
        assert_eq!(params.project.chars().count(), 128);
        assert_eq!(params.username, None);
    }

    #[test]
    fn a_token_is_not_shown() {
        let params = Params::read("p", Some("access_token=secret.of.ann")).unwrap();
        assert_eq!(params.access_token.as_ref().unwrap().reveal(), "secret.of.ann");
        assert!(!format!("{params:?}").contains("secret"), "{params:?}");
        for query in
            ["access_token=secret&access_token=secret", "Access_Token=secret", "access_token=%ffsecret"]
        {
            let refusal = Params::read("p", Some(query)).unwrap_err();
            assert!(!refusal.message.contains("secret"), "{}", refusal.message);
        }
    }

    #[test]
    fn a_refusal_names_the_parameter_and_its_limit() {
        refused("", "", "project is empty");
        refused("a%2Fb", "", "project has a /");
        refused("a%00", "", "project has a control character");
        refused("a%E2%80%AE", "", "project has a control character");
        refused("%ff", "", "project is not valid UTF-8");
        refused(&"x".repeat(129), "", "project has 129 characters: it has 1 to 128");
        refused("p", "pageId=", "pageId must have 1 to 128 characters, not 0");
        refused("p", "pageId=%00", "pageId must have 1 to 128 characters, not 0");
        refused("p", &format!("pageId={}", "x".repeat(129)), "pageId must have 1 to 128 characters, not 129");
        refused("p", &format!("pagePath={}", "x".repeat(513)), "pagePath must have at most 512");
        refused("p", &format!("username={}", "x".repeat(257)), "username must have at most 256");
        refused("p", "scope=desktop", "scope must be designer, browser, ios or android");
        refused("p", "scope=", "scope must be");
        refused("p", "designerId=a", "designerId needs scope=designer");
        refused("p", "scope=designer&designerId=a%20b", "designerId must be 1 to 64");
        refused("p", "scope=designer&designerId=", "designerId must be 1 to 64");
        refused("p", &format!("scope=designer&designerId={}", "x".repeat(65)), "designerId must be 1 to 64");
        refused("p", "username=%ff", "username is not valid UTF-8");
        refused("p", "pageid=1", "it is written pageId");
    }
}
