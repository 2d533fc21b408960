//! The workers' pools, as one for whoever looks on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sheave_client::pool::Pool;
use sheave_client::stats::AddressState;
use sheave_net::dial::Connect;

/// What one pool has of each address.
type Ask = Box<dyn Fn() -> Vec<AddressState> + Send>;

/// The pools of all workers. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Pools(Arc<Mutex<Vec<Ask>>>);

impl Pools {
    /// A worker's pool is there.
    pub(crate) fn add<C: Connect + 'static>(&self, pool: &Arc<Pool<C>>) {
        // A worker that has ended takes its pool with it.
        let pool = Arc::downgrade(pool);
        let ask = move || pool.upgrade().map(|pool| pool.addresses()).unwrap_or_default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(ask));
    }

    /// What all of them have of each address together, sorted.
    pub(crate) fn addresses(&self) -> Vec<AddressState> {
        let pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = BTreeMap::new();
        for state in pools.iter().flat_map(|ask| ask()) {
            // By address first, so that they are sorted by number and not by letter.
            match all.entry((state.site.address(), state.site.to_string())) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(state);
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => entry.get_mut().merge(&state),
            }
        }
        all.into_values().collect()
    }
}
