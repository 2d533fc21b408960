//! HTTP/1 as a sans-IO engine, both roles.
