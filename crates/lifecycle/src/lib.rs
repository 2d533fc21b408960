//! The rules of a connection's life, without I/O and without a clock.
