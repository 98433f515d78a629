//! The PROXY protocol, versions 1 and 2: what a proxy says of its client before the client's own first byte.

use std::{io, net::IpAddr};

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::address::Peer;
use crate::config::TrustedProxies;

/// The longest header of version 1, its line end included.
const MAX_V1: usize = 107;
/// The longest header of version 2 that is taken: addresses and the extensions of any proxy fit many times.
const MAX_V2: usize = 4096;
/// Every header of version 1 is longer than this, and every one of version 2 begins with so many known bytes.
const SIGNATURE: usize = 12;
/// The part of a version 2 header that tells the length of the rest.
const V2_FIXED: usize = 16;

/// Reads the header that this proxy must begin with, and not a byte more; answers who sends what comes after it.
///
/// # Errors
///
/// What the proxy sent is no header, or is too long; or the connection failed. It is not to be gone on with.
pub(super) async fn read<S>(stream: &mut S, proxy: Peer, trusted: &TrustedProxies) -> io::Result<Peer>
where
    S: AsyncRead + Unpin,
{
    let mut header = vec![0; SIGNATURE];
    stream.read_exact(&mut header).await?;
    let announced = if header == v2::PROTOCOL_PREFIX {
        read_v2(stream, header).await?
    } else if header.starts_with(b"PROXY ") {
        read_v1(stream, header).await?
    } else {
        return Err(bad("no PROXY protocol header came"));
    };
    Ok(match announced {
        Announced::Client(address) => {
            Peer { connected_from: proxy.connected_from, ..Peer::at(address, trusted) }
        }
        Announced::Itself => proxy,
        // It is somebody, so the proxy's own name and address are the best we have, but its headers are anybody's.
        Announced::Somebody => Peer { is_trusted: false, ..proxy },
    })
}

/// For whom a proxy connects.
#[derive(Debug, PartialEq, Eq)]
enum Announced {
    /// The client of this address.
    Client(IpAddr),
    /// Nobody: it looks whether we are well.
    Itself,
    /// Somebody of whom it knows no address.
    Somebody,
}

/// Byte by byte, since what comes after the line end is not ours to take: a hundred cheap reads, once a connection.
async fn read_v1<S: AsyncRead + Unpin>(stream: &mut S, mut header: Vec<u8>) -> io::Result<Announced> {
    while !header.ends_with(b"\r\n") {
        if header.len() == MAX_V1 {
            return Err(bad("a PROXY protocol header of version 1 is too long"));
        }
        header.push(stream.read_u8().await?);
    }
    let header = v1::Header::try_from(&*header).map_err(bad)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(addresses) => Announced::Client(addresses.source_address.into()),
        v1::Addresses::Tcp6(addresses) => Announced::Client(addresses.source_address.into()),
        v1::Addresses::Unknown => Announced::Somebody,
    })
}

async fn read_v2<S: AsyncRead + Unpin>(stream: &mut S, mut header: Vec<u8>) -> io::Result<Announced> {
    /// Version 2, command LOCAL.
    const LOCAL: u8 = 0x20;
    header.resize(V2_FIXED, 0);
    stream.read_exact(&mut header[SIGNATURE..]).await?;
    let length = V2_FIXED + usize::from(u16::from_be_bytes([header[14], header[15]]));
    if length > MAX_V2 {
        return Err(bad("a PROXY protocol header of version 2 is too long"));
    }
    header.resize(length, 0);
    stream.read_exact(&mut header[V2_FIXED..]).await?;
    // Whatever else a LOCAL header says is to be ignored, its address family among it.
    if header[SIGNATURE] == LOCAL {
        return Ok(Announced::Itself);
    }
    let header = v2::Header::try_from(&*header).map_err(bad)?;
    Ok(match (header.protocol, header.addresses) {
        (v2::Protocol::Stream, v2::Addresses::IPv4(addresses)) => {
            Announced::Client(addresses.source_address.into())
        }
        (v2::Protocol::Stream, v2::Addresses::IPv6(addresses)) => {
            Announced::Client(addresses.source_address.into())
        }
        _ => Announced::Somebody,
    })
}

