//! Functions of JSON.

use super::listed::{Listed, types::*};
use crate::{
    Error,
    data::{Type, Value, json::Json, numeric::Numeric},
    exec::eval::mismatch,
    sql::fault::{CORRUPTED, INVALID_ARGUMENT, OUT_OF_RANGE, error, fail},
};

type Answer = Result<Value, Error>;

pub(super) const LIST: &[Listed] = &[
    Listed::new("->", &[JSON, INT], Type::Json, |all| part(all, as_json)),
    Listed::new("->", &[JSON, TEXT], Type::Json, |all| part(all, as_json)),
    Listed::new("->>", &[JSON, INT], Type::Text, |all| part(all, as_text)),
    Listed::new("->>", &[JSON, TEXT], Type::Text, |all| part(all, as_text)),
    Listed::new("#>", &[JSON, TEXT], Type::Json, |all| along_array(all, as_json)),
    Listed::new("#>>", &[JSON, TEXT], Type::Text, |all| along_array(all, as_text)),
    Listed::new("@>", &[JSON, JSON], Type::Boolean, |all| contains(all[0], all[1])),
    Listed::new("<@", &[JSON, JSON], Type::Boolean, |all| contains(all[1], all[0])),
    Listed::new("?", &[JSON, TEXT], Type::Boolean, |all| Ok(Value::Boolean(has(&parsed(all[0])?, all[1])))),
    Listed::new("||", &[JSON, JSON], Type::Json, joined),
    Listed::new("-", &[JSON, TEXT], Type::Json, without),
    Listed::new("-", &[JSON, INT], Type::Json, without),
    Listed::new("json_typeof", &[JSON], Type::Text, kind),
    Listed::new("jsonb_typeof", &[JSON], Type::Text, kind),
    Listed::new("json_array_length", &[JSON], Type::Integer, length),
    Listed::new("jsonb_array_length", &[JSON], Type::Integer, length),
    Listed::new("json_extract_path", &[JSON, TEXT], Type::Json, |all| along(all, as_json)).of_many(),
    Listed::new("jsonb_extract_path", &[JSON, TEXT], Type::Json, |all| along(all, as_json)).of_many(),
    Listed::new("json_extract_path_text", &[JSON, TEXT], Type::Text, |all| along(all, as_text)).of_many(),
    Listed::new("jsonb_extract_path_text", &[JSON, TEXT], Type::Text, |all| along(all, as_text)).of_many(),
    Listed::new("json_build_array", &[ANY], Type::Json, built_array).of_many(),
    Listed::new("jsonb_build_array", &[ANY], Type::Json, built_array).of_many(),
    Listed::new("json_build_object", &[ANY], Type::Json, built_object).of_many(),
    Listed::new("jsonb_build_object", &[ANY], Type::Json, built_object).of_many(),
    Listed::new("to_json", &[ANY], Type::Json, |all| printed(&of_value(all[0])?)),
    Listed::new("to_jsonb", &[ANY], Type::Json, |all| printed(&of_value(all[0])?)),
    // What `json_agg` collects: NULL is an element, too.
    Listed::new("json element", &[ANY], Type::Json, |all| printed(&of_value(all[0])?)).of_nulls(),
    Listed::new("json_strip_nulls", &[JSON], Type::Json, |all| printed(&parsed(all[0])?.stripped())),
    Listed::new("jsonb_strip_nulls", &[JSON], Type::Json, |all| printed(&parsed(all[0])?.stripped())),
    Listed::new("jsonb_set", &[JSON, TEXT, JSON], Type::Json, set),
    Listed::new("jsonb_set", &[JSON, TEXT, JSON, BOOL], Type::Json, set),
];

/// Bytes of JSON that a function makes.
const BYTES_MAX: usize = 1 << 20;

/// A text of type JSON.
pub fn read(text: &str) -> Result<Json, Error> {
    Json::parse(text).ok_or_else(|| error(CORRUPTED, "a value of type json that does not read as one"))
}

