//! Floats as text: Python's `repr` and orjson's notation, both the shortest digits that read back as the same float.

use std::fmt::Write;

/// Python's `repr(f)`, also its `str(f)`: `1.0`, `1e-05`, `1e+16`, `nan`, `inf`, `-inf`.
pub fn repr(f: f64) -> String {
    let mut out = String::with_capacity(24);
    write_repr(f, &mut out);
    out
}

/// [`repr`] at the end of `out`.
pub fn write_repr(f: f64, out: &mut String) {
    if f.is_nan() {
        out.push_str("nan");
    } else if f.is_infinite() {
        out.push_str(if f > 0.0 { "inf" } else { "-inf" });
    } else {
        write_finite(f, -4, 2, out);
    }
}

/// The float as `orjson.dumps` writes it: `1.0`, `1e-6`, `1e+16`, and `null` for NaN and the infinities.
pub fn orjson(f: f64) -> String {
    let mut out = String::with_capacity(24);
    write_orjson(f, &mut out);
    out
}

/// [`orjson()`] at the end of `out`.
pub fn write_orjson(f: f64, out: &mut String) {
    if f.is_finite() {
        write_finite(f, -5, 1, out);
    } else {
        out.push_str("null");
    }
}

/// Decimal notation when the exponent is in `smallest..16`, else an exponent of at least `width` digits.
fn write_finite(f: f64, smallest: i32, width: usize, out: &mut String) {
    // The shortest digits that are nearest to the float, the even ones of two equally near: `{:e}` does not promise that.
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(f.abs());
    let (mantissa, power) = text.split_once('e').unwrap_or((text, "0"));
    let power: i32 = power.parse().expect("the exponent of a float is a small integer");
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut bytes = [0; 32];
    let mut len = 0;
    for &digit in whole.as_bytes().iter().chain(fraction.as_bytes()) {
        bytes[len] = digit;
        len += 1;
    }
    let all = std::str::from_utf8(&bytes[..len]).expect("a float is written in ASCII");
    let significant = all.trim_start_matches('0');
    let zeros = all.len() - significant.len();
    let digits = match significant.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    let place = if significant.is_empty() {
        0
    } else {
        whole.len() as i32 - 1 - zeros as i32
    };
    let exponent = place + power;
    let (first, rest) = digits.split_at(1);
    if f.is_sign_negative() {
        out.push('-');
    }
    if !(smallest..16).contains(&exponent) {
        out.push_str(first);
        if !rest.is_empty() {
            out.push('.');
            out.push_str(rest);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "e{sign}{:0width$}", exponent.unsigned_abs())
            .expect("a string takes all that is written");
    } else if exponent < 0 {
        out.push_str("0.");
        (1..-exponent).for_each(|_| out.push('0'));
        out.push_str(first);
        out.push_str(rest);
    } else {
        let whole = usize::try_from(exponent).expect("the exponent is not negative here");
        out.push_str(first);
        let (integer, fraction) = rest.split_at(whole.min(rest.len()));
        out.push_str(integer);
        (integer.len()..whole).for_each(|_| out.push('0'));
        out.push('.');
        out.push_str(if fraction.is_empty() { "0" } else { fraction });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn floats_read_as_python_and_orjson_write_them() {
        for row in vectors::rows("floats") {
            let bits = u64::from_str_radix(vectors::text(&row, "bits"), 16).expect("bits are hexadecimal");
            let f = f64::from_bits(bits);
            assert_eq!(repr(f), vectors::text(&row, "repr"));
            assert_eq!(orjson(f), vectors::text(&row, "orjson"));
        }
    }

    #[test]
    fn non_finite_float_has_a_name_in_python_and_is_null_in_orjson() {
        let all = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        assert_eq!(all.map(repr), ["nan", "inf", "-inf"]);
        assert_eq!(all.map(orjson), ["null"; 3]);
    }
}
