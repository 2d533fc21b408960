//! Heads out of bytes.

use crate::error::ProtocolError;
use crate::head::{RequestHead, ResponseHead};
use crate::limits::Limits;

/// Reads request heads.
#[derive(Debug, Default)]
pub struct RequestReader {}

/// Reads response heads.
#[derive(Debug, Default)]
pub struct ResponseReader {}

impl RequestReader {
    /// A reader before its first byte.
    pub fn new() -> Self {
        Self {}
    }

    /// Takes bytes off the front of `input`; `None` means that all were taken and more are needed.
    pub fn receive(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Option<RequestHead>, ProtocolError> {
        let _ = (input, limits);
        Err(ProtocolError::InvalidRequestLine)
    }

    /// True once a byte of a head has come; leading CRLFs are none.
    pub fn has_begun(&self) -> bool {
        false
    }

    /// The stream ended.
    pub fn finish(&self) -> Result<(), ProtocolError> {
        Ok(())
    }
}

impl ResponseReader {
    /// A reader before its first byte.
    pub fn new() -> Self {
        Self {}
    }

    /// Takes bytes off the front of `input`; `None` means that all were taken and more are needed.
    pub fn receive(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Option<ResponseHead>, ProtocolError> {
        let _ = (input, limits);
        Err(ProtocolError::NotHttp)
    }

    /// True once a byte of a head has come.
    pub fn has_begun(&self) -> bool {
        false
    }

    /// The stream ended.
    pub fn finish(&self) -> Result<(), ProtocolError> {
        Ok(())
    }
}