fn parsed(value: &Value) -> Result<Json, Error> {
    match value {
        Value::Json(text) => read(text),
        other => mismatch("a function of json", other),
    }
}

fn printed(json: &Json) -> Answer {
    let text = json.print();
    // What is made must read again: depth is bounded there.
    if text.len() > BYTES_MAX || Json::parse(&text).is_none() {
        return fail(INVALID_ARGUMENT, "a json value that is too large or nests too deep");
    }
    Ok(Value::Json(text))
}

fn as_json(json: &Json) -> Value {
    Value::Json(json.print())
}

fn as_text(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Text(text) => Value::Text(text.clone()),
        other => Value::Text(other.print()),
    }
}

/// A value as JSON.
pub fn of_value(value: &Value) -> Result<Json, Error> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Boolean(truth) => Json::Boolean(*truth),
        Value::Integer(number) => Json::Number(Numeric::from(*number)),
        Value::Numeric(number) => Json::Number(*number),
        Value::Real(number) if !number.is_finite() => Json::Text(value.to_string()),
        Value::Real(number) => {
            let exact = Numeric::parse(&crate::data::real::print(*number));
            Json::Number(exact.ok_or_else(|| error(OUT_OF_RANGE, "a number with too many digits for json"))?)
        }
        Value::Json(text) => read(text)?,
        Value::Timestamp(_) => Json::Text(value.to_string().replacen(' ', "T", 1)),
        other => Json::Text(other.to_string()),
    })
}

fn part(all: &[&Value], give: fn(&Json) -> Value) -> Answer {
    let json = parsed(all[0])?;
    let found = match all[1] {
        Value::Integer(at) => json.element(*at),
        Value::Text(name) => json.member(name),
        other => return mismatch("->", other),
    };
    Ok(found.map_or(Value::Null, give))
}

/// The steps of an array in a text: `{a,0,"b c"}`.
fn steps(value: &Value) -> Result<Vec<String>, Error> {
    let Value::Text(text) = value else { return mismatch("a path", value) };
    let inner = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let Some(inner) = inner else {
        return fail(INVALID_ARGUMENT, format!("a path is written '{{a,b,0}}'; found \"{text}\""));
    };
    let (mut steps, mut step, mut quoted, mut chars) = (Vec::new(), String::new(), false, inner.chars());
    while let Some(char) = chars.next() {
        match char {
            '"' => quoted = !quoted,
            '\\' => step.extend(chars.next()),
            ',' if !quoted => steps.push(core::mem::take(&mut step)),
            char if char.is_ascii_whitespace() && !quoted && step.is_empty() => {}
            char => step.push(char),
        }
    }
    if !inner.trim().is_empty() {
        steps.push(step);
    }
    Ok(steps)
}

fn along_array(all: &[&Value], give: fn(&Json) -> Value) -> Answer {
    let json = parsed(all[0])?;
    let steps = steps(all[1])?;
    Ok(steps.iter().try_fold(&json, |json, step| json.step(step)).map_or(Value::Null, give))
}

fn along(all: &[&Value], give: fn(&Json) -> Value) -> Answer {
    if all.iter().any(|value| value.is_null()) {
        return Ok(Value::Null);
    }
    let json = parsed(all[0])?;
    let found = all[1..].iter().try_fold(&json, |json, step| json.step(&step.to_string()));
    Ok(found.map_or(Value::Null, give))
}

fn contains(whole: &Value, part: &Value) -> Answer {
    Ok(Value::Boolean(parsed(whole)?.contains(&parsed(part)?)))
}

fn has(json: &Json, name: &Value) -> bool {
    let name = name.to_string();
    match json {
        Json::Object(_) => json.member(&name).is_some(),
        Json::Array(elements) => elements.iter().any(|element| matches!(element, Json::Text(text) if *text == name)),
        Json::Text(text) => *text == name,
        _ => false,
    }
}

