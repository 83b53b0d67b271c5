//! The functions that only askers compute, as lists: name, types of the arguments, type of the result, what it does.
//!
//! A peer that serves has none of them: it reaches them by a pointer that the binder sets, so that the linker leaves them
//! out of the module of a page that runs no SQL text (docs/decisions/021-types.md). Plans are made so that owners need
//! none ([`Scalar::is_portable`](crate::sql::scalar::Scalar::is_portable)).

use std::sync::OnceLock;

use super::{convert, json, math, regex, sealed, sketch, stored, text, time};
use crate::{
    Error,
    data::{Type, Value},
    sql::fault::{UNSUPPORTED, fail},
};

/// One function, or one of several of the same name.
pub struct Listed {
    /// Its name in SQL.
    pub name: &'static str,
    /// Types of the arguments; `None` takes any. The last one goes for all that follow where it is `many`.
    pub takes: &'static [Option<Type>],
    /// Any number of arguments like the last one, none included.
    pub many: bool,
    /// Whether it is called with NULLs, too; else one makes the result NULL.
    pub nulls: bool,
    /// Whether it gives something else each time; then it takes a seed beside its arguments.
    pub volatile: bool,
    /// The type of the result.
    pub gives: Type,
    /// What it does.
    pub run: fn(&[&Value]) -> Result<Value, Error>,
}

impl Listed {
    /// A function that is NULL where an argument is.
    pub(super) const fn new(
        name: &'static str,
        takes: &'static [Option<Type>],
        gives: Type,
        run: fn(&[&Value]) -> Result<Value, Error>,
    ) -> Listed {
        Listed { name, takes, many: false, nulls: false, volatile: false, gives, run }
    }

    /// Of any number of arguments, and NULLs among them.
    pub(super) const fn of_many(self) -> Listed {
        Listed { many: true, nulls: true, ..self }
    }

    /// Also of NULLs.
    pub(super) const fn of_nulls(self) -> Listed {
        Listed { nulls: true, ..self }
    }

    /// Something else each time.
    pub(super) const fn of_chance(self) -> Listed {
        Listed { volatile: true, ..self }
    }

    /// The type of an argument; `None` is any.
    pub fn wants(&self, at: usize) -> Option<Type> {
        self.takes.get(at).or(self.takes.last()).copied().flatten()
    }

    /// Whether it takes so many arguments.
    pub fn takes_count(&self, count: usize) -> bool {
        if self.many { count + 1 >= self.takes.len() } else { count == self.takes.len() }
    }
}

/// Shorter names for types in the lists.
pub(super) mod types {
    use crate::data::Type;

    pub const ANY: Option<Type> = None;
    pub const BOOL: Option<Type> = Some(Type::Boolean);
    pub const BYTES: Option<Type> = Some(Type::Blob);
    pub const DATE: Option<Type> = Some(Type::Date);
    pub const INT: Option<Type> = Some(Type::Integer);
    pub const JSON: Option<Type> = Some(Type::Json);
    pub const NUM: Option<Type> = Some(Type::Numeric(None));
    pub const REAL: Option<Type> = Some(Type::Real);
    pub const SPAN: Option<Type> = Some(Type::Interval);
    pub const TEXT: Option<Type> = Some(Type::Text);
    pub const TIME: Option<Type> = Some(Type::Timestamp);
}

const LISTS: &[&[Listed]] = &[
    text::LIST,
    math::LIST,
    time::LIST,
    json::LIST,
    convert::LIST,
    stored::LIST,
    regex::LIST,
    sketch::LIST,
    sealed::LIST,
];

/// The functions of a name, with their numbers.
pub fn named(name: &str) -> impl Iterator<Item = (u16, &'static Listed)> {
    let lists = LISTS.iter().enumerate();
    let all =
        lists.flat_map(|(list, all)| all.iter().enumerate().map(move |(at, one)| ((list << 10 | at) as u16, one)));
    all.filter(move |(_, one)| one.name == name)
}

/// The function of a number.
pub fn numbered(number: u16) -> Option<&'static Listed> {
    LISTS.get(usize::from(number >> 10))?.get(usize::from(number & 0x3ff))
}

/// Calls the function of a name that takes values of these types.
pub fn by_name(name: &str, values: &[&Value]) -> Result<Value, Error> {
    (asker()?.by_name)(name, values)
}

fn run_by_name(name: &str, values: &[&Value]) -> Result<Value, Error> {
    let fits = |listed: &Listed| {
        let wanted = |(at, value): (usize, &&Value)| match (listed.wants(at), value.data_type()) {
            (Some(Type::Numeric(_)), Some(Type::Integer)) | (None, _) => true,
            (wanted, own) => wanted == own,
        };
        listed.takes_count(values.len()) && values.iter().enumerate().all(wanted)
    };
    match named(name).find(|(_, listed)| fits(listed)) {
        Some((_, listed)) => (listed.run)(values),
        None => fail(UNSUPPORTED, format!("{name} of such values")),
    }
}

/// What askers have and owners have not.
struct Asker {
    call: fn(u16, &[&Value]) -> Result<Value, Error>,
    by_name: fn(&str, &[&Value]) -> Result<Value, Error>,
    cast: fn(Value, Type) -> Result<Value, Error>,
    print: fn(&Value) -> String,
}

static ASKER: OnceLock<Asker> = OnceLock::new();

/// From now on this program computes what only askers do.
pub fn enable() {
    ASKER.get_or_init(|| Asker { call: run, by_name: run_by_name, cast: convert::cast, print: convert::print });
}

fn asker() -> Result<&'static Asker, Error> {
    match ASKER.get() {
        Some(asker) => Ok(asker),
        None => fail(UNSUPPORTED, "this peer does not compute with values of these types"),
    }
}

/// Calls the function of a number.
pub(super) fn call(number: u16, values: &[&Value]) -> Result<Value, Error> {
    (asker()?.call)(number, values)
}

/// To or from a type with which only askers compute.
pub fn cast(value: Value, to: Type) -> Result<Value, Error> {
    (asker()?.cast)(value, to)
}

/// The text of a value of a type with which only askers compute.
pub fn print(value: &Value) -> String {
    match ASKER.get() {
        Some(asker) => (asker.print)(value),
        None => format!("<{}>", value.data_type().map_or("NULL", Type::name)),
    }
}

fn run(number: u16, values: &[&Value]) -> Result<Value, Error> {
    match numbered(number) {
        Some(listed) if !listed.nulls && values.iter().any(|value| value.is_null()) => Ok(Value::Null),
        Some(listed) => (listed.run)(values),
        None => fail(UNSUPPORTED, "an unknown function"),
    }
}
