//! What an origin can do wrong, and what is known of the request then.
