//! What a new configuration takes over from the one before: whatever it says the same about.

use std::sync::Arc;

use super::portal::PortalWatch;
use crate::cache::{self, Cache};
use crate::config::{Config, RouteConfig, UpstreamConfig};
use crate::policy::blocking::Blocking;
use crate::resolve::Resolver;
use crate::stats::Counter;
use crate::upstream::Upstream;

/// A configuration and what was made of it.
#[derive(Clone, Debug)]
pub(super) struct Before {
    pub(super) config: Config,
    pub(super) resolver: Arc<Resolver>,
    pub(super) blocking: Blocking,
    /// Counts the configurations.
    pub(super) epoch: u32,
    /// Questions in clear text under all of them.
    pub(super) meter: Arc<Counter>,
    /// What is known of sign-in pages.
    pub(super) portal: Arc<PortalWatch>,
}

impl Before {
    /// The upstream with its connections and all it knows of itself.
    pub(super) fn upstream(&self, config: &UpstreamConfig) -> Option<Arc<Upstream>> {
        let at = self.config.upstreams.iter().position(|old| old == config)?;
        self.resolver.public().pool().upstreams().get(at).map(Arc::clone)
    }

    /// The cache of public names, if it is to be of the same kind. What other upstreams could not answer is forgotten.
    pub(super) fn cache(&self, config: &Config, settings: &cache::Settings) -> Option<Arc<Cache>> {
        let cache = self.resolver.public().shared_cache();
        if config.upstreams != self.config.upstreams {
            cache.forget_failures();
        }
        (cache.settings() == settings).then_some(cache)
    }

    /// The cache and the upstreams of a route that is as it was.
    pub(super) fn route(
        &self,
        number: usize,
        config: &RouteConfig,
        settings: &cache::Settings,
    ) -> Option<(Arc<Cache>, Vec<Arc<Upstream>>)> {
        if self.config.routes.get(number) != Some(config) {
            return None;
        }
        let road = self.resolver.routes().get(number)?;
        let cache = road.shared_cache();
        (cache.settings() == settings).then(|| (cache, road.pool().upstreams().to_vec()))
    }

    /// The lists in force, if the same files make them; else none yet.
    pub(super) fn blocking(&self, config: &Config) -> Blocking {
        let (old, new) = (&self.config.policy, &config.policy);
        let is_same = (&old.block, &old.allow, old.block_answer) == (&new.block, &new.allow, new.block_answer);
        if is_same {
            self.blocking.clone()
        } else {
            self.blocking.anew(new.block_answer)
        }
    }
}
