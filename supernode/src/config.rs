//! The configuration file: settings below the environment and the flags.
//!
//! A key is the name of a flag with `_` for `-`, so that a setting is declared once ([`crate::args::Args`]) and each is
//! there in all three places. What the file says becomes arguments in front of those of the command line, but for what a
//! flag or the environment says already. `found = false` is `--no-found`. Numbers are numbers, switches are `true` or
//! `false`, and what may be given several times is a list, or the types would be those of texts.

use std::{
    any::TypeId,
    collections::BTreeMap,
    ffi::OsString,
    ops::Range,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::files::{self, FileError};

/// What is wrong with a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It does not read.
    #[error("--config {0}")]
    File(#[from] FileError),
    /// A line is wrong.
    #[error("{place}: {reason}")]
    Line {
        /// Where: the file, the line and the key, as far as they are known.
        place: String,
        /// What is wrong there.
        reason: String,
    },
}

/// Where values come from, for what is said about them.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<String, Place>);

#[derive(Clone, Debug)]
enum Place {
    Environment(String),
    File(String),
}

impl Sources {
    /// Where the value of a flag (without its dashes) comes from.
    pub fn of(&self, flag: &str) -> String {
        match self.0.get(flag) {
            Some(Place::Environment(place) | Place::File(place)) => place.clone(),
            None => format!("--{flag}"),
        }
    }

    /// Whether it comes from the configuration file.
    pub fn is_file(&self, flag: &str) -> bool {
        matches!(self.0.get(flag), Some(Place::File(_)))
    }

    /// Notes what the environment gave.
    fn environment(command: &Command, told: &ArgMatches) -> Sources {
        let named = |arg: &Arg| {
            let given = told.value_source(arg.get_id().as_str()) == Some(ValueSource::EnvVariable);
            let name = arg.get_env()?.to_string_lossy().into_owned();
            given.then_some((arg.get_long()?.to_owned(), Place::Environment(name)))
        };
        Sources(command.get_arguments().filter_map(named).collect())
    }
}

/// The arguments with those of the configuration file, if they or the environment name one, in front.
pub(crate) fn merge(
    command: &Command,
    arguments: Vec<OsString>,
    told: &ArgMatches,
) -> Result<(Vec<OsString>, Sources), ConfigError> {
    let mut sources = Sources::environment(command, told);
    let file = told.get_one::<PathBuf>("config").filter(|file| !file.as_os_str().is_empty());
    let Some(file) = file else { return Ok((arguments, sources)) };
    let text = files::read_text(file)?;
    let file = File { name: file, text: &text };
    let table = DeTable::parse(&text).map_err(|error| {
        let place = error.span().map_or_else(|| file.name.display().to_string(), |span| file.place(&span));
        ConfigError::Line { place, reason: error.message().lines().collect::<Vec<_>>().join(", ") }
    })?;
    let mut arguments = arguments.into_iter();
    let mut merged: Vec<OsString> = arguments.next().into_iter().collect();
    for (key, value) in table.into_inner() {
        let place = format!("{}: {}", file.place(&key.span()), key.get_ref());
        let wrong = |reason: String| ConfigError::Line { place: place.clone(), reason };
        let arg = find(command, key.get_ref()).ok_or_else(|| wrong(unknown(command, key.get_ref())))?;
        let flag = arg.get_long().unwrap_or_default();
        let given = arguments_of(command, arg, flag, &value).map_err(wrong)?;
        // One at a time, to know which one it is that does not read.
        let alone = std::iter::once(OsString::from(command.get_name())).chain(given.iter().cloned());
        command.clone().try_get_matches_from(alone).map_err(|error| wrong(reason(&error)))?;
        if !is_told(told, arg.get_id().as_str()) && !is_told(told, &format!("no_{}", key.get_ref())) {
            merged.extend(given);
            sources.0.insert(flag.to_owned(), Place::File(place));
        }
    }
    merged.extend(arguments);
    Ok((merged, sources))
}

struct File<'a> {
    name: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn place(&self, span: &Range<usize>) -> String {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        format!("{}:{}", self.name.display(), before.matches('\n').count() + 1)
    }
}

/// The flags that are settings, by their keys: `--no-found` is the other value of `found`, a `--no-this` without a `--this` is
/// `this = false`, and a file names no other file.
fn settings(command: &Command) -> impl Iterator<Item = (String, &Arg)> {
    let named = |arg| -> Option<(String, &Arg)> {
        let flag = Arg::get_long(arg)?;
        let key = match flag.strip_prefix("no-") {
            Some(other) if has(command, other) => return None,
            Some(other) => other,
            None => flag,
        };
        let is_setting = !["config", "help", "version"].contains(&key);
        is_setting.then(|| (key.replace('-', "_"), arg))
    };
    command.get_arguments().filter_map(named)
}

fn has(command: &Command, flag: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some(flag))
}

