//! The wrapping of a response's body: compression, byte order mark and charset. Without it a JSON body is UTF-8.

use brotli_decompressor::Decompressor as BrotliDecoder;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use std::io::{self, Read};

/// The most encodings of one body. Each further one is a full copy of it.
const MOST_ENCODINGS: usize = 3;

/// The most characters of an encoding's name. No encoding has a longer one, and messages contain it.
const LONGEST_NAME: usize = 16;

/// The buffer of the Brotli decoder in bytes.
const BROTLI_BUFFER: usize = 8 << 10;

/// The characters that windows-1252 has in place of the controls from U+0080 to U+009F.
const WINDOWS_1252: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";

/// How a body is wrapped, as far as the headers of its response name it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Wrapping {
    /// The content encodings in lower case, in the order in which they were applied. `identity` is left out.
    encodings: Vec<String>,
    /// Whether the charset is Latin-1 or its superset windows-1252.
    is_latin: bool,
}

/// Why a body has no text.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum UnreadableBody {
    /// It exceeds the size limit once it is decompressed.
    #[error("more than {limit} bytes when decompressed")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// It is compressed in a way that cannot be read.
    #[error("the body has the content-encoding `{encoding}`, {reason}, although the request allows none")]
    Encoded {
        /// As the header names it.
        encoding: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Wrapping {
    /// The wrapping that the headers name.
    pub(crate) fn of(headers: &HeaderMap) -> Wrapping {
        let encodings = headers.get_all(CONTENT_ENCODING).into_iter();
        let encodings = encodings.filter_map(|value| value.to_str().ok());
        let encodings = encodings.flat_map(|value| value.split(','));
        let encodings = encodings.map(|encoding| encoding.trim().to_ascii_lowercase());
        let encodings = encodings.map(|encoding| encoding.chars().take(LONGEST_NAME).collect::<String>());
        let encodings = encodings.filter(|encoding| !matches!(encoding.as_str(), "" | "identity"));
        Wrapping {
            encodings: encodings.collect(),
            is_latin: headers.get(CONTENT_TYPE).is_some_and(|value| {
                let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
                let charset = value.split_once("charset=").map(|(_, charset)| charset);
                let charset = charset.unwrap_or_default().trim_matches(['"', '\'', ' ']);
                matches!(charset, "iso-8859-1" | "latin1" | "latin-1" | "windows-1252")
            }),
        }
    }

    /// The body without its wrapping. A body that is not wrapped is returned as it is, valid UTF-8 or not.
    ///
    /// # Errors
    ///
    /// [`UnreadableBody`] if it cannot be decompressed, or exceeds `limit` bytes.
    pub(crate) fn unwrap(&self, body: Vec<u8>, limit: usize) -> Result<Vec<u8>, UnreadableBody> {
        let body = self.decompress(body, limit)?;
        Ok(match body.as_slice() {
            [0xEF, 0xBB, 0xBF, text @ ..] => text.to_vec(),
            [0xFF, 0xFE, text @ ..] => utf_16(text, u16::from_le_bytes),
            [0xFE, 0xFF, text @ ..] => utf_16(text, u16::from_be_bytes),
            // JSON begins with an ASCII character.
            [0, second, ..] if *second != 0 => utf_16(&body, u16::from_be_bytes),
            [first, 0, ..] if *first != 0 => utf_16(&body, u16::from_le_bytes),
            text if self.is_latin && std::str::from_utf8(text).is_err() => latin(text),
            _ => body,
        })
    }

    fn decompress(&self, body: Vec<u8>, limit: usize) -> Result<Vec<u8>, UnreadableBody> {
        if self.encodings.is_empty() {
            // Some proxies drop the header and not the compression.
            return if body.starts_with(&[0x1F, 0x8B]) {
                decoded("gzip", &body, limit)
            } else {
                Ok(body)
            };
        }
        if self.encodings.len() > MOST_ENCODINGS {
            return Err(UnreadableBody::Encoded {
                encoding: self.encodings.join(", "),
                reason: format!("which is more than {MOST_ENCODINGS} encodings"),
            });
        }
        let mut body = body;
        for encoding in self.encodings.iter().rev() {
            body = match decoded(encoding, &body, limit) {
                // Others keep the header of a body that they have decompressed.
                Err(UnreadableBody::Encoded { .. }) if is_plain(&body) => body,
                decoded => decoded?,
            };
        }
        Ok(body)
    }
}

/// Whether the body looks like JSON that is not compressed.
fn is_plain(body: &[u8]) -> bool {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'[')) && std::str::from_utf8(body).is_ok()
}

fn decoded(encoding: &str, body: &[u8], limit: usize) -> Result<Vec<u8>, UnreadableBody> {
    let refused = |reason: String| UnreadableBody::Encoded {
        encoding: encoding.to_owned(),
        reason,
    };
    let read = match encoding {
        "gzip" | "x-gzip" => read_to_limit(MultiGzDecoder::new(body), limit),
        // The name means zlib's format. Some servers send the bare stream.
        "deflate" if is_zlib(body) => read_to_limit(ZlibDecoder::new(body), limit),
        "deflate" => read_to_limit(DeflateDecoder::new(body), limit),
        "br" => read_to_limit(BrotliDecoder::new(body, BROTLI_BUFFER), limit),
        _ => return Err(refused("which bsft does not read".to_owned())),
    };
    let text = read.map_err(|error| refused(format!("which it does not fit ({error})")))?;
    if text.len() > limit {
        return Err(UnreadableBody::TooLarge { limit });
    }
    Ok(text)
}

