#!/usr/bin/env python3
"""Measures the English and a few habits of the code, and lists the worst offenders.

    scripts/prose.py                     print the measures of the whole tree
    scripts/prose.py src/worker docs     only these folders or files
    scripts/prose.py --check             exit 1 if a limit is passed
    scripts/prose.py --commits 50        also check the subjects of the last 50 commits

These kinds of text are measured apart: documents (*.md), comments (doc comments and comments of *.rs, *.py and *.sh), the texts
that users read (string literals of at least three words in src, outside of tests), and names of functions and tests (of *.rs,
*.py and *.sh; an underscore separates words). Plain Python 3, no dependency.
"""

import argparse
import io
import os
import re
import subprocess
import sys
import tokenize

PRONOUNS_PER_1000 = 0.2
SAYING_PER_1000 = 1.0
SENTENCE_WORDS = 30  # the 90th percentile stays below this
SUBJECT_CHARS = 60
TEST_NAME_CHARS = 70

PRONOUN = re.compile(r"\b(nobody|somebody|anybody|everybody|whoever|whomever|whosoever)\b", re.I)
# "words" after a number is a count of words, not a message.
SAYING = re.compile(
    r"\b(tell|tells|told|telling|say|says|said|saying|speak|speaks|spoke|spoken|speaking|hear|hears|heard|hearing)\b"
    r"|(?<![\d] )\bwords?\b",
    re.I,
)
# In the code of a parser a word is a word.
SAYING_NAME = re.compile(SAYING.pattern.split("|(?<!")[0], re.I)
WORD = re.compile(r"[A-Za-z][A-Za-z'’-]*|\d[\d.,:%]*")
RUST_FN = re.compile(r"(?P<attributes>(?:#\[[^\]]*\]\s*)*)(?:pub(?:\([a-z ]+\))?\s+)?(?:(?:const|async|unsafe)\s+)*fn\s+(?P<name>\w+)")
SCRIPT_FN = re.compile(r"^[ \t]*(?:(?:async )?def (\w+)|(\w+)\(\) *[{(])", re.M)
BOOL_ARM = re.compile(r"^\s*(true|false)\s*(\|\s*(true|false)\s*|if\b.*)?=>")
TYPE = re.compile(r"^(?P<indent>\s*)(?P<vis>pub(?:\([a-z ]+\))?\s+)?(?:unsafe\s+)?(?P<kind>struct|enum|trait|type|union)\s+(?P<name>[A-Z]\w*)")


class Text:
    """A piece of prose, with the place where it begins."""

    def __init__(self, path, line, text):
        self.path, self.line, self.text = path, line, text


# ---------------------------------------------------------------- Rust


def lex(source):
    """Splits Rust source into comments, strings and code: lists of (line, text), and the code with both blanked out."""
    comments, strings, code = [], [], []
    at, line, end = 0, 1, len(source)
    while at < end:
        two = source[at : at + 2]
        char = source[at]
        if two == "//":
            stop = source.find("\n", at)
            stop = end if stop < 0 else stop
            comments.append((line, source[at:stop]))
            at = stop
        elif two == "/*":
            depth, stop = 1, at + 2
            while stop < end and depth:
                pair = source[stop : stop + 2]
                depth += (pair == "/*") - (pair == "*/")
                stop += 2 if pair in ("/*", "*/") else 1
            comments.append((line, source[at:stop]))
            code.append("\n" * source.count("\n", at, stop))
            line += source.count("\n", at, stop)
            at = stop
        elif (raw := re.compile(r'(?:br|r|cr)(#*)"').match(source, at)) and not (at and re.match(r"\w", source[at - 1])):
            close = '"' + raw.group(1)
            stop = source.find(close, raw.end())
            stop = end if stop < 0 else stop + len(close)
            strings.append((line, source[raw.end() : stop - len(close)]))
            code.append('""' + "\n" * source.count("\n", at, stop))
            line += source.count("\n", at, stop)
            at = stop
        elif char == '"':
            stop = at + 1
            while stop < end and source[stop] != '"':
                stop += 2 if source[stop] == "\\" else 1
            text = source[at + 1 : stop]
            # A backslash at the end of a line joins it with the next one.
            text = re.sub(r"\\\n\s*", "", text).replace("\\n", " \n ").replace('\\"', '"')
            strings.append((line, text))
            stop += 1
            code.append('""' + "\n" * source.count("\n", at, stop))
            line += source.count("\n", at, stop)
            at = stop
        elif char == "'" and (quoted := re.compile(r"'(\\.[^']*|[^\\'])'").match(source, at)):
            code.append("' '")
            at = quoted.end()
        else:
            code.append(char)
            line += char == "\n"
            at += 1
    return comments, strings, "".join(code)


