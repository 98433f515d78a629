//! The imports point the way that `src/lib.rs` says.

use std::{fs, path::Path};

use crate::harness::root;

/// Each folder or file under `src`, and what of ours it may name besides itself.
const MAY_IMPORT: [(&str, &[&str]); 10] = [
    ("session", &[]),
    ("config", &["session"]),
    ("frames", &[]),
    ("edge", &[]),
    ("clients", &["session", "config", "frames", "edge"]),
    ("admin", &["session", "config", "edge"]),
    ("query_client", &["session"]),
    ("load", &["session", "query_client"]),
    ("server", &["session", "config", "edge", "clients", "admin"]),
    ("cli", &["session", "config", "server", "query_client", "load"]),
];

/// Crates that one place alone, or a few, may name.
const CONFINED: [(&str, &[&str]); 10] = [
    ("dashmap", &["session/registry.rs"]),
    (
        "tungstenite",
        &[
            "frames/",
            "clients/",
            "admin/query_socket.rs",
            "edge/switching.rs",
            "edge/websocket.rs",
            "query_client.rs",
            "load/",
        ],
    ),
    ("chrono", &["cli/", "load/", "edge/clock.rs", "admin/history.rs", "session/filter/operand.rs"]),
    ("clap", &["cli/"]),
    ("httparse", &["clients/request.rs"]),
    ("jsonwebtoken", &["clients/identity/"]),
    ("sha2", &["config/tokens.rs"]),
    ("rustls", &["edge/tls.rs", "query_client/trust.rs"]),
    ("ppp", &["clients/proxy.rs"]),
    ("prometheus_client", &["admin/metrics.rs"]),
];

/// Every source file: its path under `src`, and its code without comments and tests.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.ends_with("tests.rs") {
                // A file of tests may set up whatever it tests against.
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                let code: Vec<_> =
                    product.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
                let name = path.strip_prefix(root().join("src")).unwrap();
                found.push((name.to_str().unwrap().to_owned(), code.join("\n")));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("src"), &mut found);
    assert!(found.len() > 20, "{}", found.len());
    found
}

/// What a file names of the crate: the first segment behind each `crate::`, also in `use crate::{a::…, b::…}`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut fresh, mut name) = (0, true, String::new());
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => fresh = true,
                    c if depth == 0 && fresh && (c.is_alphanumeric() || c == '_') => name.push(c),
                    _ if !name.is_empty() => {
                        found.push(std::mem::take(&mut name));
                        fresh = false;
                    }
                    _ => {}
                }
            }
            found.extend((!name.is_empty()).then_some(name));
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}

#[test]
fn imports_point_down_the_arrows() {
    assert_eq!(imports("use crate::{a::{b, c::d}, e::f,\n g};\ncrate::h::i()"), ["a", "e", "g", "h"]);
    for (file, code) in sources() {
        let own = file.split('/').next().unwrap().trim_end_matches(".rs");
        if matches!(own, "main" | "lib") {
            continue;
        }
        let (_, allowed) = MAY_IMPORT
            .iter()
            .find(|(name, _)| *name == own)
            .unwrap_or_else(|| panic!("{file} has no place in the architecture"));
        for import in imports(&code) {
            assert!(import == own || allowed.contains(&&*import), "{file} may not import {import}");
        }
    }
}

#[test]
fn confined_crates_stay_where_they_belong() {
    for (file, code) in sources() {
        for (name, places) in CONFINED {
            let named = code.contains(&format!("{name}::"));
            let may = places.iter().any(|place| file.starts_with(place));
            assert!(!named || may, "{file} may not name {name}");
        }
    }
}

#[test]
fn the_visible_top_level_is_as_promised() {
    let listed = std::process::Command::new("git").args(["ls-files"]).current_dir(root()).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let promised = ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "benches", "src", "tests"];
    for file in listed.lines() {
        let top = file.split('/').next().unwrap();
        assert!(top.starts_with('.') || promised.contains(&top), "{file}");
    }
}
