use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

/// Texts that many sessions have alike, kept once each: what browsers call themselves.
#[derive(Debug, Default)]
pub(super) struct SharedTexts(Mutex<Texts>);

#[derive(Debug, Default)]
struct Texts {
    texts: HashSet<Arc<str>>,
    /// When there are so many, those that nobody has any more are forgotten.
    sweep_at: usize,
}

impl SharedTexts {
    /// The same text, which others may have as well.
    pub(super) fn share(&self, text: &Arc<str>) -> Arc<str> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = shared.texts.get(text) {
            return text.clone();
        }
        if shared.texts.len() >= shared.sweep_at {
            shared.texts.retain(|text| Arc::strong_count(text) > 1);
            // Twice as many as are in use, so that sweeping costs each newcomer a step or two.
            shared.sweep_at = (2 * shared.texts.len()).max(64);
        }
        shared.texts.insert(text.clone());
        text.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_as_long_as_somebody_has_it() {
        let shared = SharedTexts::default();
        let first = shared.share(&"browser".into());
        assert!(Arc::ptr_eq(&first, &shared.share(&"browser".into())));
        let kept: Vec<_> = (0..100).map(|n| shared.share(&n.to_string().into())).collect();
        for n in 0..10_000 {
            shared.share(&format!("gone {n}").into());
        }
        let mut texts = shared.0.lock().unwrap();
        assert!(texts.texts.len() <= 2 * 101, "{}", texts.texts.len());
        texts.texts.retain(|text| Arc::strong_count(text) > 1);
        assert_eq!(texts.texts.len(), kept.len() + 1);
    }
}
