//! Who a request comes from, when it comes through proxies.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// The client's address: the peer's, or, when the peer is a trusted proxy, the last address in `X-Forwarded-For` that is none.
/// What stands to the left of that was written by somebody whom nobody vouches for.
pub(super) fn client(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut client = peer.ip().to_canonical();
    let headers: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    let hops = headers.iter().rev().flat_map(|header| header.as_bytes().rsplit(|b| *b == b','));
    for hop in hops {
        if !is_trusted(&client) {
            break;
        }
        // A proxy that writes something else than an address is the last that we know.
        let Some(address) = std::str::from_utf8(hop).ok().and_then(|hop| read(hop.trim())) else {
            break;
        };
        client = address;
    }
    client
}

/// An address, with or without a port, with or without brackets: proxies write all of these.
fn read(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<SocketAddr>().map(|address| address.ip());
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    address.or_else(|_| bare.parse()).ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn seen(peer: &str, forwarded: &[&'static str]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        client(SocketAddr::new(peer.parse().unwrap(), 1), &headers, &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_peer_is_believed() {
        assert_eq!(seen("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(seen("10.1.1.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen("10.1.1.1", &[]), "10.1.1.1");
    }

    #[test]
    fn what_a_client_writes_itself_is_passed_over() {
        assert_eq!(seen("10.1.1.1", &["1.2.3.4, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen("10.1.1.1", &["1.2.3.4", "198.51.100.7, 10.9.9.9"]), "198.51.100.7");
        assert_eq!(seen("10.1.1.1", &["1.2.3.4, rubbish, 10.9.9.9"]), "10.9.9.9");
    }

    #[test]
    fn addresses_come_in_many_spellings() {
        assert_eq!(seen("::ffff:10.1.1.1", &["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(seen("fd00::1", &["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(seen("fd00::1", &["[2001:db8::7]"]), "2001:db8::7");
        assert_eq!(seen("fd00::1", &["::ffff:198.51.100.7"]), "198.51.100.7");
    }
}
