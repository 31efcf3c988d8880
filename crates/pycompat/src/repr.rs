//! Python's `repr()` and `str()` of values.

use super::{float, text};
use crate::value::Value;
use crate::value::items::Items;
use std::fmt::Write;

/// `repr(value)`.
///
/// ```
/// use bsft_pycompat::repr::repr;
/// use bsft_pycompat::value::Value;
///
/// let numbers = Value::list([Value::Float(1e16), Value::None, Value::Bool(true)]);
/// let value = Value::Dict(vec![("it's".into(), numbers)]);
/// assert_eq!(repr(&value), r#"{"it's": [1e+16, None, True]}"#);
/// ```
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(value, &mut out);
    out
}

/// `str(value)`: a string is itself, an enum member `Color.RED`, a model `name='x' age=3`, all else its `repr`.
pub fn str(value: &Value) -> String {
    match value {
        Value::Str(s) => s.clone(),
        Value::Enum(e) => format!("{}.{}", e.class, e.name),
        Value::Model(m) => {
            let mut out = String::new();
            write_fields(&m.fields, " ", &mut out);
            out
        }
        _ => repr(value),
    }
}

/// [`repr()`] at the end of `out`.
pub fn write_repr(value: &Value, out: &mut String) {
    match value {
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(i) => push(out, format_args!("{i}")),
        Value::BigInt(i) => push(out, format_args!("{i}")),
        Value::Float(f) => float::write_repr(*f, out),
        Value::Str(s) => write_quoted(s, out),
        Value::List(items) => write_items('[', items, "]", out),
        Value::Tuple(items) => write_items('(', items, if items.len() == 1 { ",)" } else { ")" }, out),
        Value::Set(items) if items.is_empty() => out.push_str("set()"),
        Value::Set(items) => write_items('{', items, "}", out),
        Value::Dict(items) => {
            out.push('{');
            for (i, (key, value)) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_repr(key, out);
                out.push_str(": ");
                write_repr(value, out);
            }
            out.push('}');
        }
        Value::Enum(e) => {
            push(out, format_args!("<{}.{}: ", e.class, e.name));
            write_repr(&e.value, out);
            out.push('>');
        }
        Value::Model(m) => {
            push(out, format_args!("{}(", m.class));
            write_fields(&m.fields, ", ", out);
            out.push(')');
        }
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes all that is written");
}

fn write_items(open: char, items: &Items, close: &str, out: &mut String) {
    out.push(open);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_repr(&item, out);
    }
    out.push_str(close);
}

fn write_fields(fields: &[(std::sync::Arc<str>, Value)], between: &str, out: &mut String) {
    for (i, (name, value)) in fields.iter().enumerate() {
        if i > 0 {
            out.push_str(between);
        }
        out.push_str(name);
        out.push('=');
        write_repr(value, out);
    }
}

/// `repr(s)` of a string: in single quotes unless it has one and no double quote.
pub fn write_quoted(s: &str, out: &mut String) {
    let quote = if s.contains('\'') && !s.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    let mut plain = 0;
    for (at, c) in s.char_indices() {
        let escaped = c == quote || c == '\\' || !text::is_printable(c);
        if !escaped {
            continue;
        }
        out.push_str(&s[plain..at]);
        plain = at + c.len_utf8();
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' | '\'' | '"' => out.extend(['\\', c]),
            '\0'..='\u{ff}' => push(out, format_args!("\\x{:02x}", u32::from(c))),
            '\u{100}'..='\u{ffff}' => push(out, format_args!("\\u{:04x}", u32::from(c))),
            _ => push(out, format_args!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push_str(&s[plain..]);
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{EnumMember, ModelInstance};
    use crate::{json, vectors};

    #[test]
    fn json_values_print_as_in_python() {
        for row in vectors::rows("repr") {
            let value = json::parse(vectors::text(&row, "json")).expect("the vector is JSON");
            assert_eq!(repr(&value), vectors::text(&row, "out"));
        }
    }

    #[test]
    fn values_outside_json_print_as_in_python() {
        let red = Value::Enum(Box::new(EnumMember {
            class: "Color".into(),
            name: "RED".into(),
            value: Value::from("red"),
        }));
        assert_eq!(
            (repr(&red), str(&red)),
            ("<Color.RED: 'red'>".into(), "Color.RED".into())
        );
        let fields = vec![("name".into(), Value::from("x")), ("color".into(), red)];
        let person = Value::Model(Box::new(ModelInstance {
            class: "Person".into(),
            fields,
        }));
        assert_eq!(repr(&person), "Person(name='x', color=<Color.RED: 'red'>)");
        assert_eq!(str(&person), "name='x' color=<Color.RED: 'red'>");
        assert_eq!(repr(&Value::tuple([Value::Int(1)])), "(1,)");
        assert_eq!(
            repr(&Value::tuple([])) + &repr(&Value::Set(Items::default())),
            "()set()"
        );
        let set = Value::Set([Value::Int(1), Value::None].into());
        assert_eq!(repr(&set), "{1, None}");
    }
}
