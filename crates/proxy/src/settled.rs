//! A configuration that was found to work, and what is made of it once for all messages.

use std::ops::Deref;

use sheave_proto::hop::ViaEntry;

use crate::config::ProxyConfig;
use crate::proxy::BuildError;
use crate::upgrade;

/// How a proxy forwards, as it was found to work when the proxy was built.
pub(crate) struct Settled {
    config: ProxyConfig,
    /// What [`ProxyConfig::pseudonym`] puts into Via.
    pub(crate) via: Option<ViaEntry>,
}

impl Settled {
    /// # Errors
    /// [`BuildError`] when the configuration cannot work.
    pub(crate) fn new(config: ProxyConfig) -> Result<Self, BuildError> {
        let via = config.pseudonym.as_deref().map(|name| via_entry(name).ok_or(BuildError::Pseudonym)).transpose()?;
        if !config.upgrades.iter().all(|protocol| upgrade::is_protocol(protocol)) {
            return Err(BuildError::Upgrade);
        }
        Ok(Self { config, via })
    }
}

/// The entry of a name that can be a host's.
fn via_entry(name: &str) -> Option<ViaEntry> {
    let is_usual = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
    ViaEntry::new(name).ok().filter(|_| is_usual)
}

impl Deref for Settled {
    type Target = ProxyConfig;

    fn deref(&self) -> &ProxyConfig {
        &self.config
    }
}
