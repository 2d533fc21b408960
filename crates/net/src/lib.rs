//! Sockets, timers and the kernel for sheave.
