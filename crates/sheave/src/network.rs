//! Networks whose word is taken about who the client is, in CIDR notation.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// Reads `10.0.0.0/8`, `fd00::/8`, or a single address.
///
/// # Errors
///
/// A sentence that says what would be right.
pub(crate) fn parse(text: &str) -> Result<IpNet, String> {
    let read = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text
            .parse::<IpNet>()
            .map_err(|_| "write a network or an address, such as 10.0.0.0/8, fd00::/8 or 127.0.0.1".to_owned())?,
    };
    let network = read.trunc();
    if network == read { Ok(network) } else { Err(format!("{read} has bits behind its prefix: write {network}")) }
}

/// Whether an address lies in one of the networks; `None` where there is none of them.
pub(crate) fn any_of(networks: &[IpNet]) -> Option<Arc<dyn Fn(IpAddr) -> bool + Send + Sync>> {
    let networks: Box<[IpNet]> = networks.into();
    if networks.is_empty() {
        return None;
    }
    Some(Arc::new(move |address| networks.iter().any(|network| network.contains(&address))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_networks_and_addresses() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("127.0.0.1", "127.0.0.1/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("fd00::/8", "fd00::/8"),
            ("::1", "::1/128"),
        ] {
            assert_eq!(parse(text).expect(text).to_string(), shown);
        }
    }

    #[test]
    fn an_address_lies_in_one_of_them() {
        let networks = ["10.0.0.0/8", "::1"].map(|text| parse(text).expect(text));
        let lies_within = any_of(&networks).expect("there are some");
        for (address, lies) in [("10.1.2.3", true), ("::1", true), ("11.0.0.1", false), ("::2", false)] {
            assert_eq!(lies_within(address.parse().expect(address)), lies, "{address}");
        }
        assert!(any_of(&[]).is_none());
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, part) in [
            ("", "write a network"),
            ("10.0.0.0/33", "write a network"),
            ("10.0.0/8", "write a network"),
            ("localhost", "write a network"),
            ("[::1]", "write a network"),
            ("10.1.2.3/8", "write 10.0.0.0/8"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