fn joined(all: &[&Value]) -> Answer {
    let elements = |json| match json {
        Json::Array(elements) => elements,
        other => vec![other],
    };
    printed(&match (parsed(all[0])?, parsed(all[1])?) {
        (Json::Object(mut members), Json::Object(more)) => {
            members.extend(more);
            Json::object(members)
        }
        (a, b) => Json::Array([elements(a), elements(b)].concat()),
    })
}

fn without(all: &[&Value]) -> Answer {
    let mut json = parsed(all[0])?;
    match (&mut json, all[1]) {
        (Json::Object(members), Value::Text(name)) => members.retain(|(other, _)| other != name),
        (Json::Array(elements), Value::Text(name)) => {
            elements.retain(|element| !matches!(element, Json::Text(text) if text == name));
        }
        (Json::Array(elements), Value::Integer(at)) => {
            let from_end = if *at < 0 { elements.len() as i64 } else { 0 };
            if let Some(at) = usize::try_from(at.saturating_add(from_end)).ok().filter(|at| *at < elements.len()) {
                elements.remove(at);
            }
        }
        _ => return fail(INVALID_ARGUMENT, format!("cannot delete that from json {}", json.kind())),
    }
    printed(&json)
}

fn kind(all: &[&Value]) -> Answer {
    Ok(Value::Text(parsed(all[0])?.kind().to_owned()))
}

fn length(all: &[&Value]) -> Answer {
    match parsed(all[0])? {
        Json::Array(elements) => Ok(Value::Integer(elements.len() as i64)),
        other => fail(INVALID_ARGUMENT, format!("cannot get array length of json {}", other.kind())),
    }
}

fn built_array(all: &[&Value]) -> Answer {
    printed(&Json::Array(all.iter().map(|value| of_value(value)).collect::<Result<_, _>>()?))
}

fn built_object(all: &[&Value]) -> Answer {
    if !all.len().is_multiple_of(2) {
        return fail(INVALID_ARGUMENT, "argument list must have an even number of elements");
    }
    let member = |pair: &[&Value]| {
        if pair[0].is_null() {
            return fail(INVALID_ARGUMENT, "a name in an object must not be null");
        }
        Ok((pair[0].to_string(), of_value(pair[1])?))
    };
    printed(&Json::object(all.chunks_exact(2).map(member).collect::<Result<_, _>>()?))
}

fn set(all: &[&Value]) -> Answer {
    let mut json = parsed(all[0])?;
    let create = !matches!(all.get(3), Some(Value::Boolean(false)));
    let steps = steps(all[1])?;
    if let Some((last, before)) = steps.split_last() {
        put(&mut json, before, last, parsed(all[2])?, create);
    }
    printed(&json)
}

/// Puts a value at the end of a path; nothing happens where the path leads nowhere.
fn put(json: &mut Json, before: &[String], last: &str, value: Json, create: bool) {
    let place = |elements: &[Json], step: &str| {
        let at: i64 = step.trim().parse().ok()?;
        Some(if at < 0 { at.checked_add(elements.len() as i64)? } else { at })
    };
    match (json, before.split_first()) {
        (Json::Object(members), Some((first, rest))) => {
            if let Some((_, inner)) = members.iter_mut().find(|(name, _)| name == first) {
                put(inner, rest, last, value, create);
            }
        }
        (Json::Array(elements), Some((first, rest))) => {
            let at = place(elements, first).and_then(|at| usize::try_from(at).ok());
            if let Some(inner) = at.and_then(|at| elements.get_mut(at)) {
                put(inner, rest, last, value, create);
            }
        }
        (Json::Object(members), None) if create || members.iter().any(|(name, _)| name == last) => {
            members.push((last.to_owned(), value));
            let Json::Object(ordered) = Json::object(core::mem::take(members)) else { return };
            *members = ordered;
        }
        (Json::Array(elements), None) => match place(elements, last) {
            Some(at) if usize::try_from(at).is_ok_and(|at| at < elements.len()) => elements[at as usize] = value,
            Some(at) if create && at < 0 => elements.insert(0, value),
            Some(_) if create => elements.push(value),
            _ => {}
        },
        _ => {}
    }
}
