//! JSON: read, put into one form, looked into.
//!
//! A value of type JSON is kept as its text in PostgreSQL's form of `jsonb`: the members of an object in the order of
//! length and bytes of their names, of several of one name the last, a space after `:` and `,`. So equal values are equal
//! texts. Numbers keep their digits. Texts may come from other peers: depth is bounded, and what does not read is `None`.

use super::numeric::Numeric;

/// Arrays and objects within one another.
const DEPTH_MAX: u32 = 64;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true`, `false`.
    Boolean(bool),
    /// A number.
    Number(Numeric),
    /// A text.
    Text(String),
    /// `[..]`.
    Array(Vec<Json>),
    /// `{..}`, in order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a text.
    pub fn parse(text: &str) -> Option<Json> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.blanks();
        (reader.at == text.len()).then_some(value)
    }

    /// An object of these members.
    pub fn object(mut members: Vec<(String, Json)>) -> Json {
        members.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        // Of several of one name, which the sort left in their order, the last.
        members.reverse();
        members.dedup_by(|(a, _), (b, _)| a == b);
        members.reverse();
        Json::Object(members)
    }

    /// `object`, `array`, ..
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Boolean(_) => "boolean",
            Json::Number(_) => "number",
            Json::Text(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        }
    }

    /// The member of that name.
    pub fn member(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(other, _)| other == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The element at that place, from 0; negative ones count from the end.
    pub fn element(&self, at: i64) -> Option<&Json> {
        let Json::Array(elements) = self else { return None };
        let at = if at < 0 { at.checked_add(elements.len() as i64)? } else { at };
        elements.get(usize::try_from(at).ok()?)
    }

    /// What a step of a path leads to: a name, or the number of an element.
    pub fn step(&self, step: &str) -> Option<&Json> {
        match self {
            Json::Array(_) => self.element(step.trim().parse().ok()?),
            _ => self.member(step),
        }
    }

    /// Whether `other` is contained in it, as `@>` has it: an array contains what is one of its elements, too.
    pub fn contains(&self, other: &Json) -> bool {
        match (self, other) {
            (_, Json::Array(_) | Json::Object(_)) => self.covers(other),
            (Json::Array(own), _) => own.iter().any(|element| element.covers(other)),
            _ => self.covers(other),
        }
    }

    fn covers(&self, other: &Json) -> bool {
        match (self, other) {
            (Json::Object(_), Json::Object(wanted)) => {
                wanted.iter().all(|(name, value)| self.member(name).is_some_and(|own| own.covers(value)))
            }
            (Json::Array(own), Json::Array(wanted)) => {
                wanted.iter().all(|value| own.iter().any(|element| element.covers(value)))
            }
            (Json::Number(a), Json::Number(b)) => a.compare(*b).is_eq(),
            (a, b) => a == b,
        }
    }

    /// Without members that are `null`.
    pub fn stripped(self) -> Json {
        match self {
            Json::Object(members) => {
                let kept = members.into_iter().filter(|(_, value)| *value != Json::Null);
                Json::Object(kept.map(|(name, value)| (name, value.stripped())).collect())
            }
            Json::Array(elements) => Json::Array(elements.into_iter().map(Json::stripped).collect()),
            other => other,
        }
    }

    /// The text of it.
    pub fn print(&self) -> String {
        let mut out = String::new();
        self.print_to(&mut out);
        out
    }

    fn print_to(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Boolean(truth) => out.push_str(if *truth { "true" } else { "false" }),
            Json::Number(number) => out.push_str(&number.to_string()),
            Json::Text(text) => quote(text, out),
            Json::Array(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    element.print_to(out);
                }
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    quote(name, out);
                    out.push_str(": ");
                    value.print_to(out);
                }
                out.push('}');
            }
        }
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            char if char < ' ' => out.push_str(&format!("\\u{:04x}", char as u32)),
            char => out.push(char),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn takes(&mut self, byte: u8) -> bool {
        self.blanks();
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        self.text.get(self.at..)?.starts_with(word).then(|| self.at += word.len())?;
        Some(value)
    }

    fn value(&mut self, depth: u32) -> Option<Json> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.blanks();
        match self.peek()? {
            b'n' => self.word("null", Json::Null),
            b't' => self.word("true", Json::Boolean(true)),
            b'f' => self.word("false", Json::Boolean(false)),
            b'"' => self.string().map(Json::Text),
            b'[' => {
                self.at += 1;
                let mut elements = Vec::new();
                if self.takes(b']') {
                    return Some(Json::Array(elements));
                }
                loop {
                    elements.push(self.value(depth + 1)?);
                    if self.takes(b']') {
                        return Some(Json::Array(elements));
                    }
                    self.takes(b',').then_some(())?;
                }
            }
            b'{' => {
                self.at += 1;
                let mut members = Vec::new();
                if self.takes(b'}') {
                    return Some(Json::Object(members));
                }
                loop {
                    self.blanks();
                    let name = self.string()?;
                    self.takes(b':').then_some(())?;
                    members.push((name, self.value(depth + 1)?));
                    if self.takes(b'}') {
                        return Some(Json::object(members));
                    }
                    self.takes(b',').then_some(())?;
                }
            }
            _ => self.number(),
        }
    }

    fn number(&mut self) -> Option<Json> {
        let from = self.at;
        let digits = |reader: &mut Self| {
            let from = reader.at;
            while matches!(reader.peek(), Some(b'0'..=b'9')) {
                reader.at += 1;
            }
            (reader.at > from).then_some(reader.at - from)
        };
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let leading_zero = self.peek() == Some(b'0');
        (digits(self)? == 1 || !leading_zero).then_some(())?;
        if self.peek() == Some(b'.') {
            self.at += 1;
            digits(self)?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            digits(self)?;
        }
        Numeric::parse(self.text.get(from..self.at)?).map(Json::Number)
    }

    fn string(&mut self) -> Option<String> {
        (self.peek()? == b'"').then(|| self.at += 1)?;
        let mut string = String::new();
        loop {
            let char = self.text.get(self.at..)?.chars().next()?;
            self.at += char.len_utf8();
            match char {
                '"' => return Some(string),
                '\\' => {
                    let escaped = self.peek()?;
                    self.at += 1;
                    string.push(match escaped {
                        b'"' | b'\\' | b'/' => char::from(escaped),
                        b'n' => '\n',
                        b'r' => '\r',
                        b't' => '\t',
                        b'b' => '\u{8}',
                        b'f' => '\u{c}',
                        b'u' => self.escaped()?,
                        _ => return None,
                    });
                }
                char if char < ' ' => return None,
                char => string.push(char),
            }
        }
    }

    /// What stands behind `\u`: one unit of UTF-16, or two.
    fn escaped(&mut self) -> Option<char> {
        let first = self.unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            // PostgreSQL has no text with a zero in it.
            return char::from_u32(first).filter(|char| *char != '\0');
        }
        self.text.get(self.at..)?.starts_with("\\u").then(|| self.at += 2)?;
        let second = self.unit().filter(|unit| (0xdc00..0xe000).contains(unit))?;
        char::from_u32(0x1_0000 + (first - 0xd800) * 0x400 + (second - 0xdc00))
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Boolean),
            any::<i64>().prop_map(|number| Json::Number(Numeric::from(number))),
            "[a\"\\\\\n\u{1}é🐟]{0,4}".prop_map(Json::Text),
        ];
        leaf.prop_recursive(4, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
                prop::collection::vec(("[ab]{0,2}", inner), 0..4).prop_map(Json::object),
            ]
        })
    }

    proptest! {
        #[test]
        fn printed_and_read_again(value in json()) {
            prop_assert_eq!(Json::parse(&value.print()), Some(value));
        }

        #[test]
        fn any_text_is_handled(text in "[\\[\\]{}\",:0-9eutrn\\\\ .é-]{0,30}") {
            let _ = Json::parse(&text);
        }
    }

    #[test]
    fn texts_take_one_form() {
        let form = |text: &str| Json::parse(text).map(|json| json.print());
        assert_eq!(
            form(r#" {"bb":1,"a":[1.50,1e2 , null],"bb":"\u00e9\ud83d\udc1f"} "#).unwrap(),
            "{\"a\": [1.50, 100, null], \"bb\": \"é🐟\"}"
        );
        for wrong in
            ["", "{", "[1,]", "01", "1.", "nul", "\"\\x\"", "\"\\ud800\"", "1 2", "{\"a\" 1}", "{1:2}", "\"\n\""]
        {
            assert_eq!(form(wrong), None, "{wrong}");
        }
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(form(&deep(60)).is_some() && form(&deep(100_000)).is_none());
    }

    #[test]
    fn parts_are_found() {
        let json = Json::parse(r#"{"a": [1, {"b": 2}], "c": "x"}"#).unwrap();
        let at = |path: &[&str]| path.iter().try_fold(&json, |json, step| json.step(step)).map(Json::print);
        assert_eq!(at(&["a", "1", "b"]).as_deref(), Some("2"));
        assert_eq!(at(&["a", "-2"]).as_deref(), Some("1"));
        assert_eq!(at(&["a", "x"]), None);
        assert!(json.contains(&Json::parse(r#"{"a": [{"b": 2.0}]}"#).unwrap()));
        assert!(!json.contains(&Json::parse(r#"{"a": [3]}"#).unwrap()));
    }
}