/// Reads at most one byte more than `limit`.
fn read_to_limit(decoder: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    decoder.take(limit as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// Whether the body begins with zlib's header: the method deflate, and a checksum.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [first, second, ..]
        if first & 0x0F == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31))
}

/// UTF-16 as UTF-8. Half a surrogate pair becomes U+FFFD.
fn utf_16(text: &[u8], unit: fn([u8; 2]) -> u16) -> Vec<u8> {
    let units = text.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let characters = char::decode_utf16(units).map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER));
    characters.collect::<String>().into_bytes()
}

/// Windows-1252 as UTF-8. Browsers read Latin-1 in the same way.
fn latin(text: &[u8]) -> Vec<u8> {
    let special: Vec<char> = WINDOWS_1252.chars().collect();
    let characters = text.iter().map(|byte| match byte {
        0x80..=0x9F => special[usize::from(byte - 0x80)],
        byte => char::from(*byte),
    });
    characters.collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use reqwest::header::HeaderValue;
    use std::io::Write as _;

    const TEXT: &str = r#"{"a":"é 😀"}"#;

    fn wrapping(encoding: Option<&'static str>, content_type: &'static str) -> Wrapping {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(encoding) = encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        Wrapping::of(&headers)
    }

    fn unwrapped(encoding: &'static str, body: &[u8]) -> Result<String, UnreadableBody> {
        let body = wrapping(Some(encoding), "application/json").unwrap(body.to_vec(), 1000)?;
        Ok(String::from_utf8(body).expect("UTF-8"))
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn compressed_bodies_are_read_with_and_without_a_true_header() {
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(TEXT.as_bytes()).expect("memory");
        let bare = bare.finish().expect("memory");
        let twice = zlib(&gzip(TEXT.as_bytes()));
        let brotli = [b"\x0b\x07\x80", TEXT.as_bytes(), b"\x03"].concat();
        for (encoding, body) in [
            ("gzip", gzip(TEXT.as_bytes())),
            ("X-GZIP", gzip(TEXT.as_bytes())),
            ("deflate", zlib(TEXT.as_bytes())),
            ("deflate", bare),
            ("gzip, deflate", twice),
            ("br", brotli),
            ("identity", TEXT.as_bytes().to_vec()),
            ("identity", gzip(TEXT.as_bytes())),
            ("gzip", TEXT.as_bytes().to_vec()),
            ("zstd", TEXT.as_bytes().to_vec()),
        ] {
            assert_eq!(unwrapped(encoding, &body), Ok(TEXT.to_owned()), "{encoding}");
        }
    }

    #[test]
    fn body_that_cannot_be_decompressed_names_its_encoding() {
        let cut = &gzip(TEXT.as_bytes())[..20];
        for (encoding, body) in [("gzip", cut), ("br", b"\xff\xff\xff"), ("zstd", b"(\xb5/\xfd")] {
            let error = unwrapped(encoding, body).expect_err(encoding).to_string();
            assert!(
                error.contains(&format!("content-encoding `{encoding}`")),
                "{error}"
            );
        }
        let error = unwrapped("gzip,gzip,gzip,gzip", b"").expect_err("too many");
        assert!(error.to_string().contains("more than 3"), "{error}");
    }

    #[test]
    fn decompressed_body_is_bounded() {
        let bomb = gzip(&vec![b' '; 1 << 20]);
        assert_eq!(
            unwrapped("gzip", &bomb),
            Err(UnreadableBody::TooLarge { limit: 1000 })
        );
        assert_eq!(
            unwrapped("gzip", &gzip(&[b' '; 1000])).map(|text| text.len()),
            Ok(1000)
        );
    }

    #[test]
    fn marks_and_charsets_are_read_as_text() {
        let units: Vec<u16> = TEXT.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        let utf_8 = "application/json";
        for body in [
            TEXT.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", TEXT.as_bytes()].concat(),
            [b"\xff\xfe".to_vec(), little.clone()].concat(),
            [b"\xfe\xff".to_vec(), big.clone()].concat(),
            little,
            big,
        ] {
            assert_eq!(wrapping(None, utf_8).unwrap(body, 1000), Ok(TEXT.into()));
        }
        let latin = wrapping(None, "application/json; charset=ISO-8859-1");
        assert_eq!(latin.unwrap(b"caf\xe9 \x93".to_vec(), 9), Ok("café “".into()));
        assert_eq!(
            latin.unwrap("café".into(), 9),
            Ok("café".into()),
            "a header that is wrong"
        );
        let half = [0xFF, 0xFE, 0x3D, 0xD8, b'x', 0];
        assert_eq!(
            wrapping(None, utf_8).unwrap(half.to_vec(), 9),
            Ok("\u{fffd}x".into())
        );
    }
}