fn bad(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who sends what comes after these bytes of a proxy at 10.0.0.1, and what of them was left unread.
    fn after(bytes: &[u8]) -> (Result<Peer, io::ErrorKind>, Vec<u8>) {
        let trusted = TrustedProxies::read(&["10.0.0.0/8"]).unwrap();
        let proxy = Peer::at("10.0.0.1".parse().unwrap(), &trusted);
        let mut stream = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let peer = runtime.block_on(read(&mut stream, proxy, &trusted)).map_err(|error| error.kind());
        (peer, stream.to_vec())
    }

    #[track_caller]
    fn check(header: &[u8], address: &str, is_trusted: bool) {
        let bytes = [header, b"GET"].concat();
        let (peer, rest) = after(&bytes);
        let [address, connected_from] = [address, "10.0.0.1"].map(|address| address.parse().unwrap());
        let expected = Peer { address, is_trusted, connected_from };
        assert_eq!((peer, &*rest), (Ok(expected), &b"GET"[..]), "{:?}", String::from_utf8_lossy(header));
    }

    #[track_caller]
    fn fails(bytes: &[u8], expected: io::ErrorKind) {
        let (peer, _) = after(bytes);
        assert_eq!(peer, Err(expected), "{:?}", String::from_utf8_lossy(bytes));
    }

    fn v2_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, rest].concat()
    }

    const V4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];

    #[test]
    fn version_1_names_the_client() {
        check(b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n", "203.0.113.7", false);
        check(b"PROXY TCP4 10.9.9.9 10.0.0.1 4711 80\r\n", "10.9.9.9", true);
        check(b"PROXY TCP6 2001:db8::7 fd00::1 4711 80\r\n", "2001:db8::7", false);
        check(b"PROXY TCP6 ::ffff:203.0.113.7 fd00::1 1 2\r\n", "203.0.113.7", false);
        let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        check(format!("PROXY TCP6 {full} {full} 65535 65535\r\n").as_bytes(), full, false);
    }

    #[test]
    fn of_an_unknown_client_the_proxy_s_address_is_kept_and_its_headers_are_not_trusted() {
        check(b"PROXY UNKNOWN\r\n", "10.0.0.1", false);
        check(b"PROXY UNKNOWN 203.0.113.7 10.0.0.1 4711 80\r\n", "10.0.0.1", false);
        check(&v2_header(0x21, 0x00, b""), "10.0.0.1", false);
        check(&v2_header(0x21, 0x00, &[1, 2, 3]), "10.0.0.1", false);
        check(&v2_header(0x21, 0x31, &[0; 216]), "10.0.0.1", false);
        check(&v2_header(0x21, 0x12, &V4), "10.0.0.1", false);
    }

    #[test]
    fn version_2_names_the_client() {
        check(&v2_header(0x21, 0x11, &V4), "203.0.113.7", false);
        check(&v2_header(0x21, 0x11, &[&V4[..], &[4, 0, 1, 42]].concat()), "203.0.113.7", false);
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        v6[15] = 7;
        check(&v2_header(0x21, 0x21, &v6), "2001:db8::7", false);
        check(
            &v2_header(0x21, 0x11, &[&V4[..], &[0; MAX_V2 - V2_FIXED - 12]].concat()),
            "203.0.113.7",
            false,
        );
    }

    #[test]
    fn a_proxy_that_connects_for_itself_is_itself() {
        check(&v2_header(0x20, 0x00, b""), "10.0.0.1", true);
        check(&v2_header(0x20, 0x11, b""), "10.0.0.1", true);
        check(&v2_header(0x20, 0x11, &V4), "10.0.0.1", true);
    }

    #[test]
    fn what_is_no_header_is_not_gone_on_with() {
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat();
        let v2_long = v2_header(0x21, 0x11, &[0; MAX_V2 - V2_FIXED + 1]);
        for bytes in [
            &b"GET /ws/p HTTP/1.1\r\n\r\n"[..],
            b"proxy tcp4 203.0.113.7 10.0.0.1 4711 80\r\n",
            b"PROXY\tTCP4 203.0.113.7 10.0.0.1 4711 80\r\n",
            b"PROXY TCP4 203.0.113.7\r\n",
            b"PROXY TCP4 203.0.113.777 10.0.0.1 4711 80\r\n",
            b"PROXY TCP4 2001:db8::7 fd00::1 4711 80\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 99999 80\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80 x\r\n",
            b"PROXY UDP4 203.0.113.7 10.0.0.1 4711 80\r\n",
            b"PROXY TCP4 \xff\xff\xff\xff\r\n",
            &long,
            &v2_header(0x11, 0x11, &V4),
            &v2_header(0x22, 0x11, &V4),
            &v2_header(0x21, 0x41, &V4),
            &v2_header(0x21, 0x13, &V4),
            &v2_header(0x21, 0x11, &V4[..11]),
            &v2_header(0x21, 0x21, &V4),
            &v2_long,
        ] {
            fails(bytes, InvalidData);
        }
        let whole = v2_header(0x21, 0x11, &V4);
        for cut in [0, 11, 12, 15, 16, 27] {
            fails(&whole[..cut], UnexpectedEof);
        }
        fails(b"PROXY TCP4 203.0.113.7", UnexpectedEof);
    }
}