def test_lines(code):
    """The lines of code that are compiled for tests only: what stands in a `#[cfg(test)] mod … { … }`."""
    lines = set()
    for found in re.finditer(r"#\[cfg\((?:all\()?test\b[^\]]*\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([a-z]+\))?\s+)?(?:mod|fn|impl)\b[^{;]*\{", code):
        depth, at = 1, found.end()
        while at < len(code) and depth:
            depth += (code[at] == "{") - (code[at] == "}")
            at += 1
        lines.update(range(code.count("\n", 0, found.start()) + 1, code.count("\n", 0, at) + 2))
    return lines


def is_test(path):
    return bool(re.search(r"(^|/)(tests|benches|fuzz|testkit)(/|$)|(^|/)tests\.rs$", path))


def is_production(path):
    return path.endswith(".rs") and path.startswith(("src/", "bin/", "crates/")) and not is_test(path)


def joined(comments, path):
    """Comment lines that follow each other, as one text each."""
    texts, previous = [], -1
    for line, text in comments:
        text = re.sub(r"^/\*+|\*/$|^//[/!]?", "", text).strip()
        if texts and line == previous + 1:
            texts[-1].text += "\n" + text
        else:
            texts.append(Text(path, line, text))
        previous = line
    for text in texts:
        text.text = re.sub(r"```.*?(```|$)", lambda found: "\n" * found.group().count("\n"), text.text, flags=re.S)
    return texts


def functions(code):
    """(line, name, whether it is a test) of each function."""
    for found in RUST_FN.finditer(code):
        is_test_fn = re.search(r"#\[(?:\w+::)?test\b", found["attributes"])
        yield code.count("\n", 0, found.start("name")) + 1, found["name"], bool(is_test_fn)


# ---------------------------------------------------------------- Python and shell


def script_comments(path, source):
    """The comments and docstrings of a script, as texts, and the names of its functions."""
    comments = []
    if path.endswith(".py"):
        previous = tokenize.INDENT
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                comments.append((token.start[0], token.string))
            elif token.type == tokenize.STRING and previous in (tokenize.INDENT, tokenize.NEWLINE, tokenize.DEDENT, tokenize.ENCODING):
                comments.append((token.start[0], token.string.strip("rf\"'")))
            if token.type not in (tokenize.NL, tokenize.COMMENT):
                previous = token.type
    else:
        for number, line in enumerate(source.split("\n"), 1):
            if found := re.match(r"\s*#(?!!)(.*)", line):
                comments.append((number, found.group(1)))
    texts, last = [], -1
    for line, text in comments:
        text = text.lstrip("# ")
        if texts and line == last + 1:
            texts[-1].text += "\n" + text
        else:
            texts.append(Text(path, line, text))
        last = line + text.count("\n")
    names = [
        Text(path, source.count("\n", 0, found.start()) + 1, (found.group(1) or found.group(2)).replace("_", " "))
        for found in SCRIPT_FN.finditer(source)
    ]
    return texts, names


# ---------------------------------------------------------------- Markdown


