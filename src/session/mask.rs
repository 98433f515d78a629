use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What of an address is shown to those who may not see who somebody is: the /24 of IPv4, the /48 of IPv6, each as the
/// first address in it. That tells sites apart, and not the persons there.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: &str) {
        assert_eq!(network_of(address.parse().unwrap()).to_string(), expected);
    }

    #[test]
    fn a_masked_address_is_its_network() {
        check("10.1.2.3", "10.1.2.0");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1::");
        check("::1", "::");
        check("::ffff:192.0.2.7", "192.0.2.0");
    }
}
