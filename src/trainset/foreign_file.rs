//! Files that hold examples in another form: recognised by their first bytes or their name, with the way to convert them.

/// What a file is, and what to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ForeignFile {
    /// Fits after "this is".
    pub(super) what: &'static str,
    pub(super) remedy: &'static str,
}

const UTF_16: ForeignFile = ForeignFile {
    what: "text in UTF-16",
    remedy: "save the file as UTF-8; Excel calls it `CSV UTF-8`",
};
const UTF_32: ForeignFile = ForeignFile {
    what: "text in UTF-32",
    remedy: "save the file as UTF-8",
};
const PARQUET: ForeignFile = ForeignFile {
    what: "a Parquet file",
    remedy: "convert it with Hugging Face's `datasets`: `Dataset.from_parquet(\"…\").to_json(\"train.jsonl\")`",
};
const ARROW: ForeignFile = ForeignFile {
    what: "an Arrow file",
    remedy: "convert it with Hugging Face's `datasets`: `Dataset.from_file(\"…\").to_json(\"train.jsonl\")`",
};
const GZIP: ForeignFile = ForeignFile {
    what: "a file that gzip compressed",
    remedy: "decompress it: `gunzip FILE`",
};
const ZSTD: ForeignFile = ForeignFile {
    what: "a file that zstd compressed",
    remedy: "decompress it: `zstd -d FILE`",
};
const XZ: ForeignFile = ForeignFile {
    what: "a file that xz compressed",
    remedy: "decompress it: `xz -d FILE`",
};
const BZIP2: ForeignFile = ForeignFile {
    what: "a file that bzip2 compressed",
    remedy: "decompress it: `bunzip2 FILE`",
};
const ZIP: ForeignFile = ForeignFile {
    what: "a ZIP archive or an Excel workbook",
    remedy: "unzip it, or save the sheet as `CSV UTF-8`",
};
const EXCEL: ForeignFile = ForeignFile {
    what: "an Excel workbook",
    remedy: "save the sheet as `CSV UTF-8`",
};
const TABS: ForeignFile = ForeignFile {
    what: "a file of values between tabs",
    remedy: "save it as .csv, with commas between the columns",
};
const PICKLE: ForeignFile = ForeignFile {
    what: "a pickle",
    remedy: "load it in Python, and write `json.dumps(row)` of each row into a .jsonl file",
};

/// The first bytes of files, the longer of two that begin alike first. No header of a CSV file begins so.
const FIRST_BYTES: [(&[u8], ForeignFile); 13] = [
    (b"\xff\xfe\0\0", UTF_32),
    (b"\0\0\xfe\xff", UTF_32),
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
    (b"PAR1\x15", PARQUET),
    (b"ARROW1\0\0", ARROW),
    // A stream of Arrow, which is how `datasets` keeps its cache.
    (b"\xff\xff\xff\xff", ARROW),
    (b"\x1f\x8b", GZIP),
    (b"\x28\xb5\x2f\xfd", ZSTD),
    (b"\xfd7zXZ\0", XZ),
    (b"BZh9", BZIP2),
    (b"PK\x03\x04", ZIP),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", EXCEL),
];

const EXTENSIONS: [(&str, ForeignFile); 15] = [
    ("parquet", PARQUET),
    ("arrow", ARROW),
    ("feather", ARROW),
    ("tsv", TABS),
    ("tab", TABS),
    ("gz", GZIP),
    ("gzip", GZIP),
    ("zst", ZSTD),
    ("xz", XZ),
    ("bz2", BZIP2),
    ("zip", ZIP),
    ("xlsx", EXCEL),
    ("xls", EXCEL),
    ("pkl", PICKLE),
    ("pickle", PICKLE),
];

impl ForeignFile {
    /// The kind that the first bytes of a file show. `None` if they may be UTF-8.
    pub(super) fn by_content(start: &[u8]) -> Option<ForeignFile> {
        let known = FIRST_BYTES.iter().find(|(bytes, _)| start.starts_with(bytes));
        if let Some((_, kind)) = known {
            return Some(*kind);
        }
        // Two characters of ASCII in UTF-16, without a byte order mark.
        match start {
            [0, 1..=127, 0, 1..=127, ..] | [1..=127, 0, 1..=127, 0, ..] => Some(UTF_16),
            _ => None,
        }
    }

    /// The kind that a file extension in lower case names.
    pub(super) fn by_extension(extension: &str) -> Option<ForeignFile> {
        let known = EXTENSIONS.iter().find(|(name, _)| *name == extension);
        known.map(|(_, kind)| *kind)
    }
}
