//! The bytes with which a client of HTTP/2 begins, told from a request of HTTP/1. RFC 9113 §3.4

/// What a client of HTTP/2 begins with. Its first line is a request of HTTP/1 for a version that this one does not have, and
/// was made so on purpose.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much of it nothing else begins with: its first line.
const TELLING: usize = b"PRI * HTTP/2.0\r\n".len();

/// How much of the preface has come on a connection, and nothing else.
///
/// It looks on while the bytes are read as a request of HTTP/1, under that one's deadlines, so that it costs such a request
/// nothing: only where its reader fails does it have a say.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Preface {
    seen: u8,
}

impl Preface {
    /// These bytes came, and may be a request of HTTP/1 as well. `None` once they are no preface.
    pub(crate) fn goes_on(self, bytes: &[u8]) -> Option<Self> {
        // More than the preface is no preface any more: its first line would have been refused.
        let seen = u8::try_from(self.seen() + bytes.len()).ok()?;
        self.begins_with(bytes).then_some(Self { seen })
    }

    /// These bytes came, and are no request of HTTP/1. What came before them, if all of it is the preface.
    pub(crate) fn is_it(self, bytes: &[u8]) -> Option<&'static [u8]> {
        let is_it = self.seen() + bytes.len() >= TELLING && self.begins_with(bytes);
        is_it.then(|| &PREFACE[..self.seen()])
    }

    fn seen(self) -> usize {
        usize::from(self.seen).min(PREFACE.len())
    }

    fn begins_with(self, bytes: &[u8]) -> bool {
        let rest = &PREFACE[self.seen()..];
        let len = rest.len().min(bytes.len());
        rest[..len] == bytes[..len]
    }
}

#[cfg(test)]
mod tests {
    use sheave_lifecycle::time::Time;
    use sheave_proto::connection::Connection;
    use sheave_proto::role::Server;

    use super::*;

    /// What is left for HTTP/2 when `bytes` come in pieces of `size`, as a server of HTTP/1 reads them.
    fn found(bytes: &[u8], size: usize) -> Option<Vec<u8>> {
        let mut machine = Connection::<Server>::new(Default::default(), Time::ZERO);
        let mut preface = Some(Preface::default());
        for (place, piece) in bytes.chunks(size).enumerate() {
            let mut input = piece;
            match machine.receive(&mut input, Time::ZERO) {
                Ok(None) => preface = preface.and_then(|preface| preface.goes_on(piece)),
                Ok(Some(_)) => return None,
                Err(_) => {
                    let mut all = preface?.is_it(piece)?.to_vec();
                    bytes.chunks(size).skip(place).for_each(|piece| all.extend_from_slice(piece));
                    return Some(all);
                }
            }
        }
        None
    }

    #[test]
    fn the_preface_is_found_however_it_is_cut_and_nothing_else_is() {
        let whole = [&PREFACE[..], b"\0\0\0\x04\0\0\0\0\0"].concat();
        for size in 1..=whole.len() {
            assert_eq!(found(&whole, size).as_deref(), Some(&whole[..]), "in pieces of {size}");
            for other in [
                &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
                b"GET * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n",
                b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n",
                b"PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"PRI * HTTP/2.0 \r\n\r\nSM\r\n\r\n",
            ] {
                assert_eq!(found(other, size), None, "{} in pieces of {size}", other.escape_ascii());
            }
        }
    }
}
