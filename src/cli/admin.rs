//! Where the admin plane is and how to get in: what every command that asks it can be told.

use std::{env, fs, path::PathBuf};

use clap::Args;

use super::Failure;
use crate::query_client::{Admin, DEFAULT_ADMIN, QueryClient, Trust};

/// A token on the command line could be read by everybody on the machine, so there is no flag for it.
const TOKEN: &str = "HEADCOUNT_ADMIN_TOKEN";

/// The admin plane, and the way in.
#[derive(Clone, Debug, Args)]
pub(super) struct AdminPlane {
    /// Where the admin plane is
    #[arg(long, env = "HEADCOUNT_ADMIN", value_name = "URL", default_value = DEFAULT_ADMIN)]
    admin: String,
    /// The file that holds an admin token; else it is taken from HEADCOUNT_ADMIN_TOKEN in the environment
    #[arg(long, env = "HEADCOUNT_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The file of the authorities whose certificates are believed, PEM [default: those that this machine trusts]
    #[arg(long, env = "HEADCOUNT_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl AdminPlane {
    /// # Errors
    ///
    /// The token or the authorities that cannot be read, or are none.
    pub(super) fn check(&self) -> Result<Admin, Failure> {
        let mut admin = Admin::at(&self.admin);
        if let Some(file) = &self.ca_file {
            let trust = Trust::in_file(file);
            admin = admin.with_trust(trust.map_err(|problem| Failure::Usage(format!("ca-file {problem}")))?);
        }
        let (from, token) = match &self.token_file {
            Some(file) => {
                let shown = file.display();
                let token = fs::read_to_string(file)
                    .map_err(|error| Failure::Usage(format!("token-file {shown} cannot be read: {error}")))?;
                (format!("token-file {shown}"), Some(token))
            }
            None => (TOKEN.to_owned(), env::var(TOKEN).ok().filter(|token| !token.trim().is_empty())),
        };
        let Some(token) = token else { return Ok(admin) };
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::Usage(format!(
                "{from} holds no token: one is a line of ASCII without spaces"
            )));
        }
        Ok(admin.with_token(token))
    }

    /// # Errors
    ///
    /// Likewise; or nobody is there, or they will not have us.
    pub(super) async fn connect(&self) -> Result<QueryClient, Failure> {
        Ok(QueryClient::connect(self.check()?).await?)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use crate::cli::Arguments;

    /// The protocol's lists of those that take TLS (1) and those that take a token (3.2).
    #[test]
    fn the_protocol_names_every_command_that_asks_the_admin_plane() {
        let protocol = include_str!("../protocol.md");
        let lists: Vec<_> =
            protocol.split("\n- ").filter(|item| item.starts_with("`headcount sessions`, ")).collect();
        assert_eq!(lists.len(), 2, "{lists:?}");
        for command in Arguments::command().get_subcommands() {
            let takes = |flag: &str| command.get_arguments().any(|arg| arg.get_long() == Some(flag));
            let name = command.get_name();
            for (list, flag) in lists.iter().zip(["ca-file", "token-file"]) {
                let (named, _) = list.split_once(" take ").unwrap();
                let is_named =
                    named.contains(&format!("`{name}`")) || named.contains(&format!("`headcount {name}`"));
                assert_eq!(is_named, takes(flag), "{name} and --{flag}: {named}");
            }
        }
    }
}
