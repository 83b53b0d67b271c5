//! What EXPLAIN shows: the lines of a plan, with what was measured, as text or as JSON.

use crate::{
    data::{Column, Row, Type, Value, json::Json},
    map::Map,
};

/// What was measured of a line: names and numbers.
pub type Measures = Map<usize, Vec<(&'static str, String)>>;

/// The measure that is no measure: how many rows are expected.
pub const EXPECTED: &str = "expected";

/// The result of EXPLAIN: a line a row, or one row of JSON.
pub fn report(lines: &[String], measures: &Measures, json: bool) -> (Vec<Row>, Vec<Column>) {
    let column = |data_type| vec![Column { name: "QUERY PLAN".to_owned(), data_type: Some(data_type) }];
    if json {
        let all = tree(lines, measures).print();
        return (vec![vec![Value::Json(all)]], column(Type::Json));
    }
    let line = |(at, line): (usize, &String)| {
        let measured = measures.get(&at).map_or(&[][..], |all| all);
        let measured: Vec<String> = measured
            .iter()
            .map(|(name, number)| if *name == EXPECTED { format!("rows≈{number}") } else { format!("{name} {number}") })
            .collect();
        let measured = if measured.is_empty() { String::new() } else { format!(" ({})", measured.join(", ")) };
        vec![Value::Text(format!("{line}{measured}"))]
    };
    (lines.iter().enumerate().map(line).collect(), column(Type::Text))
}

/// An operator whose inputs are still to come.
struct Open {
    depth: usize,
    members: Vec<(String, Json)>,
    inputs: Vec<Json>,
}

/// Indented lines as objects within one another.
fn tree(lines: &[String], measures: &Measures) -> Json {
    let mut open = vec![Open { depth: 0, members: Vec::new(), inputs: Vec::new() }];
    for (at, line) in lines.iter().enumerate() {
        let depth = 1 + (line.len() - line.trim_start().len()) / 2;
        close(&mut open, depth);
        let (operator, rest) = line.trim_start().split_once(' ').unwrap_or((line.trim_start(), ""));
        let placed = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (place, detail) = placed.unwrap_or(("", rest));
        let text = |name: &str, text: &str| (name.to_owned(), Json::Text(text.trim().to_owned()));
        let mut members = vec![text("operator", operator), text("place", place), text("detail", detail)];
        for (name, number) in measures.get(&at).into_iter().flatten() {
            members.push(((*name).to_owned(), Json::parse(number).unwrap_or(Json::Null)));
        }
        open.push(Open { depth, members, inputs: Vec::new() });
    }
    close(&mut open, 1);
    Json::Array(open.pop().map(|root| root.inputs).unwrap_or_default())
}

/// What stands at that depth or deeper has all its inputs.
fn close(open: &mut Vec<Open>, depth: usize) {
    while open.last().is_some_and(|last| last.depth >= depth) {
        let Some(Open { mut members, inputs, .. }) = open.pop() else { return };
        members.push(("inputs".to_owned(), Json::Array(inputs)));
        if let Some(above) = open.last_mut() {
            above.inputs.push(Json::object(members));
        }
    }
}
