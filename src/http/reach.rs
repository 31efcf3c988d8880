//! Which addresses a client may connect to.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, SocketAddr};
use url::{Host, Url};

/// Which addresses a client may connect to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    #[default]
    Anywhere,
    /// Not to link-local addresses, where clouds serve the credentials of a machine, and not to unspecified ones.
    NotLinkLocal,
}

impl Reach {
    /// Whether the URL may be requested, as far as it contains an address. Names are checked when they are resolved.
    pub(crate) fn includes(self, url: &Url) -> bool {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) | None => return true,
        };
        self == Reach::Anywhere || !is_link_local(address)
    }
}

/// Addresses of one link, of cloud metadata, and the unspecified address.
fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local() || address.is_unspecified(),
        IpAddr::V6(address) => {
            // The metadata service of AWS.
            let is_metadata = address.segments()[..2] == [0xfd00, 0xec2];
            address.is_unicast_link_local() || address.is_unspecified() || is_metadata
        }
    }
}

/// Resolves names as the system does, and leaves link-local addresses out.
pub(super) struct NotLinkLocal;

impl Resolve for NotLinkLocal {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|found| !is_link_local(found.ip())).collect();
            if allowed.is_empty() {
                let why = format!(
                    "{} has only link-local addresses, which this worker does not call",
                    name.as_str()
                );
                return Err(why.into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_metadata_services_are_left_out_in_every_notation() {
        for (url, is_included) in [
            ("http://169.254.169.254/v1", false),
            ("http://0xa9fea9fe/v1", false),
            ("http://2852039166/v1", false),
            ("http://[::ffff:169.254.169.254]/v1", false),
            ("http://[fe80::1]/v1", false),
            ("http://[fd00:ec2::254]/v1", false),
            ("http://0.0.0.0:8000/v1", false),
            ("http://[::]/v1", false),
            ("http://127.0.0.1:8000/v1", true),
            ("http://10.0.0.1/v1", true),
            ("http://[fd00::1]/v1", true),
            ("https://api.openai.com/v1", true),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(Reach::NotLinkLocal.includes(&url), is_included, "{url}");
            assert!(Reach::Anywhere.includes(&url));
        }
    }
}
