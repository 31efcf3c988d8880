"""Writes src/text/tables.rs from the Unicode data of the Python that runs it.

    python3 crates/pycompat/tables.py            writes the file
    python3 crates/pycompat/tables.py --check    compares the file with the data, and fails if they differ

The tables are those of CPython 3.11 (Unicode 14), which also recorded the test vectors. With another Unicode
version the script does nothing unless --any-version is set.
"""

import argparse
import sys
import unicodedata
from pathlib import Path

FILE = Path(__file__).parent / "src/text/tables.rs"
VERSION = "14.0.0"
WIDTH = 110

HEAD = """\
//! Character classes of CPython 3.11 (Unicode 14). No crate keeps to that version, so `tables.py` writes this file.
//!
//! Each table is a flat list of boundaries: a code point is in the class when an odd number of entries is at or below it.\
"""


def boundaries(is_in):
    """The code points at which membership changes, surrogates included."""
    found, inside = [], False
    for code in range(sys.maxunicode + 1):
        if is_in(chr(code)) != inside:
            inside = not inside
            found.append(code)
    if inside:
        found.append(sys.maxunicode + 1)
    return found


def wrapped(items):
    """The items of an array as rustfmt lays them out."""
    line = "   "
    for item in items:
        if len(line) + 2 + len(item) >= WIDTH:
            yield line
            line = "   "
        line += f" {item},"
    yield line


def class_table(name, doc, is_in):
    codes = boundaries(is_in)
    yield ""
    yield f"/// {doc}"
    yield f"pub(super) static {name}: [u32; {len(codes)}] = ["
    yield from wrapped([f"{code:#x}" for code in codes])
    yield "];"


def escaped(text):
    return "".join(f"\\u{{{ord(c):x}}}" for c in text)


def title_table(doc):
    chars = map(chr, range(sys.maxunicode + 1))
    cased = [(c, c.title()) for c in chars if c.title() != c.upper()]
    yield ""
    yield f"/// {doc}"
    yield f"pub(super) static TITLE: [(char, &str); {len(cased)}] = ["
    for c, title in cased:
        yield f"    ('{escaped(c)}', \"{escaped(title)}\"),"
    yield "];"


def tables():
    yield HEAD
    yield from class_table("ALPHABETIC", "`str.isalpha`: the letters (general categories L*).", str.isalpha)
    yield from class_table("NUMERIC", "`str.isnumeric` without the letters.", lambda c: c.isnumeric() and not c.isalpha())
    yield from class_table("DIGIT", "`str.isdigit`.", str.isdigit)
    yield from class_table("UNPRINTABLE", "The complement of `str.isprintable`, which `repr` escapes.", lambda c: not c.isprintable())
    yield from title_table("Title case where it is not the upper case, sorted by character.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare the file instead of writing it")
    parser.add_argument("--any-version", action="store_true", help=f"accept a Unicode version other than {VERSION}")
    options = parser.parse_args()
    version = unicodedata.unidata_version
    print(f"CPython {sys.version.split()[0]}, Unicode {version}")
    if version != VERSION and not options.any_version:
        sys.exit(f"the tables are those of Unicode {VERSION}: use CPython 3.11, or set --any-version")
    text = "\n".join(tables()) + "\n"
    if not options.check:
        FILE.write_text(text, encoding="utf-8")
    elif text != FILE.read_text(encoding="utf-8"):
        sys.exit(f"{FILE} differs from the data: run this script without --check")


if __name__ == "__main__":
    main()
