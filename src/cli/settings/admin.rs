//! What administrators may do, and how much of it.

use super::{
    Settings,
    lists::{hosts, origins},
    more_than_nothing, span,
};
use crate::{
    cli::Failure,
    config::{AdminConfig, MAX_SNAPSHOT_AGE},
};

impl Settings {
    /// What the admin plane goes by, with so many places for connections.
    ///
    /// # Errors
    ///
    /// The setting that cannot be, and what could.
    pub(super) fn admin_config(&self, places: usize) -> Result<AdminConfig, Failure> {
        let admin = AdminConfig::default();
        let max_concurrent_lists = self.max_concurrent_lists.unwrap_or(admin.max_concurrent_lists);
        if max_concurrent_lists == 0 {
            return Err(Failure::Usage("max-concurrent-lists must be more than 0".to_owned()));
        }
        let snapshot_max_age = span(self.snapshot_max_age, admin.snapshot_max_age);
        if snapshot_max_age > MAX_SNAPSHOT_AGE {
            let message = format!("snapshot-max-age must be {MAX_SNAPSHOT_AGE:?} at most");
            return Err(Failure::Usage(message));
        }
        Ok(AdminConfig {
            tokens: self.admin_tokens.clone(),
            audit_log: self.audit_log.clone(),
            allowed_origins: origins("admin-allowed-origins", self.admin_allowed_origins.clone())?,
            allowed_hosts: hosts(self.allowed_hosts.clone())?,
            max_connections: places,
            max_query_sockets: places * 3 / 4,
            max_concurrent_lists,
            max_list_time: more_than_nothing("max-list-time", self.max_list_time, admin.max_list_time)?,
            snapshot_max_age,
            write_timeout: more_than_nothing("write-timeout", self.write_timeout, admin.write_timeout)?,
            ..admin
        })
    }
}
