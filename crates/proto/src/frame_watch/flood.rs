//! What a peer can send too much of, by name.

use std::fmt;

use sheave_lifecycle::close::CloseReason;

macro_rules! floods {
    ( $( $(#[$doc:meta])* $variant:ident = $label:literal, $sentence:literal; )+ ) => {
        /// What a peer sent too much of. The connection ends with ENHANCE_YOUR_CALM. RFC 9113 §10.5
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum Flood {
            $( $(#[$doc])* $variant, )+
        }

        impl Flood {
            /// All floods.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// A name that stays stable for ever: for metrics and logs.
            pub const fn label(self) -> &'static str {
                match self { $( Self::$variant => $label, )+ }
            }
        }

        impl fmt::Display for Flood {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $( Self::$variant => $sentence, )+ })
            }
        }

        impl std::error::Error for Flood {}
    };
}

floods! {
    /// Streams that it opened and reset (CVE-2023-44487).
    RapidReset = "rapid-reset", "the peer resets too many streams";
    /// Streams in which it broke a rule, so that we reset them (CVE-2025-8671).
    MadeYouReset = "made-you-reset", "the peer makes us reset too many streams";
    /// Streams beyond as many as it may have.
    RefusedStreams = "refused-streams", "the peer opens too many streams at once, again and again";
    /// CONTINUATION frames of one head (CVE-2024-27316 and its kin).
    Continuation = "continuation", "a head has too many CONTINUATION frames";
    /// Bytes of one head as it is compressed.
    HeadBlock = "head-block", "a head has too many bytes";
    /// SETTINGS (CVE-2019-9515).
    Settings = "settings", "there are too many SETTINGS";
    /// PING (CVE-2019-9512).
    Ping = "ping", "there are too many PINGs";
    /// PRIORITY or PRIORITY_UPDATE (CVE-2019-9513).
    Priority = "priority", "there are too many changes of priority";
    /// DATA without content (CVE-2019-9518).
    EmptyFrames = "empty-frames", "there are too many frames of DATA without content";
    /// WINDOW_UPDATE (CVE-2019-9511).
    WindowUpdate = "window-update", "there are too many WINDOW_UPDATEs for what they let through";
    /// Frames of unknown types, and GOAWAY.
    UnknownFrames = "unknown-frames", "there are too many frames of unknown types";
    /// PING and SETTINGS whose acknowledgements it does not read.
    Unanswered = "unanswered", "too many answers wait for the peer to read them";
}

/// What a framing layer writes into the debug data of its GOAWAY, and what it means by it: those of the h2 crate.
const TOLD: [(&[u8], Flood); 5] = [
    (b"too_many_resets", Flood::RapidReset),
    (b"too_many_internal_resets", Flood::MadeYouReset),
    (b"too_many_data_frames", Flood::EmptyFrames),
    (b"too_many_continuations", Flood::Continuation),
    (b"header_list_way_too_large", Flood::HeadBlock),
];

impl Flood {
    /// What the framing layer means by a GOAWAY with ENHANCE_YOUR_CALM that is in `sent`, where it says more than that. Its
    /// own errors do not.
    pub(crate) fn told_in(sent: &[u8]) -> Option<Self> {
        let is_in = |told: &[u8]| sent.windows(told.len()).any(|window| window == told);
        TOLD.iter().find(|(told, _)| is_in(told)).map(|(_, flood)| *flood)
    }
}

impl From<Flood> for CloseReason {
    fn from(flood: Flood) -> Self {
        Self::Flooded(flood.label())
    }
}
