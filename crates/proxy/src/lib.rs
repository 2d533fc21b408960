//! A reverse proxy as a library.
