//! What inherited descriptors are called, as systemd's `LISTEN_FDNAMES` has it.

/// What a listening socket is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Clients' requests.
    Clients,
    /// The admin pages.
    Admin,
}

/// What a descriptor is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Name {
    /// A listening socket.
    Listening {
        /// What for.
        purpose: Purpose,
        /// It was bound by a sheave, this one's predecessor or one before: nobody but its successors listens on it. If
        /// not, it belongs to whoever activated us.
        is_ours: bool,
    },
    /// The connection to a predecessor, over which each says how far it is.
    Line,
}

// Our own names begin with ours: a unit's `FileDescriptorName=` is a person's choice.
const CLIENTS: &str = "sheave-clients";
const ADMIN: &str = "sheave-admin";
const ACTIVATED_CLIENTS: &str = "sheave-activated-clients";
const ACTIVATED_ADMIN: &str = "sheave-activated-admin";
const LINE: &str = "sheave-line";

impl Name {
    /// As it is written, by us for our successor.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Listening { purpose: Purpose::Clients, is_ours: true } => CLIENTS,
            Self::Listening { purpose: Purpose::Admin, is_ours: true } => ADMIN,
            Self::Listening { purpose: Purpose::Clients, is_ours: false } => ACTIVATED_CLIENTS,
            Self::Listening { purpose: Purpose::Admin, is_ours: false } => ACTIVATED_ADMIN,
            Self::Line => LINE,
        }
    }

    /// As it is read. Whatever is not called otherwise is for clients, and whoever activated us owns it.
    pub(crate) fn read(text: &str) -> Self {
        match text {
            CLIENTS => Self::Listening { purpose: Purpose::Clients, is_ours: true },
            ADMIN => Self::Listening { purpose: Purpose::Admin, is_ours: true },
            ACTIVATED_ADMIN | "admin" => Self::Listening { purpose: Purpose::Admin, is_ours: false },
            LINE => Self::Line,
            _ => Self::Listening { purpose: Purpose::Clients, is_ours: false },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_write_we_read() {
        for purpose in [Purpose::Clients, Purpose::Admin] {
            for is_ours in [true, false] {
                let name = Name::Listening { purpose, is_ours };
                assert_eq!(Name::read(name.as_str()), name);
            }
        }
        assert_eq!(Name::read(Name::Line.as_str()), Name::Line);
    }

    #[test]
    fn what_a_unit_calls_its_sockets() {
        let clients = Name::Listening { purpose: Purpose::Clients, is_ours: false };
        for name in ["", "unknown", "sheave.socket", "http", "Admin"] {
            assert_eq!(Name::read(name), clients, "{name}");
        }
        assert_eq!(Name::read("admin"), Name::Listening { purpose: Purpose::Admin, is_ours: false });
    }
}
