//! Keys for tests. They are in the repository, so they prove nothing to anybody.

use std::path::PathBuf;

pub(super) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/jwt/test-only-{name}.pem"))
}

pub(super) fn fixture(name: &str) -> String {
    std::fs::read_to_string(path(name)).expect("a fixture")
}
