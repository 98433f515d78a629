//! What a client likes best of what it can be answered with (RFC 9110, 12.5.1).

use axum::http::{HeaderMap, header};

/// The kind of these media types that is liked best, the first of those that are liked as well; the first if nothing is
/// said. None if none of them is taken.
pub(super) fn preferred<T: Copy>(headers: &HeaderMap, kinds: &[(&str, T)]) -> Option<T> {
    let ranges: Vec<(String, f32)> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter(|range| !range.trim().is_empty())
        .map(weighed)
        .collect();
    if ranges.is_empty() {
        return kinds.first().map(|(_, kind)| *kind);
    }
    // The most specific range that fits a kind says how well it is liked.
    let liking = |kind: &str| {
        let family = kind.split('/').next().unwrap_or_default();
        let like = |wanted: &str| ranges.iter().find(|(range, _)| range == wanted).map(|(_, weight)| *weight);
        like(kind).or_else(|| like(&format!("{family}/*"))).or_else(|| like("*/*")).unwrap_or(0.0)
    };
    let mut best: Option<(f32, T)> = None;
    for (name, kind) in kinds {
        let weight = liking(name);
        if weight > best.map_or(0.0, |(best, _)| best) {
            best = Some((weight, *kind));
        }
    }
    best.map(|(_, kind)| kind)
}

/// A range of media types, and how well it is liked.
fn weighed(range: &str) -> (String, f32) {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    // A weight that is none is no reason to withhold the answer.
    (kind, weight.map_or(1.0, |weight| weight.parse().unwrap_or(1.0)))
}
