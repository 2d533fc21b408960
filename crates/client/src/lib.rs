//! An HTTP client with a pool that hands out no dead connection.
