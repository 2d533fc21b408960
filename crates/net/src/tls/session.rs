//! One side of a TLS connection as rustls keeps it, without a buffer: bytes go through as they lie.

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedConnectionCommon, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{CommonState, Error, ProtocolVersion};

/// Either side's connection. Kept in place: whoever holds it is boxed already.
pub(super) enum Session {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// Ciphertext that goes out, appended in a buffer that stays as long as it has become.
pub(super) struct Sealed {
    buffer: Vec<u8>,
    len: usize,
    /// Where small parts of content are joined to one record.
    pub(super) joined: Vec<u8>,
}

impl Sealed {
    pub(super) const fn new() -> Self {
        Self { buffer: Vec::new(), len: 0, joined: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Appends what `write` writes; it says how much room it needs, if there is too little.
    fn append<E>(
        &mut self,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
        needs: impl Fn(&E) -> Option<usize>,
    ) -> Result<(), E> {
        loop {
            match write(&mut self.buffer[self.len..]) {
                Ok(len) => {
                    self.len += len;
                    return Ok(());
                }
                Err(error) => match needs(&error) {
                    Some(required) if self.buffer.len() < self.len + required => {
                        self.buffer.resize(self.len + required, 0);
                    }
                    _ => return Err(error),
                },
            }
        }
    }
}

/// What is to be done with a connection, beside processing what came in.
#[derive(Clone, Copy)]
pub(super) enum Job<'a> {
    /// Nothing.
    Receive,
    /// Encrypt content.
    Send(&'a [u8]),
    /// Say that no more will be sent.
    Close,
}

/// What came of it.
pub(super) struct Processed {
    /// So many bytes of what came in are done with; the rest is to be shown again, with what follows it.
    pub(super) consumed: usize,
    /// The peer has said that no more will come.
    pub(super) is_closed: bool,
    /// Whether the job could be done; content cannot be sent before the handshake is over.
    pub(super) is_done: bool,
    /// Why the connection is of no more use.
    pub(super) error: Option<Error>,
}

/// rustls' own step: from one state of a connection to the next.
type Step<D> = for<'c, 'i> fn(&'c mut UnbufferedConnectionCommon<D>, &'i mut [u8]) -> UnbufferedStatus<'c, 'i, D>;

fn process<D>(
    connection: &mut UnbufferedConnectionCommon<D>,
    step: Step<D>,
    received: &mut [u8],
    job: Job<'_>,
    plain: &mut dyn FnMut(&[u8]),
    sealed: &mut Sealed,
) -> Processed {
    let mut consumed = 0;
    let mut is_closed = false;
    let end = loop {
        let UnbufferedStatus { mut discard, state } = step(connection, &mut received[consumed..]);
        let end = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                match traffic.next_record() {
                    Some(Ok(record)) => {
                        discard += record.discard;
                        plain(record.payload);
                    }
                    Some(Err(error)) => break Some(Err(error)),
                    None => break None,
                }
            },
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, sealed).err().map(Err),
            Ok(ConnectionState::TransmitTlsData(data)) => {
                // It lies in `sealed`, which is sent before anything else is.
                data.done();
                None
            }
            Ok(ConnectionState::PeerClosed) => {
                is_closed = true;
                None
            }
            Ok(ConnectionState::WriteTraffic(traffic)) => Some(write(traffic, job, sealed).map(|()| true)),
            Ok(ConnectionState::Closed | ConnectionState::BlockedHandshake) => Some(Ok(false)),
            // Early data is neither offered nor accepted, and other states are of versions to come.
            Ok(_) => Some(Err(Error::General("a state that nobody asked for".to_owned()))),
            Err(error) => Some(Err(error)),
        };
        consumed += discard;
        if let Some(end) = end {
            break end;
        }
    };
    let (is_done, error) = match end {
        Ok(is_done) => (is_done, None),
        Err(error) => (false, Some(error)),
    };
    // The alert that tells the peer why. Nothing else is processed after an error.
    while error.is_some() && connection.wants_write() {
        let UnbufferedStatus { state, .. } = step(connection, &mut received[consumed..]);
        let Ok(ConnectionState::EncodeTlsData(data)) = state else { break };
        if encode(data, sealed).is_err() {
            break;
        }
    }
    Processed { consumed, is_closed, is_done, error }
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, sealed: &mut Sealed) -> Result<(), Error> {
    let needs = |error: &EncodeError| match error {
        EncodeError::InsufficientSize(size) => Some(size.required_size),
        EncodeError::AlreadyEncoded => None,
    };
    sealed.append(|room| data.encode(room), needs).map_err(|error| Error::General(error.to_string()))
}

fn write<D>(mut traffic: WriteTraffic<'_, D>, job: Job<'_>, sealed: &mut Sealed) -> Result<(), Error> {
    let needs = |error: &EncryptError| match error {
        EncryptError::InsufficientSize(size) => Some(size.required_size),
        EncryptError::EncryptExhausted => None,
    };
    let written = match job {
        Job::Receive => return Ok(()),
        Job::Send(content) => sealed.append(|room| traffic.encrypt(content, room), needs),
        Job::Close => sealed.append(|room| traffic.queue_close_notify(room), needs),
    };
    written.map_err(|error| Error::General(error.to_string()))
}

impl Session {
    /// Processes `received` (in place) and does the `job`. Content goes to `plain`, what must be sent to `sealed`.
    ///
    /// `received` begins with whatever was left over from the last call: rustls remembers what it saw of it.
    pub(super) fn process(
        &mut self,
        received: &mut [u8],
        job: Job<'_>,
        plain: &mut dyn FnMut(&[u8]),
        sealed: &mut Sealed,
    ) -> Processed {
        match self {
            Self::Server(connection) => process::<ServerConnectionData>(
                connection,
                UnbufferedConnectionCommon::<ServerConnectionData>::process_tls_records,
                received,
                job,
                plain,
                sealed,
            ),
            Self::Client(connection) => process::<ClientConnectionData>(
                connection,
                UnbufferedConnectionCommon::<ClientConnectionData>::process_tls_records,
                received,
                job,
                plain,
                sealed,
            ),
        }
    }

    /// What both sides' connections know.
    pub(super) fn common(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }

    pub(super) fn is_client(&self) -> bool {
        matches!(self, Self::Client(_))
    }

    /// `TLSv1.2` or `TLSv1.3`, once that is known.
    pub(super) fn version(&self) -> &'static str {
        match self.common().protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "unknown",
        }
    }
}
