//! Descriptions are `CommonMark`.

/// A list, an entry a line; nothing if there is none.
pub(super) fn list(entries: impl IntoIterator<Item = String>) -> String {
    let mut text = String::new();
    for entry in entries {
        text.push_str(if text.is_empty() { "\n\n- " } else { "\n- " });
        text.push_str(&entry);
    }
    text
}
