//! One listening socket for all workers, and connections spread evenly over them.

mod inbox;
mod listener;
mod load;
mod socket;

pub(crate) use listener::{BalancedListener, Place, share};
pub(crate) use load::Loads;
pub(crate) use socket::CountedSocket;
