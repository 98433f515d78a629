//! Who may ask the admin plane: the file of `serve --admin-tokens`.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};

use super::{Failure, Outcome, tell};
use crate::config::tokens::{AdminToken, AdminTokens, Scope, TokenHash};

/// Make, list and remove the tokens of administrators
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token, and print it: this once, since the file has its SHA-256 alone
    New {
        /// Whose it is: 1 to 64 of A-Z a-z 0-9 . _ -
        #[arg(value_name = "NAME")]
        name: String,
        /// What it allows, of read (who is connected), pii (addresses and user agents too), kick and metrics
        #[arg(long, value_name = "SCOPES", value_delimiter = ',', required = true)]
        scopes: Vec<Scope>,
        /// Only the sessions of this project
        #[arg(long, value_name = "PROJECT")]
        project: Option<String>,
        #[command(flatten)]
        file: TokensFile,
    },
    /// Show names, scopes and projects
    List {
        #[command(flatten)]
        file: TokensFile,
    },
    /// Remove a token; a server that runs closes its query sockets within seconds
    Remove {
        /// Whose it is
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        file: TokensFile,
    },
}

#[derive(Debug, Args)]
struct TokensFile {
    /// The file that `headcount serve --admin-tokens` reads
    #[arg(long, env = "HEADCOUNT_ADMIN_TOKENS", value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::New { name, scopes, project, file } => new(name, scopes, project, &file.file),
        Command::List { file } => list(&file.file),
        Command::Remove { name, file } => remove(&name, &file.file),
    }
}

fn new(name: String, mut scopes: Vec<Scope>, project: Option<String>, file: &Path) -> Outcome {
    scopes.sort_unstable();
    scopes.dedup();
    let token: String = rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = TokenHash::of(token.as_bytes());
    let kept = AdminToken { name, hash, scopes, project }.checked().map_err(Failure::Usage)?;
    let mut text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(unreadable(file, &error)),
    };
    let AdminTokens(others) = AdminTokens::parse(&text).map_err(|problem| bad(file, &problem))?;
    if others.iter().any(|other| other.name == kept.name) {
        let (name, file) = (kept.name, file.display());
        return Err(Failure::Usage(format!(
            "{file} has a token of the name {name} already; to replace it, first say \
             headcount token remove {name} --file {file}"
        )));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&kept.line());
    text.push('\n');
    replace(file, &text)?;
    tell(format_args!("this is the token of {}; it is shown this once", kept.name));
    Ok(writeln!(io::stdout(), "{token}")?)
}

fn list(file: &Path) -> Outcome {
    let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    let AdminTokens(tokens) = AdminTokens::parse(&text).map_err(|problem| bad(file, &problem))?;
    let mut out = io::stdout().lock();
    for AdminToken { name, scopes, project, .. } in tokens {
        let scopes: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
        // Escaped: nothing that a file holds reaches a terminal as it is.
        let project = project.map_or_else(|| "all projects".to_owned(), |name| format!("project {name:?}"));
        writeln!(out, "{name}  {}  {project}", scopes.join(","))?;
    }
    Ok(())
}

fn remove(name: &str, file: &Path) -> Outcome {
    let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    AdminTokens::parse(&text).map_err(|problem| bad(file, &problem))?;
    let Some(rest) = AdminTokens::without(&text, name) else {
        return Err(Failure::Failed(format!("{} has no token {name:?}", file.display())));
    };
    Ok(replace(file, &rest)?)
}

fn unreadable(file: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("{} cannot be read: {error}", file.display()))
}

fn bad(file: &Path, problem: &str) -> Failure {
    Failure::Usage(format!("{}, {problem}", file.display()))
}

/// Writes a file beside the old one and renames it into its place, so that whoever reads sees one or the other whole.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    // A link stays one.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:08x}", rand::random::<u32>()));
    let fresh = file.with_file_name(name);
    let written = (|| {
        let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&fresh, &file)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written.map_err(|error| {
        io::Error::new(error.kind(), format!("{} cannot be written: {error}", file.display()))
    })
}
