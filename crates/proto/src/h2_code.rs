//! The error codes of HTTP/2, and which one says what a connection or a stream ended for.

use sheave_lifecycle::close::CloseReason;

macro_rules! codes {
    ( $( $(#[$doc:meta])* $variant:ident = $code:literal, $label:literal; )+ ) => {
        /// Why a side ends a stream (RST_STREAM) or a connection (GOAWAY). RFC 9113 §7
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum ErrorCode {
            $( $(#[$doc])* $variant, )+
        }

        impl ErrorCode {
            /// All codes, in the order of their numbers.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// Its number on the wire.
            pub const fn number(self) -> u32 {
                match self { $( Self::$variant => $code, )+ }
            }

            /// The code of this number. An unknown one means what INTERNAL_ERROR does (RFC 9113 §7).
            pub const fn of(number: u32) -> Self {
                match number { $( $code => Self::$variant, )+ _ => Self::Internal }
            }

            /// A name that stays stable for ever: for metrics and logs.
            pub const fn label(self) -> &'static str {
                match self { $( Self::$variant => $label, )+ }
            }
        }
    };
}

codes! {
    /// No error: a graceful end, or a response that is whole before its request.
    None = 0x0, "no-error";
    /// A rule of the protocol was broken.
    Protocol = 0x1, "protocol-error";
    /// Something failed in the sender.
    Internal = 0x2, "internal-error";
    /// More bytes than the window allowed.
    FlowControl = 0x3, "flow-control-error";
    /// SETTINGS were not acknowledged in time.
    SettingsTimeout = 0x4, "settings-timeout";
    /// A frame for a stream that is half closed or closed.
    StreamClosed = 0x5, "stream-closed";
    /// A frame of a size that it cannot have.
    FrameSize = 0x6, "frame-size-error";
    /// The stream was not looked at: its request can be sent again.
    RefusedStream = 0x7, "refused-stream";
    /// The stream is of no more use to the sender.
    Cancel = 0x8, "cancel";
    /// The field compression lost its state.
    Compression = 0x9, "compression-error";
    /// The connection behind a CONNECT was reset or failed.
    Connect = 0xa, "connect-error";
    /// The peer behaves in a way that could cause excessive load.
    EnhanceYourCalm = 0xb, "enhance-your-calm";
    /// The transport is not as secure as it must be.
    InadequateSecurity = 0xc, "inadequate-security";
    /// The sender wants HTTP/1.1 instead.
    Http11Required = 0xd, "http-1-1-required";
}

impl ErrorCode {
    /// What a GOAWAY says of a connection that ends for this reason.
    pub const fn of_connection(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Flooded(_) => Self::EnhanceYourCalm,
            CloseReason::Protocol(_) | CloseReason::UnaskedBytes | CloseReason::Truncated => Self::Protocol,
            CloseReason::Local(_) | CloseReason::Bug(_) | CloseReason::HandlerPanicked => Self::Internal,
            _ => Self::None,
        }
    }

    /// What a RST_STREAM says of a stream that ends for this reason. `is_tunnel` where it stands for a connection.
    pub const fn of_stream(reason: CloseReason, is_tunnel: bool) -> Self {
        match reason {
            // RFC 9113 §8.5: what befalls the connection behind a tunnel.
            CloseReason::PeerReset(_) | CloseReason::PeerUnreachable(_) | CloseReason::Truncated if is_tunnel => {
                Self::Connect
            }
            // RFC 9113 §8.1: a response that is whole needs no more of its request.
            CloseReason::Agreed | CloseReason::EarlyResponse => Self::None,
            CloseReason::Protocol(_) | CloseReason::UnaskedBytes => Self::Protocol,
            CloseReason::Flooded(_) => Self::EnhanceYourCalm,
            CloseReason::Refused(_) => Self::RefusedStream,
            CloseReason::HandlerFailed
            | CloseReason::HandlerPanicked
            | CloseReason::Local(_)
            | CloseReason::Bug(_)
            | CloseReason::Truncated => Self::Internal,
            _ => Self::Cancel,
        }
    }

    /// Whether the peer of whoever sent this in a RST_STREAM had done something that calls for it, and did not only stop to
    /// be waited for.
    pub const fn is_provoked(self) -> bool {
        matches!(self, Self::Protocol | Self::FlowControl | Self::StreamClosed | Self::FrameSize | Self::Compression)
    }
}

#[cfg(test)]
mod tests {
    use sheave_lifecycle::deadline::Timer;
    use sheave_lifecycle::errno::{Errno, IoFault, Op};

    use super::*;

    #[test]
    fn numbers_are_those_of_the_registry() {
        for (number, code) in (0..).zip(ErrorCode::ALL) {
            assert_eq!((code.number(), ErrorCode::of(number)), (number, *code));
        }
        assert_eq!(ErrorCode::of(14), ErrorCode::Internal);
        assert_eq!(ErrorCode::of(u32::MAX), ErrorCode::Internal);
    }

    #[test]
    fn what_an_end_says_to_the_peer() {
        let reset = CloseReason::from_fault(IoFault { op: Op::Read, errno: Errno::ECONNRESET });
        for (reason, connection, stream, tunnel) in [
            (CloseReason::Agreed, 0x0, 0x0, 0x0),
            (CloseReason::EarlyResponse, 0x0, 0x0, 0x0),
            (CloseReason::Drained, 0x0, 0x8, 0x8),
            (CloseReason::DrainForced, 0x0, 0x8, 0x8),
            (CloseReason::MaxAge, 0x0, 0x8, 0x8),
            (CloseReason::TimedOut(Timer::BodyRead), 0x0, 0x8, 0x8),
            (CloseReason::OtherSide, 0x0, 0x8, 0x8),
            (CloseReason::Cancelled, 0x0, 0x8, 0x8),
            (CloseReason::Refused("exchanges"), 0x0, 0x7, 0x7),
            (CloseReason::Flooded("ping"), 0xb, 0xb, 0xb),
            (CloseReason::Protocol("x"), 0x1, 0x1, 0x1),
            (CloseReason::Truncated, 0x1, 0x2, 0xa),
            (reset, 0x0, 0x8, 0xa),
            (CloseReason::HandlerFailed, 0x0, 0x2, 0x2),
            (CloseReason::HandlerPanicked, 0x2, 0x2, 0x2),
            (CloseReason::Bug("x"), 0x2, 0x2, 0x2),
        ] {
            assert_eq!(ErrorCode::of_connection(reason).number(), connection, "{reason}");
            assert_eq!(ErrorCode::of_stream(reason, false).number(), stream, "{reason}");
            assert_eq!(ErrorCode::of_stream(reason, true).number(), tunnel, "{reason}");
        }
    }

    #[test]
    fn some_resets_are_the_peers_own_doing() {
        let provoked: Vec<_> =
            ErrorCode::ALL.iter().filter(|code| code.is_provoked()).map(|code| code.label()).collect();
        let expected =
            ["protocol-error", "flow-control-error", "stream-closed", "frame-size-error", "compression-error"];
        assert_eq!(provoked, expected);
    }
}
