//! The text format in which Prometheus reads metrics, version 0.0.4.
//!
//! Written by hand: it is a page of code, and what is shown is nearly all kept elsewhere already (see
//! docs/decisions/035-limits-and-metrics.md). Tests hold it against the format's rules.

use std::fmt::{Display, Write as _};

/// The content type.
pub(crate) const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A page of metrics.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// Labels and their values.
type Labels<'a> = &'a [(&'a str, &'a str)];

impl Text {
    /// A metric without labels.
    pub(super) fn one(&mut self, kind: Kind, name: &str, help: &str, value: impl Display) {
        self.family(kind_name(kind), name, help);
        self.sample(name, &[], value);
    }

    /// A metric with one label, a value for each of its values.
    pub(super) fn each<'a, V: Display>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, V)>,
    ) {
        self.family(kind_name(kind), name, help);
        for (of, value) in values {
            self.sample(name, &[(label, of)], value);
        }
    }

    /// The two lines above the values of a metric.
    pub(super) fn family(&mut self, kind: &str, name: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        for (at, (label, of)) in labels.iter().enumerate() {
            let of = of.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{of}\"", if at == 0 { '{' } else { ',' });
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_looks_like() {
        let mut text = Text::default();
        text.one(Kind::Gauge, "pontoon_joined", "Whether\nit has \\joined.", 1);
        text.each(Kind::Counter, "pontoon_cut_total", "Cut.", "reason", [("a\"b\\c\nd", 2), ("idle", 0)]);
        assert_eq!(
            text.finish(),
            "# HELP pontoon_joined Whether\\nit has \\\\joined.\n# TYPE pontoon_joined gauge\npontoon_joined 1\n\
             # HELP pontoon_cut_total Cut.\n# TYPE pontoon_cut_total counter\n\
             pontoon_cut_total{reason=\"a\\\"b\\\\c\\nd\"} 2\npontoon_cut_total{reason=\"idle\"} 0\n"
        );
    }
}
