//! What is said of repeated figures.

/// The middle one; 0 of none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}

/// The one that this part of all do not exceed; 0 of none.
pub fn quantile(mut figures: Vec<f64>, part: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    let at = (figures.len() as f64 * part).ceil() as usize;
    figures.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
}