fn find<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    settings(command).find_map(|(name, arg)| (name == key).then_some(arg))
}

fn unknown(command: &Command, key: &str) -> String {
    match key {
        "config" => "a configuration file names no other one".to_owned(),
        _ => {
            let known: Vec<String> = settings(command).map(|(name, _)| name).collect();
            format!("there is no such setting; there are {}", known.join(", "))
        }
    }
}

/// Whether a flag or the environment says it.
fn is_told(told: &ArgMatches, id: &str) -> bool {
    // Asking for what is no argument is a panic.
    told.ids().any(|known| known == id)
        && matches!(told.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// A value as arguments; or why it has the wrong type.
fn arguments_of(
    command: &Command,
    arg: &Arg,
    flag: &str,
    value: &Spanned<DeValue<'_>>,
) -> Result<Vec<OsString>, String> {
    let with = |text: &dyn std::fmt::Display| OsString::from(format!("--{flag}={text}"));
    match (Type::of(arg), value.get_ref()) {
        (Type::Switch, DeValue::Boolean(on)) => {
            // What the switch says; of `--no-this` the contrary.
            let this = flag.strip_prefix("no-").unwrap_or(flag);
            let wanted = if *on { this.to_owned() } else { format!("no-{this}") };
            Ok(if has(command, &wanted) { vec![format!("--{wanted}").into()] } else { Vec::new() })
        }
        (Type::Number, DeValue::Integer(number)) => Ok(vec![with(number)]),
        (Type::Number, DeValue::Float(number)) => Ok(vec![with(number)]),
        (Type::Text, DeValue::String(text)) => Ok(vec![with(text)]),
        (Type::List, DeValue::Array(texts)) => {
            let each = texts.iter().map(|text| match text.get_ref() {
                DeValue::String(text) => Ok(with(text)),
                other => Err(format!("it should be a list of strings, not of {}", article(other))),
            });
            each.collect()
        }
        (wanted, other) => Err(format!("it should be {}, not {}", wanted.name(), article(other))),
    }
}

#[derive(Clone, Copy)]
enum Type {
    Switch,
    Number,
    Text,
    List,
}

impl Type {
    fn of(arg: &Arg) -> Type {
        let kind = arg.get_value_parser().type_id();
        let numbers = [TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>(), TypeId::of::<usize>()];
        match arg.get_action() {
            ArgAction::SetTrue | ArgAction::SetFalse => Type::Switch,
            ArgAction::Append => Type::List,
            _ if kind == TypeId::of::<f64>() || numbers.iter().any(|number| kind == *number) => Type::Number,
            _ => Type::Text,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Type::Switch => "true or false",
            Type::Number => "a number",
            Type::Text => "a string",
            Type::List => "a list of strings",
        }
    }
}

fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// What clap has against a value, without the name of the flag.
fn reason(error: &clap::Error) -> String {
    use std::error::Error as _;
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    match (error.source(), line.split_once(" for '--")) {
        (Some(source), Some((value, _))) => format!("{value}: {source}"),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    #[allow(dead_code, reason = "only clap reads it")]
    struct Flags {
        #[arg(long)]
        config: Option<PathBuf>,
        #[arg(long, overrides_with = "no_both")]
        both: bool,
        #[arg(long, overrides_with = "both")]
        no_both: bool,
        #[arg(long)]
        no_turn: bool,
        #[arg(long)]
        open: bool,
    }

    fn flags(content: &str, given: &[&str]) -> Result<Vec<String>, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("c.toml");
        std::fs::write(&file, content).unwrap();
        let config = format!("--config={}", file.display());
        let arguments: Vec<OsString> = ["p", &config].iter().chain(given).map(OsString::from).collect();
        let command = <Flags as clap::CommandFactory>::command();
        let told = command.clone().try_get_matches_from(&arguments).unwrap();
        let (merged, _) = merge(&command, arguments, &told)?;
        Flags::try_parse_from(&merged).unwrap();
        let texts = merged.into_iter().map(|text| text.into_string().unwrap());
        Ok(texts.filter(|text| text.starts_with("--") && *text != config).collect())
    }

    #[test]
    fn switches() {
        for (content, wanted) in [
            ("both = true", &["--both"][..]),
            ("both = false", &["--no-both"]),
            ("turn = true", &[]),
            ("turn = false", &["--no-turn"]),
            ("open = true", &["--open"]),
            ("open = false", &[]),
        ] {
            assert_eq!(flags(content, &[]).unwrap(), wanted, "{content}");
        }
        for wrong in ["no_both = true", "no_turn = true", "config = \"other\"", "help = true", "turn = 1"] {
            assert!(flags(wrong, &[]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_flag_says_the_file_does_not() {
        assert_eq!(flags("both = true\nopen = true", &["--no-both"]).unwrap(), ["--open", "--no-both"]);
        assert_eq!(flags("both = false", &["--both"]).unwrap(), ["--both"]);
    }
}