def documents(path, source):
    """The paragraphs, list items and table rows of a Markdown file, without code; and which of them are sentences."""
    blocks, fence, block = [], None, None
    for number, line in enumerate(source.split("\n"), 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if fence:
            if mark and mark.group(1).startswith(fence):
                fence = None
            continue
        if mark:
            fence, block = mark.group(1), None
            continue
        if re.match(r"\s*\|", line):
            if not re.match(r"^[\s|:-]+$", line):
                blocks.append((False, Text(path, number, line.strip())))
            block = None
        elif re.match(r"#", line):
            blocks.append((False, Text(path, number, line.lstrip("# "))))
            block = None
        elif not line.strip() or re.match(r"^( {4}|\t)", line) and block is None or re.match(r"\s*<!?[\w/-]+[^>]*>\s*$", line):
            block = None
        elif item := re.match(r"\s*([-*+]|\d+\.)\s+(.*)", line):
            block = Text(path, number, item.group(2))
            blocks.append((True, block))
        elif block is None:
            block = Text(path, number, line.strip())
            blocks.append((True, block))
        else:
            block.text += "\n" + line.strip()
    return blocks


def plain(text):
    """Prose without code spans and addresses. A code span counts as one word."""
    text = re.sub(r"`[^`]*`", lambda found: "code" + "\n" * found.group().count("\n"), text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"https?://\S+", "address", text)


def sentences(text):
    """(offset of its line, words) of each sentence."""
    line = 0
    for piece in re.split(r"((?<=[.!?])[*_)\"”]*\s+(?=[*_(\"“`[]*[A-Z0-9]|`))", re.sub(r"\]\([^)]*\)", "]", text)):
        if piece.strip():
            yield line, len(piece.split())
        line += piece.count("\n")


# ---------------------------------------------------------------- measures


def rate(texts, pattern):
    words = sum(len(WORD.findall(plain(text.text))) for text in texts)
    hits = []
    for text in texts:
        prose = plain(text.text)
        for found in pattern.finditer(prose):
            line = text.line + prose.count("\n", 0, found.start())
            first = prose.rfind("\n", 0, found.start()) + 1
            last = prose.find("\n", found.end())
            hits.append((text.path, line, found.group(), prose[first : last if last >= 0 else None].strip()))
    return words, hits, 1000 * len(hits) / max(words, 1)


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0


def files(paths):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True).stdout.split("\n")
    wanted = [path.rstrip("/") for path in paths]
    return [
        path
        for path in listed
        if os.path.isfile(path) and (not wanted or any(path == one or path.startswith(one + "/") for one in wanted))
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="*", help="folders or files, relative to where this is started [the whole tree]")
    parser.add_argument("--check", action="store_true", help="exit 1 if a limit is passed")
    parser.add_argument("--commits", type=int, default=0, metavar="N", help="check the subjects of the last N commits too")
    parser.add_argument("--worst", type=int, default=10, metavar="N", help="offenders printed of each kind [10]")
    args = parser.parse_args()
    top = subprocess.run(["git", "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True).stdout.strip()
    paths = [os.path.relpath(os.path.abspath(path), top) for path in args.paths]
    os.chdir(top)

    docs, lengths, comments, strings, arms = [], [], [], [], []
    names, long_names = [], []
    types = {}
    for path in files([] if "." in paths else paths):
        if not path.endswith((".md", ".rs", ".py", ".sh")) or "/vectors/" in path:
            continue
        with open(path, encoding="utf-8") as file:
            source = file.read()
        if path.endswith((".py", ".sh")):
            # This one lists the words itself.
            if not path.endswith("prose.py"):
                commented, named = script_comments(path, source)
                comments += commented
                names += named
            continue
        if path.endswith(".md"):
            for is_sentence, text in documents(path, source):
                docs.append(text)
                if is_sentence:
                    lengths += [(words, path, text.line + line) for line, words in sentences(text.text)]
            continue
        commented, quoted, code = lex(source)
        comments += joined(commented, path)
        for line, name, is_test_fn in functions(code):
            names.append(Text(path, line, name.replace("_", " ")))
            if is_test_fn and len(name) > TEST_NAME_CHARS:
                long_names.append(f"{path}:{line}: {name}")
        if not is_production(path):
            continue
        skipped = test_lines(code)
        for line, text in quoted:
            if line not in skipped and len(text.split()) >= 3 and re.search(r"[a-z]{2,} [a-z]", text):
                strings.append(Text(path, line, text))
        for line, text in enumerate(code.split("\n"), 1):
            if line in skipped:
                continue
            if BOOL_ARM.match(text):
                arms.append((path, line, text.strip()))
            if found := TYPE.match(text):
                if found["kind"] == "type" and found["indent"] and not found["vis"]:
                    continue  # an associated type
                types.setdefault(found["name"], []).append(f"{path}:{line}")

    failed = []

    def measure(name, value, limit, holds, offenders):
        mark = "ok  " if holds else "FAIL"
        print(f"{mark} {name}: {value} (limit: {limit})")
        for offender in offenders[: args.worst]:
            print(f"       {offender}")
        if len(offenders) > args.worst:
            print(f"       … and {len(offenders) - args.worst} more")
        if not holds:
            failed.append(name)

    for kind, texts in (("docs", docs), ("comments", comments), ("strings", strings), ("names", names)):
        saying = SAYING_NAME if kind == "names" else SAYING
        for label, pattern, limit in (("pronouns", PRONOUN, PRONOUNS_PER_1000), ("verbs of saying", saying, SAYING_PER_1000)):
            words, hits, value = rate(texts, pattern)
            listed = [f"{path}:{line}: {found}: {text[:110]}" for path, line, found, text in hits]
            measure(f"{kind}, {label} per 1,000 words", f"{value:.2f} ({len(hits)} in {words:,})", f"below {limit}", value < limit, listed)
    value = percentile([words for words, _, _ in lengths], 0.9)
    longest = [f"{path}:{line}: {words} words" for words, path, line in sorted(lengths, reverse=True) if words >= SENTENCE_WORDS]
    measure(
        "docs, 90th percentile of sentence length",
        f"{value} words ({len(lengths):,} sentences)",
        f"below {SENTENCE_WORDS}",
        value < SENTENCE_WORDS,
        longest,
    )
    measure("match on a bool", len(arms), 0, not arms, [f"{path}:{line}: {text}" for path, line, text in arms])
    twice = sorted((name, at) for name, at in types.items() if len(at) > 1)
    measure("type names used twice", len(twice), 0, not twice, [f"{name}: {', '.join(at)}" for name, at in twice])
    measure(f"test names over {TEST_NAME_CHARS} characters", len(long_names), 0, not long_names, long_names)
    if args.commits:
        log = subprocess.run(["git", "log", "--no-merges", f"-{args.commits}", "--format=%h %s"], capture_output=True, text=True, check=True).stdout
        long = [line for line in log.splitlines() if len(line.split(" ", 1)[1]) > SUBJECT_CHARS]
        measure(f"commit subjects over {SUBJECT_CHARS} characters, of {args.commits}", len(long), 0, not long, long)
    if args.check and failed:
        sys.exit(f"{len(failed)} measures do not hold: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
