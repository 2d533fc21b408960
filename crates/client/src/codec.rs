//! The codings that are compiled in, behind one interface.

use std::io;

use compression_codecs::DecodeV2;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};

use crate::decode::{Codec, Coding};

/// RFC 8878, with the window that RFC 9659 allows on the web: 8 MiB of memory.
#[cfg(feature = "zstd")]
pub(crate) const ZSTD: Coding = Coding {
    name: "zstd",
    decoder: || {
        let window = compression_codecs::zstd::params::DParameter::window_log_max(23);
        Box::new(Many(compression_codecs::ZstdDecoder::new_with_params(&[window])))
    },
};

/// RFC 7932. Its window is 16 MiB of memory at most.
#[cfg(feature = "brotli")]
pub(crate) const BROTLI: Coding =
    Coding { name: "br", decoder: || Box::new(One(compression_codecs::BrotliDecoder::new())) };

/// RFC 1952: one member after another. 32 KiB of memory.
#[cfg(feature = "gzip")]
pub(crate) const GZIP: Coding =
    Coding { name: "gzip", decoder: || Box::new(Many(compression_codecs::GzipDecoder::new())) };

/// Whose end may be followed by another beginning.
#[cfg(any(feature = "gzip", feature = "zstd"))]
struct Many<D>(D);

/// Whose end is the end.
#[cfg(feature = "brotli")]
struct One<D>(D);

fn decode(decoder: &mut impl DecodeV2, input: &mut &[u8], output: &mut [u8]) -> io::Result<(usize, bool)> {
    let (mut from, mut into) = (PartialBuffer::new(*input), WriteBuffer::new_initialized(output));
    let decoded = decoder.decode(&mut from, &mut into);
    let written = into.written_len();
    *input = &input[from.written_len()..];
    match decoded {
        Ok(is_end) => Ok((written, is_end)),
        // What was decoded before is good.
        Err(_) if written > 0 => Ok((written, false)),
        Err(error) => Err(error),
    }
}

#[cfg(any(feature = "gzip", feature = "zstd"))]
impl<D: DecodeV2 + Send + Sync> Codec for Many<D> {
    fn decode(&mut self, input: &mut &[u8], output: &mut [u8]) -> io::Result<(usize, bool)> {
        decode(&mut self.0, input, output)
    }

    fn restart(&mut self) -> io::Result<()> {
        self.0.reinit()
    }
}

#[cfg(feature = "brotli")]
impl<D: DecodeV2 + Send + Sync> Codec for One<D> {
    fn decode(&mut self, input: &mut &[u8], output: &mut [u8]) -> io::Result<(usize, bool)> {
        decode(&mut self.0, input, output)
    }

    fn restart(&mut self) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::InvalidData, "bytes follow its end"))
    }
}
