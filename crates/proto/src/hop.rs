//! What ends at the next hop: Connection's fields removed, Via and Max-Forwards kept.

use crate::error::ProtocolError;
use crate::fields::Fields;
use crate::head::RequestHead;
use crate::version::Version;

/// Removes the hop-by-hop fields (RFC 9110 §7.6.1).
pub fn strip_hop_by_hop(fields: &mut Fields) {
    let _ = fields;
}

/// Appends our entry to Via (RFC 9110 §7.6.3).
pub fn append_via(fields: &mut Fields, version: Version, pseudonym: &str) {
    let _ = (fields, version, pseudonym);
}

/// True when Via names the pseudonym: the message came around in a circle.
pub fn via_contains(fields: &Fields, pseudonym: &str) -> bool {
    let _ = (fields, pseudonym);
    false
}

/// The value of Max-Forwards, for OPTIONS and TRACE (RFC 9110 §7.6.2).
pub fn max_forwards(head: &RequestHead) -> Result<Option<u64>, ProtocolError> {
    let _ = head;
    Ok(None)
}
