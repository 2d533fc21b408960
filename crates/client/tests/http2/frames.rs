//! An origin that speaks frame by frame, as told.
