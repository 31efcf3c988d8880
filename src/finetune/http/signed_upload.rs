//! Files to signed addresses: storage that a service names, where the address itself is the permission.
//!
//! No key goes there: it was not meant for that place, and storage refuses requests that show two permissions.

use super::{CallError, Http, Load, upload_timeout};
use crate::http::{self, BadAddress};
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Method, RequestBuilder, Url};
use std::io;
use std::path::Path;

/// How often storage may send us on, as it does to another region; more is a circle.
const MOST_HOPS: usize = 5;

/// A file on its way to a signed address.
pub(in crate::finetune) struct Put<'a> {
    /// Where it stands.
    pub(in crate::finetune) path: &'a Path,
    /// What the signature wants to see beside it.
    pub(in crate::finetune) headers: &'a [(&'a str, &'a str)],
}

impl Put<'_> {
    /// The length is said beforehand: storage takes no body of unknown length.
    pub(super) async fn loaded(&self, request: RequestBuilder) -> io::Result<RequestBuilder> {
        let file = tokio::fs::File::open(self.path).await?;
        let bytes = file.metadata().await?.len();
        let request = self
            .headers
            .iter()
            .fold(request, |request, (name, text)| request.header(*name, *text));
        Ok(request
            .header(CONTENT_LENGTH, bytes)
            .body(file)
            .timeout(upload_timeout(bytes)))
    }
}

impl Http {
    /// `PUT {address}` with the file as its body. Safe to repeat, so repeated; goes where the storage sends it.
    pub(in crate::finetune) async fn put(&self, address: &str, put: &Put<'_>) -> Result<(), CallError> {
        let mut address = self.storage(&self.base, address)?;
        for _ in 0..=MOST_HOPS {
            let bare = self.without_key(&address)?;
            let refusal = match bare.ask(Method::PUT, address.clone(), Load::Bare(put)).await {
                // Storage answers with XML, or with nothing.
                Ok(_) | Err(CallError::Garbled(_)) => return Ok(()),
                Err(CallError::Refused(refusal)) => refusal,
                Err(error) => return Err(error),
            };
            address = match (refusal.status, &refusal.location) {
                (301 | 302 | 303 | 307 | 308, Some(location)) => self.storage(&address, location)?,
                _ => return Err(CallError::Refused(refusal)),
            };
        }
        Err(unusable("it leads in a circle"))
    }

    /// Where training rows may go: not in the clear, unless the service itself is spoken to so.
    fn storage(&self, from: &Url, address: &str) -> Result<Url, CallError> {
        let joined = from.join(address).map_err(|error| unusable(&error.to_string()))?;
        let url = http::address(joined.as_str()).map_err(|bad| match bad {
            BadAddress::Credentials => unusable("it holds credentials"),
            BadAddress::Unusable(reason) => unusable(&reason),
        })?;
        match url.scheme() == "https" || self.base.scheme() == "http" {
            true => Ok(url),
            false => Err(unusable("it is not https")),
        }
    }

    fn without_key(&self, address: &Url) -> Result<Http, CallError> {
        let client = http::client(address)
            .build()
            .map_err(|error| unusable(&http::chain(&error)))?;
        Ok(Http {
            client,
            base: address.clone(),
            key: self.key.clone(),
            backoff_base: self.backoff_base,
        })
    }
}

/// A fault of the server's: another try may get another address.
fn unusable(why: &str) -> CallError {
    CallError::Passing(format!("the address that the server wants the file at: {why}"))
}
