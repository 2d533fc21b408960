//! In which order an origin's addresses are tried: families take turns, so that a dead one costs one delay.

use crate::endpoint::Endpoint;

/// The endpoints with their families taking turns, beginning with that of the first one; within a family the order stays.
/// RFC 8305 §4.
pub fn interleaved(endpoints: &[Endpoint]) -> Vec<&Endpoint> {
    let Some(first) = endpoints.first() else { return Vec::new() };
    let is_first_family = |endpoint: &&Endpoint| endpoint.address().is_ipv4() == first.address().is_ipv4();
    let (mut preferred, mut others): (Vec<_>, Vec<_>) = endpoints.iter().partition(is_first_family);
    if others.is_empty() {
        return preferred;
    }
    let turns = preferred.len().min(others.len());
    let rest = [preferred.split_off(turns), others.split_off(turns)].concat();
    preferred.into_iter().zip(others).flat_map(|(one, other)| [one, other]).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn families_take_turns() {
        for (given, tried) in [
            ("", ""),
            ("4a", "4a"),
            ("4a 4b 4c", "4a 4b 4c"),
            ("6a 6b 4a 4b", "6a 4a 6b 4b"),
            ("4a 6a 6b 6c", "4a 6a 6b 6c"),
            ("6a 6b 6c 4a", "6a 4a 6b 6c"),
            ("4a 6a 4b 6b 4c", "4a 6a 4b 6b 4c"),
            ("6a 6b 6c 6d 4a 4b", "6a 4a 6b 4b 6c 6d"),
        ] {
            let endpoint = |name: &str| -> Endpoint {
                let (family, last) = name.split_at(1);
                let text =
                    if family == "4" { format!("192.0.2.{}:80", last.as_bytes()[0]) } else { format!("[::{last}]:80") };
                text.parse::<SocketAddr>().unwrap().into()
            };
            let endpoints = |names: &str| names.split_whitespace().map(endpoint).collect::<Vec<_>>();
            let (given, tried) = (endpoints(given), endpoints(tried));
            assert_eq!(interleaved(&given), tried.iter().collect::<Vec<_>>(), "{given:?}");
        }
    }
}
