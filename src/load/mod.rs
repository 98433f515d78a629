//! Clients by the dozen or the thousand: the demo's crowd.

pub(crate) mod crowd;
