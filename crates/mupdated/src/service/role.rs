//! `-a`: master where `mupdate_server` is this host, else slave.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use slave::Upstream;

/// Whether one of the addresses of `upstream` belongs to an interface of this host, the loopback
/// interface aside.
///
/// # Errors
///
/// When the name can't be resolved now. Cyrus is a slave then; but a master that comes up as a slave
/// because the name service was away is no master for anybody.
pub(crate) async fn is_here(upstream: &Upstream) -> io::Result<bool> {
    let target = (upstream.host.as_str(), upstream.port);
    let resolved: Vec<SocketAddr> = tokio::net::lookup_host(target).await?.collect();
    let own = own_addresses()?;
    Ok(resolved.iter().any(|address| own.contains(&address.ip())))
}

fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let interfaces = getifaddrs()?.filter(|interface| {
        interface.flags.contains(InterfaceFlags::IFF_UP)
            && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    });
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    Ok(interfaces.filter_map(address).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn here(text: &str) -> bool {
        is_here(&text.parse().unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn the_loopback_interface_is_not_this_host() {
        assert!(!here("127.0.0.1").await);
        assert!(!here("127.0.0.1:3906").await);
        assert!(!here("[::1]:3906/tls").await);
    }

    #[tokio::test]
    async fn own_addresses_are_with_and_without_a_port() {
        for address in own_addresses().unwrap() {
            let bare = address.to_string();
            if bare.starts_with("fe80") {
                continue;
            }
            assert!(here(&bare).await, "{bare}");
            let with_port = SocketAddr::new(address, 3906).to_string();
            assert!(here(&with_port).await, "{with_port}");
        }
        assert!(!here("192.0.2.77:3905").await);
    }
}
