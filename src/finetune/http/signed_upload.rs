//! Uploads to signed addresses: object storage where the address itself is the authorisation.
//!
//! The API key is not sent: it is meant for the service only, and storage rejects requests with two authorisations.

use super::{CallError, Http, Load, upload_timeout};
use crate::http::{self, BadAddress};
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Method, RequestBuilder, Url};
use std::io;
use std::path::Path;

/// The maximum number of redirects, for example to another region. More are a loop.
const MOST_HOPS: usize = 5;

/// A file upload to a signed address.
pub(in crate::finetune) struct Put<'a> {
    /// The path of the file.
    pub(in crate::finetune) path: &'a Path,
    /// Headers that are part of the signature.
    pub(in crate::finetune) headers: &'a [(&'a str, &'a str)],
}

impl Put<'_> {
    /// Sets `Content-Length`, because storage rejects bodies of unknown length.
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
    /// `PUT {address}` with the file as its body. Idempotent, so it is retried; follows redirects of the storage.
    pub(in crate::finetune) async fn put(&self, address: &str, put: &Put<'_>) -> Result<(), CallError> {
        let mut address = self.storage(&self.base, address)?;
        for _ in 0..=MOST_HOPS {
            let bare = self.without_key(&address)?;
            let refusal = match bare.ask(Method::PUT, address.clone(), Load::Bare(put)).await {
                // Storage answers with XML or an empty body.
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

    /// Validates a storage address. It must use https, unless the service itself uses http.
    fn storage(&self, from: &Url, address: &str) -> Result<Url, CallError> {
        let joined = from.join(address).map_err(|error| unusable(&error.to_string()))?;
        let url = http::address(joined.as_str()).map_err(|bad| match bad {
            BadAddress::Credentials => unusable("it holds credentials"),
            BadAddress::Unusable(reason) => unusable(&reason),
        })?;
        if url.scheme() == "https" || self.base.scheme() == "http" {
            Ok(url)
        } else {
            Err(unusable("it is not https"))
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

/// An invalid address from the server. A retry may get another one.
fn unusable(why: &str) -> CallError {
    CallError::Passing(format!("the address that the server wants the file at: {why}"))
}
