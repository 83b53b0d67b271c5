//! How the log is written: lines for people, or one JSON object a line for programs that collect them.
//!
//! ```json
//! {"timestamp":"…","level":"WARN","target":"pontoon_supernode::socket","fields":{"message":"…","link":7},"span":{"name":"request","id":"…"}}
//! ```
//!
//! `tracing-subscriber`'s own JSON would bring a crate and the standard library's half of `serde`, for the engine as well; what is
//! written here are flat values.

use std::{
    fmt::{self, Write as _},
    io::IsTerminal as _,
};

use clap::ValueEnum;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    field::RecordFields,
    fmt::{
        FmtContext, FormattedFields,
        format::{FormatEvent, FormatFields, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// An object a line: `timestamp`, `level`, `target`, the message and its values in `fields`, a request's id in `span`.
    Json,
}

/// Starts logging on standard error; once in a process.
pub fn start(format: LogFormat, filter: EnvFilter) {
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.compact().with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.with_ansi(false).fmt_fields(Members).event_format(Lines).init(),
    }
}

/// Writes values as members of an object, without its braces.
struct Members;

impl<'writer> FormatFields<'writer> for Members {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut members = String::new();
        fields.record(&mut Object(&mut members));
        writer.write_str(&members)
    }
}

/// Writes an event as a line.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let (mut now, mut fields) = (String::new(), String::new());
        SystemTime.format_time(&mut Writer::new(&mut now))?;
        event.record(&mut Object(&mut fields));
        let (level, target) = (metadata.level().as_str(), text(metadata.target()));
        write!(writer, "{{\"timestamp\":\"{now}\",\"level\":\"{level}\",\"target\":{target},\"fields\":{{{fields}}}")?;
        if let Some(span) = context.lookup_current() {
            write!(writer, ",\"span\":{{\"name\":{}", text(span.name()))?;
            let extensions = span.extensions();
            if let Some(members) = extensions.get::<FormattedFields<N>>().filter(|members| !members.is_empty()) {
                write!(writer, ",{members}")?;
            }
            writer.write_char('}')?;
        }
        writeln!(writer, "}}")
    }
}

/// Members of an object, one after the other.
struct Object<'a>(&'a mut String);

impl Object<'_> {
    fn member(&mut self, field: &Field, value: &str) {
        let comma = if self.0.is_empty() { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(self.0, "{comma}{}:{value}", text(field.name()));
    }
}

impl Visit for Object<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // What is no number is none in JSON either.
        self.member(field, &if value.is_finite() { value.to_string() } else { "null".to_owned() });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, &value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, &value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, &value.to_string());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, &text(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, &text(&format!("{value:?}")));
    }
}

/// A text in JSON.
fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Kept {
        type Writer = Kept;

        fn make_writer(&self) -> Kept {
            self.clone()
        }
    }

    #[test]
    fn each_line_is_an_object() {
        let kept = Kept::default();
        let log = tracing_subscriber::fmt().with_ansi(false).fmt_fields(Members).event_format(Lines);
        tracing::subscriber::with_default(log.with_writer(kept.clone()).finish(), || {
            tracing::warn!(link = 7_u64, address = %"127.0.0.1", share = 0.5, "a \"quoted\"\nline");
            let span = tracing::info_span!("request", id = "a-1");
            span.in_scope(|| tracing::info!(absent = None::<u64>, "within"));
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [first, second] = &lines[..] else { panic!("{text}") };
        assert_eq!((first["level"].as_str(), first["fields"]["link"].as_u64()), (Some("WARN"), Some(7)));
        assert_eq!(first["fields"]["message"], "a \"quoted\"\nline");
        assert_eq!((&first["fields"]["address"], &first["fields"]["share"]), (&"127.0.0.1".into(), &0.5.into()));
        assert!(first["target"].is_string() && first["timestamp"].as_str().unwrap().ends_with('Z'), "{first}");
        assert_eq!((&second["span"]["name"], &second["span"]["id"]), (&"request".into(), &"a-1".into()));
    }
}
