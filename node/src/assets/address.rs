//! Which addresses an asset server may have, and the only way in which its name becomes one.
//!
//! Invariant: a connection to an asset server goes to an address that [`Checked`] has let through, because the HTTP client
//! has no other resolver, dials what one look-up returned, and is never given an address in place of a name.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Addresses that share their first bits: `127.0.0.1/32`, `fd00::/8`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// The text is not a network: an address, a slash, and the number of bits that count, those after it zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("write an address, a slash and the length of the prefix, with no bits set after it: 10.1.0.0/16")]
pub struct NetworkError;

impl Network {
    /// Whether `address` is in it. An IPv4 address is in no IPv6 network, nor the other way round.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => in_v4(other, own, self.prefix),
            (IpAddr::V6(own), IpAddr::V6(other)) => in_v6(other, own, self.prefix),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').ok_or(NetworkError)?;
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let prefix: u8 = prefix.parse().map_err(|_| NetworkError)?;
        let (bits, after) = match address {
            IpAddr::V4(v4) => (32, u128::from(v4.to_bits() & !mask_v4(prefix))),
            IpAddr::V6(v6) => (128, v6.to_bits() & !mask_v6(prefix)),
        };
        if prefix > bits || after != 0 {
            return Err(NetworkError);
        }
        Ok(Network { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX
        .checked_shl(128_u32.saturating_sub(prefix.into()))
        .unwrap_or(0)
}

fn in_v4(address: Ipv4Addr, network: Ipv4Addr, prefix: u8) -> bool {
    (address.to_bits() ^ network.to_bits()) & mask_v4(prefix) == 0
}

fn in_v6(address: Ipv6Addr, network: Ipv6Addr, prefix: u8) -> bool {
    (address.to_bits() ^ network.to_bits()) & mask_v6(prefix) == 0
}

/// What IANA's registry of special-purpose IPv4 addresses (RFC 6890) does not call globally reachable, and multicast.
const SPECIAL_V4: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10), // shared by the customers of a carrier
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16), // link-local, and where clouds keep their secrets
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),   // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24), // relays of 6to4
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, and broadcast
];

/// Global unicast (RFC 4291, section 2.4). Outside of it are loopback, link-local, unique local and multicast addresses, and
/// those that hold an IPv4 address: mapped, compatible, translated (64:ff9b::/96, RFC 6052).
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What is in there and is not globally reachable, or hides an IPv4 address that is not checked.
const SPECIAL_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, among them Teredo and benchmarks
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// Whether anybody on the Internet may have this address, and nobody in this network has it for another reason.
#[must_use]
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|(network, prefix)| in_v4(v4, *network, *prefix)),
        IpAddr::V6(v6) => {
            in_v6(v6, GLOBAL_V6.0, GLOBAL_V6.1)
                && !SPECIAL_V6.iter().any(|(network, prefix)| in_v6(v6, *network, *prefix))
        }
    }
}

/// A name has an address that no asset server may have, or none at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    /// One of its addresses is not public, and the configuration does not allow it.
    #[error("{host} has the address {address}, which is not public")]
    NotPublic {
        /// The name.
        host: String,
        /// The first such address.
        address: IpAddr,
    },
    /// It has none.
    #[error("{host} has no address")]
    None {
        /// The name.
        host: String,
    },
}

/// A resolver all of whose answers are addresses that an asset server may have: one that is not, among however many,
/// makes the look-up fail.
pub(crate) struct Checked {
    inner: Arc<dyn Resolve>,
    allowed: Arc<[Network]>,
}

impl Checked {
    /// Asks `inner`, once a look-up. `allowed` are networks that need not be public.
    pub(crate) fn new(inner: Arc<dyn Resolve>, allowed: &[Network]) -> Self {
        Checked {
            inner,
            allowed: allowed.into(),
        }
    }
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let allowed = Arc::clone(&self.allowed);
        let found = self.inner.resolve(name);
        Box::pin(async move {
            let found: Vec<SocketAddr> = found.await?.collect();
            check(&host, &found, &allowed)?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

fn check(host: &str, found: &[SocketAddr], allowed: &[Network]) -> Result<(), Box<dyn Error + Send + Sync>> {
    let host = || host.to_owned();
    if found.is_empty() {
        return Err(AddressError::None { host: host() }.into());
    }
    let may_have = |address: IpAddr| is_public(address) || allowed.iter().any(|network| network.contains(address));
    match found.iter().map(SocketAddr::ip).find(|address| !may_have(*address)) {
        Some(address) => Err(AddressError::NotPublic { host: host(), address }.into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_and_a_prefix() {
        let network: Network = "10.1.0.0/16".parse().unwrap();
        assert!(network.contains("10.1.255.7".parse().unwrap()));
        assert!(!network.contains("10.2.0.0".parse().unwrap()));
        assert!(!network.contains("::ffff:10.1.0.1".parse().unwrap()));
        assert_eq!(network.to_string(), "10.1.0.0/16");
        let network: Network = "fd00::/8".parse().unwrap();
        assert!(network.contains("fdff::1".parse().unwrap()));
        assert!(!network.contains("fe80::1".parse().unwrap()));
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("255.255.255.255".parse().unwrap()));
        let all: Network = "::/0".parse().unwrap();
        assert!(all.contains("ffff::".parse().unwrap()));
        for text in [
            "10.1.0.0",
            "10.1.0.1/16",
            "10.0.0.0/33",
            "::1/129",
            "a/8",
            "10.0.0.0/",
            "/8",
            "10.0.0.0/-1",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError), "{text}");
        }
    }

    /// The first and the last address of each special network are not public, their neighbours are.
    #[test]
    fn special_networks_end_where_they_end() {
        for (network, prefix) in SPECIAL_V4.iter().take(13) {
            let (first, last) = (network.to_bits(), network.to_bits() | !mask_v4(*prefix));
            assert!(!is_public(Ipv4Addr::from_bits(first).into()), "{network}/{prefix}");
            assert!(!is_public(Ipv4Addr::from_bits(last).into()), "{network}/{prefix}");
            assert!(
                is_public(Ipv4Addr::from_bits(last + 1).into()),
                "after {network}/{prefix}"
            );
            if first > 0 {
                assert!(
                    is_public(Ipv4Addr::from_bits(first - 1).into()),
                    "before {network}/{prefix}"
                );
            }
        }
        for (network, prefix) in SPECIAL_V6 {
            let (first, last) = (network.to_bits(), network.to_bits() | !mask_v6(prefix));
            assert!(!is_public(Ipv6Addr::from_bits(first).into()), "{network}/{prefix}");
            assert!(!is_public(Ipv6Addr::from_bits(last).into()), "{network}/{prefix}");
        }
    }

    #[test]
    fn public_addresses_are() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.255.255",
            "172.32.0.0",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
