//! Functions of texts and bytes.

use super::{
    listed::{Listed, types::*},
    substr,
};
use crate::{
    Error, Id,
    data::{Type, Value, case},
    exec::{cast::unhex, eval::mismatch},
    sql::fault::{BUDGET, INVALID_ARGUMENT, INVALID_TEXT, fail},
};

type Answer = Result<Value, Error>;

pub(super) const LIST: &[Listed] = &[
    Listed::new("lpad", &[TEXT, INT], Type::Text, |all| padded(all, true)),
    Listed::new("lpad", &[TEXT, INT, TEXT], Type::Text, |all| padded(all, true)),
    Listed::new("rpad", &[TEXT, INT], Type::Text, |all| padded(all, false)),
    Listed::new("rpad", &[TEXT, INT, TEXT], Type::Text, |all| padded(all, false)),
    Listed::new("left", &[TEXT, INT], Type::Text, left),
    Listed::new("right", &[TEXT, INT], Type::Text, right),
    Listed::new("repeat", &[TEXT, INT], Type::Text, repeat),
    Listed::new("reverse", &[TEXT], Type::Text, |all| Ok(Value::Text(text(all[0])?.chars().rev().collect()))),
    Listed::new("split_part", &[TEXT, TEXT, INT], Type::Text, split_part),
    Listed::new("translate", &[TEXT, TEXT, TEXT], Type::Text, translate),
    Listed::new("initcap", &[TEXT], Type::Text, initcap),
    Listed::new("concat_ws", &[TEXT, ANY], Type::Text, concat_ws).of_many(),
    Listed::new("format", &[TEXT, ANY], Type::Text, format_text).of_many(),
    Listed::new("starts_with", &[TEXT, TEXT], Type::Boolean, |all| {
        Ok(Value::Boolean(text(all[0])?.starts_with(text(all[1])?)))
    }),
    Listed::new("ascii", &[TEXT], Type::Integer, |all| {
        Ok(Value::Integer(text(all[0])?.chars().next().map_or(0, |first| i64::from(u32::from(first)))))
    }),
    Listed::new("chr", &[INT], Type::Text, chr),
    Listed::new("bit_length", &[TEXT], Type::Integer, |all| Ok(Value::Integer(bytes(all[0])?.len() as i64 * 8))),
    Listed::new("octet_length", &[TEXT], Type::Integer, |all| Ok(Value::Integer(bytes(all[0])?.len() as i64))),
    Listed::new("octet_length", &[BYTES], Type::Integer, |all| Ok(Value::Integer(bytes(all[0])?.len() as i64))),
    Listed::new("overlay", &[TEXT, TEXT, INT], Type::Text, overlay),
    Listed::new("overlay", &[TEXT, TEXT, INT, INT], Type::Text, overlay),
    Listed::new("quote_literal", &[TEXT], Type::Text, |all| Ok(Value::Text(literal(text(all[0])?)))),
    Listed::new("quote_ident", &[TEXT], Type::Text, |all| Ok(Value::Text(identifier(text(all[0])?)))),
    Listed::new("encode", &[BYTES, TEXT], Type::Text, encode),
    Listed::new("decode", &[TEXT, TEXT], Type::Blob, decode),
    Listed::new("to_hex", &[INT], Type::Text, |all| match all[0] {
        Value::Integer(number) => Ok(Value::Text(format!("{number:x}"))),
        other => mismatch("to_hex", other),
    }),
    Listed::new("md5", &[TEXT], Type::Text, |all| {
        Ok(Value::Text(md5(bytes(all[0])?).iter().map(|byte| format!("{byte:02x}")).collect()))
    }),
    Listed::new("md5", &[BYTES], Type::Text, |all| {
        Ok(Value::Text(md5(bytes(all[0])?).iter().map(|byte| format!("{byte:02x}")).collect()))
    }),
    Listed::new("sha1", &[BYTES], Type::Blob, |all| Ok(Value::Blob(Id::hash(bytes(all[0])?).0.to_vec()))),
];

/// Text that a function makes is at most this long.
const TEXT_BYTES_MAX: usize = 1 << 20;

pub(super) fn text(value: &Value) -> Result<&str, Error> {
    match value {
        Value::Text(text) => Ok(text),
        other => mismatch("a function of text", other),
    }
}

