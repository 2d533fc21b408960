//! An HTTP server whose connections end well.
