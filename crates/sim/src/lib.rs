//! A simulated network with faults at every byte boundary, for tests.