pub(super) fn integer(value: &Value) -> Result<i64, Error> {
    match value {
        Value::Integer(number) => Ok(*number),
        other => mismatch("a function of integers", other),
    }
}

fn bytes(value: &Value) -> Result<&[u8], Error> {
    match value {
        Value::Text(text) => Ok(text.as_bytes()),
        Value::Blob(bytes) => Ok(bytes),
        other => mismatch("a function of bytes", other),
    }
}

/// A text unless it is too long.
fn bounded(text: String) -> Answer {
    if text.len() > TEXT_BYTES_MAX {
        return too_long();
    }
    Ok(Value::Text(text))
}

fn too_long<T>() -> Result<T, Error> {
    fail(INVALID_ARGUMENT, "the text that a function makes is too long")
}

/// A number of characters that a function makes; negative ones count as none.
fn count(value: &Value) -> Result<usize, Error> {
    match usize::try_from(integer(value)?.max(0)) {
        Ok(count) if count <= TEXT_BYTES_MAX => Ok(count),
        _ => too_long(),
    }
}

fn padded(all: &[&Value], in_front: bool) -> Answer {
    let (own, wanted) = (text(all[0])?, count(all[1])?);
    let fill = all.get(2).map_or(Ok(" "), |fill| text(fill))?;
    let length = own.chars().count();
    if length >= wanted || fill.is_empty() {
        return Ok(Value::Text(own.chars().take(wanted).collect()));
    }
    let filling: String = fill.chars().cycle().take(wanted - length).collect();
    bounded(if in_front { filling + own } else { own.to_owned() + &filling })
}

/// How many of so many characters `left` and `right` keep; negative numbers leave so many out.
fn kept(length: usize, wanted: i64) -> usize {
    let length = length as i64;
    if wanted < 0 { length.saturating_add(wanted).max(0) as usize } else { wanted.min(length) as usize }
}

fn left(all: &[&Value]) -> Answer {
    let text = text(all[0])?;
    Ok(Value::Text(text.chars().take(kept(text.chars().count(), integer(all[1])?)).collect()))
}

fn right(all: &[&Value]) -> Answer {
    let text = text(all[0])?;
    let length = text.chars().count();
    Ok(Value::Text(text.chars().skip(length - kept(length, integer(all[1])?)).collect()))
}

fn repeat(all: &[&Value]) -> Answer {
    let (text, times) = (text(all[0])?, integer(all[1])?.max(0));
    match usize::try_from(times).ok().and_then(|times| Some((times, text.len().checked_mul(times)?))) {
        Some((_, 0)) => Ok(Value::Text(String::new())),
        Some((times, length)) if length <= TEXT_BYTES_MAX => Ok(Value::Text(text.repeat(times))),
        _ => too_long(),
    }
}

fn split_part(all: &[&Value]) -> Answer {
    let (text, separator, wanted) = (text(all[0])?, text(all[1])?, integer(all[2])?);
    if wanted == 0 {
        return fail(INVALID_ARGUMENT, "field position must not be zero");
    }
    let parts: Vec<&str> = if separator.is_empty() { vec![text] } else { text.split(separator).collect() };
    let at = if wanted > 0 { wanted - 1 } else { parts.len() as i64 + wanted };
    let part = usize::try_from(at).ok().and_then(|at| parts.get(at).copied());
    Ok(Value::Text(part.unwrap_or_default().to_owned()))
}

fn translate(all: &[&Value]) -> Answer {
    let (from, to): (Vec<char>, Vec<char>) = (text(all[1])?.chars().collect(), text(all[2])?.chars().collect());
    let translated = text(all[0])?.chars().filter_map(|char| match from.iter().position(|other| *other == char) {
        Some(at) => to.get(at).copied(),
        None => Some(char),
    });
    bounded(translated.collect())
}

fn initcap(all: &[&Value]) -> Answer {
    let mut inside = false;
    let cased = text(all[0])?.chars().map(|char| {
        let cased = if inside { case::lower(char) } else { case::upper(char) };
        inside = char.is_alphanumeric();
        cased
    });
    Ok(Value::Text(cased.collect()))
}

