//! A certificate for localhost: ECDSA with P-256, as most sites have.

use std::error::Error;
use std::fs;
use std::path::Path;

/// Writes `certificate.pem` and `key.pem`.
pub fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(folder.join("certificate.pem"), made.cert.pem())?;
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem())?;
    Ok(())
}
