//! How requests get to a server, and what stands in the way: a proxy, TLS, a port without HTTP.

use super::{chain, shorten};
use crate::error_causes::causes;
use crate::tls;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;
use std::fmt;

/// The variables that exempt hosts from proxies. The first one that is set counts.
const EXEMPT: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The way to one server.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// Without port, for messages.
    host: String,
    is_encrypted: bool,
    proxy: Option<Proxy>,
}

/// The proxy that the environment names for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Proxy {
    /// Without user and password.
    address: String,
    variable: &'static str,
}

impl Route {
    /// The way to the server at that address, by the environment of this process.
    pub(crate) fn to(url: &Url) -> Route {
        Route {
            host: url.host_str().unwrap_or_default().to_owned(),
            is_encrypted: url.scheme() == "https",
            proxy: Proxy::for_server(url),
        }
    }

    /// Why the request failed and what to do, if something stands in the way to the server. `None` if only the server can be the cause.
    pub(crate) fn explain(&self, error: &reqwest::Error) -> Option<String> {
        let of_tls = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>());
        if let Some(explained) = of_tls.and_then(tls::explained) {
            return Some(format!("{explained}{self}"));
        }
        if let Some(proxy) = self.proxy.as_ref().filter(|_| error.is_connect()) {
            return Some(proxy.explain(error, &self.host));
        }
        let mut of_http = causes(error).filter_map(|cause| cause.downcast_ref::<hyper::Error>());
        let is_no_http = !self.is_encrypted && of_http.any(hyper::Error::is_parse);
        is_no_http.then(|| {
            format!("the answer is not HTTP: if the port uses TLS, write https:// in place of http://{self}")
        })
    }

    /// Whether the connection ended as those to a port with TLS do that gets a plain request. It also does if the server crashed.
    pub(crate) fn may_need_tls(&self, error: &reqwest::Error) -> bool {
        let mut of_http = causes(error).filter_map(|cause| cause.downcast_ref::<hyper::Error>());
        !self.is_encrypted && of_http.any(hyper::Error::is_incomplete_message)
    }

    /// What to do about a proxy on the way that demands a user and a password (status 407).
    pub(crate) fn unauthorized(&self) -> String {
        match &self.proxy {
            Some(proxy) => proxy.unauthorized(),
            None => "a proxy on the way demands a user and a password: name it, with both, in HTTPS_PROXY or HTTP_PROXY".to_owned(),
        }
    }
}

/// ` (through the proxy …)`, or nothing.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proxy {
            Some(proxy) => write!(f, " (through {proxy})"),
            None => Ok(()),
        }
    }
}

impl Proxy {
    /// The proxy that the HTTP client uses for the server; `None` if it connects directly.
    fn for_server(url: &Url) -> Option<Proxy> {
        let server = url.as_str().parse().ok()?;
        let is_used = Matcher::from_env().intercept(&server).is_some();
        if !is_used || exempts_all() {
            return None;
        }
        let own = match url.scheme() {
            "https" => ["HTTPS_PROXY", "https_proxy"],
            _ => ["HTTP_PROXY", "http_proxy"],
        };
        // A variable whose value is no address counts as unset.
        [own, ["ALL_PROXY", "all_proxy"]].into_iter().find_map(|names| {
            let set = names
                .into_iter()
                .find_map(|name| Some((name, std::env::var(name).ok()?)));
            let (variable, value) = set?;
            let proxy = Matcher::builder().all(value).build().intercept(&server)?;
            let address = proxy.uri().to_string();
            let address = address.trim_end_matches('/').to_owned();
            Some(Proxy { address, variable })
        })
    }

    /// Why no connection could be made through the proxy, and what to do.
    fn explain(&self, error: &reqwest::Error, host: &str) -> String {
        let variable = self.variable;
        let all = chain(error);
        if all.contains("proxy authorization required") {
            return self.unauthorized();
        }
        let innermost = causes(error).last().map(|cause| shorten(&cause.to_string()));
        let innermost = innermost.unwrap_or_default();
        let innermost = innermost.trim_start_matches("tunnel error: ");
        let is_reached = all.contains("tunnel error: ") && !all.contains("underlying connection");
        if is_reached {
            return format!(
                "{self} refuses a connection to {host} ({innermost}): allow it there, correct {variable}, or name {host} in NO_PROXY"
            );
        }
        format!("{self} cannot be reached ({innermost}): correct {variable}, or name {host} in NO_PROXY")
    }

    fn unauthorized(&self) -> String {
        let variable = self.variable;
        format!(
            "{self} demands a user and a password: write them into {variable}, as in http://USER:PASSWORD@HOST:PORT"
        )
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {} of {}", self.address, self.variable)
    }
}

/// Whether no server is reached through a proxy: `*` in `NO_PROXY`, as for curl. The HTTP client takes it for host names only.
pub(super) fn exempts_all() -> bool {
    let list = EXEMPT.into_iter().find_map(|name| std::env::var(name).ok());
    list.is_some_and(|list| list.split(',').any(|entry| entry.trim() == "*"))
}
