//! The file of keys, read again when it changes.

use super::keys::Keys;
use crate::{config::KeyFile, edge::watched::Watched};

/// The keys of a file as they are now.
pub(super) type WatchedKeys = Watched<Keys>;

/// The keys of this file, for as long as somebody [watches](Watched::watch) it.
pub(super) fn watched(file: KeyFile) -> WatchedKeys {
    let (KeyFile::Secret(path) | KeyFile::Public(path)) = &file;
    Watched::new("the keys of tokens", vec![path.clone()], move || Keys::read(&file))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;

    use super::*;
    use crate::clients::identity::fixtures::fixture;

    #[test]
    fn a_changed_file_is_read_again_and_a_bad_one_takes_nothing_away() {
        let file = std::env::temp_dir().join(format!("headcount-watched-{}", std::process::id()));
        let write = |text: &str| {
            // Renamed into its place, as whoever rotates keys does.
            let fresh = file.with_extension("new");
            std::fs::write(&fresh, text).unwrap();
            std::fs::rename(&fresh, &file).unwrap();
        };
        write(&fixture("rsa-public"));
        let watched = watched(KeyFile::Public(file.clone()));
        let algorithms = || {
            watched.look();
            watched.current().algorithms()
        };
        assert_eq!(algorithms(), [Algorithm::RS256]);
        for bad in ["", "garbage", &fixture("rsa-private")] {
            write(bad);
            assert_eq!(algorithms(), [Algorithm::RS256]);
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(algorithms(), [Algorithm::RS256]);
        write(&fixture("ec-public"));
        assert_eq!(algorithms(), [Algorithm::ES256]);
        std::fs::remove_file(&file).unwrap();
    }
}
