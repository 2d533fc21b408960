//! One listening socket for all workers, and connections spread evenly over them.

mod inbox;
mod listener;
mod load;
mod socket;

pub use listener::{BalancedListener, Place, share};
pub use load::Loads;
pub use socket::CountedSocket;