fn concat_ws(all: &[&Value]) -> Answer {
    if all[0].is_null() {
        return Ok(Value::Null);
    }
    let parts = all[1..].iter().filter(|value| !value.is_null()).map(|value| value.to_string());
    bounded(parts.collect::<Vec<_>>().join(text(all[0])?))
}

fn literal(text: &str) -> String {
    let quoted = format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    if text.contains('\\') { format!("E{quoted}") } else { quoted }
}

fn identifier(text: &str) -> String {
    let plain = |(at, char): (usize, char)| char.is_ascii_lowercase() || char == '_' || at > 0 && char.is_ascii_digit();
    if !text.is_empty() && text.chars().enumerate().all(plain) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// `format(text, ..)` with `%s`, `%I`, `%L`, `%%`, positions `%1$s` and widths `%-10s`.
fn format_text(all: &[&Value]) -> Answer {
    if all[0].is_null() {
        return Ok(Value::Null);
    }
    let (mut out, mut chars, mut next) = (String::new(), text(all[0])?.chars().peekable(), 1);
    while let Some(char) = chars.next() {
        if char != '%' {
            out.push(char);
            continue;
        }
        let (mut number, mut minus) = (None::<usize>, false);
        let kind = loop {
            match chars.next() {
                Some('-') => minus = true,
                Some('$') => next = number.take().filter(|at| *at > 0).unwrap_or(usize::MAX),
                Some(digit) if digit.is_ascii_digit() => {
                    let value = digit as usize - '0' as usize;
                    number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(value).min(TEXT_BYTES_MAX + 1));
                }
                other => break other,
            }
        };
        if kind == Some('%') {
            out.push('%');
            continue;
        }
        let Some(value) = all.get(next) else { return fail(INVALID_ARGUMENT, "too few arguments for format()") };
        next += 1;
        let part = match (kind, value) {
            (Some('s'), Value::Null) => String::new(),
            (Some('s'), value) => value.to_string(),
            (Some('L'), Value::Null) => "NULL".to_owned(),
            (Some('L'), value) => literal(&value.to_string()),
            (Some('I'), Value::Null) => return fail(INVALID_ARGUMENT, "NULL is no name"),
            (Some('I'), value) => identifier(&value.to_string()),
            _ => return fail(INVALID_ARGUMENT, "unrecognized format() type specifier; it is %s, %I, %L or %%"),
        };
        let width = number.unwrap_or(0);
        if out.len().saturating_add(width).saturating_add(part.len()) > TEXT_BYTES_MAX {
            return too_long();
        }
        let gap = " ".repeat(width.saturating_sub(part.chars().count()));
        out.push_str(&if minus { part + &gap } else { gap + &part });
    }
    Ok(Value::Text(out))
}

fn chr(all: &[&Value]) -> Answer {
    let number = integer(all[0])?;
    match u32::try_from(number).ok().and_then(char::from_u32) {
        Some(char) if char != '\0' => Ok(Value::Text(char.to_string())),
        _ => fail(BUDGET, format!("{number} is no character")),
    }
}

