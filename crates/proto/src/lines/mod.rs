//! Lines of heads and trailer sections, read in one way only.

mod field_line;
mod scan;
mod section;

pub(crate) use scan::At;
pub(crate) use section::{Bounds, Section, StartLine};
