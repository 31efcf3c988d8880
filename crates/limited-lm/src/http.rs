//! The subset of HTTP/1.1 that clients of LMs use.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A complete request.
#[derive(Debug)]
pub(crate) struct HttpRequest {
    pub(crate) path: String,
    /// The bearer token; `-` if there is none.
    pub(crate) key: String,
    pub(crate) body: String,
}

/// A response.
#[derive(Clone, Debug)]
pub(crate) struct HttpReply {
    pub(crate) status: u16,
    /// Complete header lines.
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl HttpRequest {
    /// Reads the next request of a connection; `None` at its end.
    ///
    /// Not cancel safe: if it is cancelled, the connection has to be closed.
    pub(crate) async fn read(
        stream: &mut (impl AsyncRead + Unpin),
        buffer: &mut Vec<u8>,
    ) -> std::io::Result<Option<HttpRequest>> {
        loop {
            if let Some((head, end)) = bounds(buffer) {
                let request = HttpRequest::parse(&buffer[..head], &buffer[head..end]);
                buffer.drain(..end);
                return Ok(Some(request));
            }
            if stream.read_buf(buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn parse(head: &[u8], body: &[u8]) -> HttpRequest {
        let head = String::from_utf8_lossy(head);
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let key = header(&head, "authorization").map(|value| value.trim_start_matches("Bearer ").to_owned());
        HttpRequest {
            path,
            key: key.unwrap_or_else(|| "-".to_owned()),
            body: String::from_utf8_lossy(body).into_owned(),
        }
    }
}

impl HttpReply {
    pub(crate) fn ok(body: String) -> HttpReply {
        HttpReply {
            status: 200,
            headers: String::new(),
            body,
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let HttpReply {
            status,
            headers,
            body,
        } = self;
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

/// The start and the end of the body of the first complete request in the buffer.
fn bounds(buffer: &[u8]) -> Option<(usize, usize)> {
    let head = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..head]);
    let length: usize = header(&text, "content-length").map_or(Some(0), |value| value.parse().ok())?;
    (buffer.len() >= head + length).then_some((head, head + length))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::HttpRequest;

    #[tokio::test]
    async fn read_splits_requests_that_arrive_together() {
        let mut bytes: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer k\r\n\
            Content-Length: 2\r\n\r\n{}GET /_counts HTTP/1.1\r\n\r\nGET /cut";
        let mut buffer = Vec::new();
        let first = HttpRequest::read(&mut bytes, &mut buffer).await.unwrap().unwrap();
        assert_eq!(
            (&*first.path, &*first.key, &*first.body),
            ("/v1/chat/completions", "k", "{}")
        );
        let second = HttpRequest::read(&mut bytes, &mut buffer).await.unwrap().unwrap();
        assert_eq!(
            (&*second.path, &*second.key, &*second.body),
            ("/_counts", "-", "")
        );
        assert!(
            HttpRequest::read(&mut bytes, &mut buffer)
                .await
                .unwrap()
                .is_none()
        );
    }
}