fn overlay(all: &[&Value]) -> Answer {
    let (own, new, from) = (text(all[0])?, text(all[1])?, integer(all[2])?);
    let length = all.get(3).map_or(Ok(new.chars().count() as i64), |length| integer(length))?;
    if from <= 0 {
        return fail(INVALID_ARGUMENT, "negative substring length not allowed");
    }
    let behind = substr(own, from.saturating_add(length), i64::MAX)?;
    bounded(substr(own, 1, from - 1)? + new + &behind)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(all: &[&Value]) -> Answer {
    let bytes = bytes(all[0])?;
    if bytes.len() > TEXT_BYTES_MAX / 4 {
        return too_long();
    }
    Ok(Value::Text(match text(all[1])? {
        "hex" => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        "base64" => {
            let mut out = String::new();
            for (index, chunk) in bytes.chunks(3).enumerate() {
                // Lines of 76 characters, as RFC 2045 has them.
                out.push_str(if index > 0 && index % 19 == 0 { "\n" } else { "" });
                let bits = chunk.iter().chain([&0, &0]).take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
                for at in 0..4 {
                    let digit = BASE64[(bits >> (18 - 6 * at)) as usize & 63];
                    out.push(if at <= chunk.len() { char::from(digit) } else { '=' });
                }
            }
            out
        }
        "escape" => bytes
            .iter()
            .map(|byte| match byte {
                b'\\' => "\\\\".to_owned(),
                0 | 0x80.. => format!("\\{byte:03o}"),
                byte => char::from(*byte).to_string(),
            })
            .collect(),
        other => return fail(INVALID_ARGUMENT, format!("unrecognized encoding: \"{other}\"")),
    }))
}

fn decode(all: &[&Value]) -> Answer {
    let own = text(all[0])?;
    let packed: String = own.chars().filter(|char| !char.is_ascii_whitespace()).collect();
    let decoded = match text(all[1])? {
        "hex" => match unhex(&packed) {
            None => return fail(INVALID_ARGUMENT, "invalid hexadecimal digits"),
            bytes => bytes,
        },
        "base64" => from_base64(packed.trim_end_matches('=')),
        other => return fail(INVALID_ARGUMENT, format!("unrecognized encoding: \"{other}\"")),
    };
    match decoded {
        Some(bytes) => Ok(Value::Blob(bytes)),
        None => fail(INVALID_TEXT, "this does not read in the encoding"),
    }
}

fn from_base64(digits: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for chunk in digits.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for digit in chunk {
            bits = bits << 6 | BASE64.iter().position(|other| other == digit)? as u32;
        }
        bits <<= 6 * (4 - chunk.len());
        let count = (chunk.len() > 1).then(|| chunk.len() - 1)?;
        bytes.extend(bits.to_be_bytes().into_iter().skip(1).take(count));
    }
    Some(bytes)
}

/// MD5 (RFC 1321): a checksum that others have stored, not one to trust.
fn md5(bytes: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    // A one, zeros, and the length in bits at the end of the last block.
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend((bytes.len() as u64).wrapping_mul(8).to_le_bytes());
    let mut state: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        let word =
            |at: usize| block[at * 4..at * 4 + 4].iter().rev().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64 {
            let (mixed, at) = match step / 16 {
                0 => (b & c | !b & d, step),
                1 => (d & b | !d & c, (5 * step + 1) % 16),
                2 => (b ^ c ^ d, (3 * step + 5) % 16),
                _ => (c ^ (b | !d), 7 * step % 16),
            };
            let sine = (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mixed).wrapping_add(sine).wrapping_add(word(at));
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(SHIFTS[step / 16][step % 4]));
        }
        for (own, more) in state.iter_mut().zip([a, b, c, d]) {
            *own = own.wrapping_add(more);
        }
    }
    let mut digest = [0; 16];
    digest.chunks_exact_mut(4).zip(state).for_each(|(four, word)| four.copy_from_slice(&word.to_le_bytes()));
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_definition() {
        let digest = |text: &str| md5(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(digest(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(digest("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
        // Around the end of a block.
        assert_eq!(digest(&"a".repeat(55)), "ef1772b6dff9a122358552954ad0df65");
        assert_eq!(digest(&"a".repeat(56)), "3b0c8ac703f828b04c6c197006d17218");
        assert_eq!(digest(&"a".repeat(64)), "014842d480b571495a4a0363793f7367");
    }

    #[test]
    fn base64_goes_both_ways() {
        for length in 0..200_u8 {
            let bytes: Vec<u8> = (0..length).collect();
            let text = encode(&[&Value::Blob(bytes.clone()), &Value::Text("base64".to_owned())]).unwrap();
            assert_eq!(decode(&[&text, &Value::Text("base64".to_owned())]), Ok(Value::Blob(bytes)));
        }
    }

    #[test]
    fn results_are_bounded() {
        let text = |text: &str| Value::Text(text.to_owned());
        let huge = Value::Integer(i64::MAX);
        assert!(repeat(&[&text("ab"), &huge]).is_err());
        assert!(padded(&[&text("a"), &huge], true).is_err());
        assert!(format_text(&[&text("%999999999999s"), &text("a")]).is_err());
        assert_eq!(left(&[&text("é"), &Value::Integer(i64::MIN)]), Ok(text("")));
        assert_eq!(right(&[&text("é"), &huge]), Ok(text("é")));
        assert_eq!(split_part(&[&text("a"), &text(","), &Value::Integer(i64::MIN)]), Ok(text("")));
    }
}
