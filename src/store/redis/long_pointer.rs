//! What stands in place of a long record or outcome.

use crate::task::Attempt;

/// The bytes of a part before it is compressed.
pub(super) const PART_BYTES: usize = 1 << 20;

/// What a pointer begins with; records and outcomes begin with a brace.
const POINTER: &[u8] = b"\0long ";

/// The longest value that is read back. bsft writes none: an answer has at most 32 MiB.
pub(super) const LONGEST: usize = 1 << 30;

/// Where a long value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LongPointer {
    pub(super) name: String,
    /// The length of the whole value in bytes.
    pub(super) len: usize,
}

impl LongPointer {
    /// `place`: the slot of a record, or `o`.
    pub(super) fn new(attempt: Attempt, place: &str, len: usize) -> LongPointer {
        LongPointer {
            name: format!("{attempt}-{place}"),
            len,
        }
    }

    /// `None` if the bytes are a value themselves.
    pub(super) fn parse(bytes: &[u8]) -> Option<LongPointer> {
        let text = std::str::from_utf8(bytes.strip_prefix(POINTER)?).ok()?;
        LongPointer::from_announced(text).filter(|pointer| pointer.len <= LONGEST)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        [POINTER, self.announced().as_bytes()].concat()
    }

    /// As the task announces it.
    pub(super) fn announced(&self) -> String {
        format!("{}:{}", self.name, self.len)
    }

    pub(super) fn from_announced(text: &str) -> Option<LongPointer> {
        let (name, len) = text.split_once(':')?;
        Some(LongPointer {
            name: name.to_owned(),
            len: len.parse().ok()?,
        })
    }

    pub(super) fn parts(&self) -> usize {
        self.len.div_ceil(PART_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_distinct_from_values_and_bounded() {
        let pointer = LongPointer::new(Attempt(3), "o", 5 << 20);
        assert_eq!(LongPointer::parse(&pointer.encode()), Some(pointer.clone()));
        assert_eq!(LongPointer::from_announced(&pointer.announced()), Some(pointer));
        for value in [
            &b"{\"question\":\"\"}"[..],
            b"",
            b"\0long ",
            b"\0long x",
            b"\0long x:-1",
            b"\0long x:9999999999",
            b"\0long \xff:1",
        ] {
            assert_eq!(LongPointer::parse(value), None);
        }
    }
}
