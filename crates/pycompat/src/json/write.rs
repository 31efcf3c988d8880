//! Writes values as JSON: `json.dumps(ensure_ascii=False)`, with and without indent, and `orjson.dumps`.

use crate::value::Value;
use crate::{float, repr};
use std::borrow::Cow;
use std::fmt::Write;

/// The differences between the writers.
#[derive(Clone, Copy)]
struct Style {
    comma: &'static str,
    colon: &'static str,
    /// Spaces per level, `None` to write a single line.
    indent: Option<usize>,
    /// Whether to use orjson's float format, with null for values that are not finite.
    orjson: bool,
}

/// `json.dumps(value, ensure_ascii=False)`: `, ` and `: `, with `NaN` and `Infinity`.
///
/// ```
/// use bsft_pycompat::json;
///
/// let value = json::parse(r#"{"b":1e-5,"a":["é",NaN]}"#)?;
/// assert_eq!(json::dumps(&value), r#"{"b": 1e-05, "a": ["é", NaN]}"#);
/// let mut orjson = String::new();
/// json::write_compact(&value, &mut orjson);
/// assert_eq!(orjson, r#"{"b":0.00001,"a":["é",null]}"#);
/// # Ok::<(), json::JsonError>(())
/// ```
pub fn dumps(value: &Value) -> String {
    let mut out = String::new();
    write_dumps(value, &mut out);
    out
}

/// [`dumps`] at the end of `out`.
pub fn write_dumps(value: &Value, out: &mut String) {
    let style = Style {
        comma: ", ",
        colon: ": ",
        indent: None,
        orjson: false,
    };
    write(value, style, 0, out);
}

/// `json.dumps(value, ensure_ascii=False, indent=indent)`.
pub fn dumps_indent(value: &Value, indent: usize) -> String {
    let mut out = String::new();
    write(value, indented(indent), 0, &mut out);
    out
}

/// [`dumps_indent`] of a dict with these members.
pub fn dumps_indent_members<'a>(
    members: impl ExactSizeIterator<Item = (&'a str, &'a Value)>,
    indent: usize,
) -> String {
    let mut out = String::new();
    let members = members.map(|(name, value)| (Some(name), Cow::Borrowed(value)));
    write_all(['{', '}'], members, indented(indent), 0, &mut out);
    out
}

fn indented(indent: usize) -> Style {
    Style {
        comma: ",",
        colon: ": ",
        indent: Some(indent),
        orjson: false,
    }
}

/// `orjson.dumps(value)` at the end of `out`; integers beyond 64 bits, which orjson refuses, as their digits.
pub fn write_compact(value: &Value, out: &mut String) {
    write(
        value,
        Style {
            comma: ",",
            colon: ":",
            indent: None,
            orjson: true,
        },
        0,
        out,
    );
}

fn write(value: &Value, style: Style, level: usize, out: &mut String) {
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(i) => write!(out, "{i}").expect("a string takes all that is written"),
        Value::BigInt(i) => write!(out, "{i}").expect("a string takes all that is written"),
        Value::Float(f) if style.orjson => float::write_orjson(*f, out),
        Value::Float(f) => write_float(*f, out),
        Value::Str(s) => write_string(s, out),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            let each = items.iter().map(|item| (None::<&str>, item));
            write_all(['[', ']'], each, style, level, out);
        }
        Value::Dict(items) => {
            let each = items.iter().map(|(k, v)| (Some(key(k)), Cow::Borrowed(v)));
            write_all(['{', '}'], each, style, level, out);
        }
        Value::Enum(e) => write(&e.value, style, level, out),
        Value::Model(m) => {
            let each = m.fields.iter().map(|(k, v)| (Some(&**k), Cow::Borrowed(v)));
            write_all(['{', '}'], each, style, level, out);
        }
    }
}

fn write_all<'a>(
    [open, close]: [char; 2],
    items: impl ExactSizeIterator<Item = (Option<impl AsRef<str>>, Cow<'a, Value>)>,
    style: Style,
    level: usize,
    out: &mut String,
) {
    let any = items.len() > 0;
    out.push(open);
    for (i, (key, value)) in items.enumerate() {
        if i > 0 {
            out.push_str(style.comma);
        }
        new_line(style, level + 1, out);
        if let Some(key) = key {
            write_string(key.as_ref(), out);
            out.push_str(style.colon);
        }
        write(&value, style, level + 1, out);
    }
    if any {
        new_line(style, level, out);
    }
    out.push(close);
}

fn new_line(style: Style, level: usize, out: &mut String) {
    if let Some(indent) = style.indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent * level));
    }
}

fn write_float(f: f64, out: &mut String) {
    match f {
        _ if f.is_nan() => out.push_str("NaN"),
        f64::INFINITY => out.push_str("Infinity"),
        f64::NEG_INFINITY => out.push_str("-Infinity"),
        _ => float::write_repr(f, out),
    }
}

/// A dict key as `json.dumps` writes it: `true`, `null`, `1`, `1.5`; a tuple, which it refuses, as its `repr`.
pub(super) fn key(key: &Value) -> Cow<'_, str> {
    match key {
        Value::Str(s) => Cow::Borrowed(s),
        Value::None => Cow::Borrowed("null"),
        Value::Bool(b) => Cow::Borrowed(if *b { "true" } else { "false" }),
        Value::Float(f) => {
            let mut out = String::new();
            write_float(*f, &mut out);
            Cow::Owned(out)
        }
        Value::Enum(e) => self::key(&e.value),
        _ => Cow::Owned(repr::repr(key)),
    }
}

/// 0 for a byte that stands for itself in a JSON string, else what follows its backslash (`u` for `\u00xx`).
static ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 0x20 {
        table[i] = b'u';
        i += 1;
    }
    table[0x08] = b'b';
    table[b'\t' as usize] = b't';
    table[b'\n' as usize] = b'n';
    table[0x0c] = b'f';
    table[b'\r' as usize] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// The bytes that [`write_string`] writes.
pub fn written_len(s: &str) -> usize {
    let escape = |b: u8| match ESCAPES[usize::from(b)] {
        0 => 1,
        b'u' => 6,
        _ => 2,
    };
    2 + s.bytes().map(escape).sum::<usize>()
}

/// The JSON string of `s` at the end of `out`, as `json`, orjson and `serde_json` all write it.
pub fn write_string(s: &str, out: &mut String) {
    out.reserve(s.len() + 2);
    out.push('"');
    let mut rest = s;
    while let Some(at) = rest.bytes().position(|b| ESCAPES[usize::from(b)] != 0) {
        let b = rest.as_bytes()[at];
        let escape = ESCAPES[usize::from(b)];
        out.push_str(&rest[..at]);
        // What is escaped is one byte long.
        rest = &rest[at + 1..];
        out.push('\\');
        out.push(char::from(escape));
        if escape == b'u' {
            write!(out, "{b:04x}").expect("a string takes all that is written");
        }
    }
    out.push_str(rest);
    out.push('"');
}
