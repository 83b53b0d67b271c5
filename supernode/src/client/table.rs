//! Results for people: columns as wide as what is in them.

use serde_json::Value;

/// A column is cut beyond so many letters.
const WIDTH_MAX: usize = 60;

/// A result of `/v1/sql`.
pub(super) fn of(result: &Value) -> String {
    let names: Vec<&str> = list(&result["columns"]).iter().filter_map(|column| column["name"].as_str()).collect();
    let rows = list(&result["rows"]).iter().map(|row| names.iter().map(|name| shown(&row[*name])).collect());
    let mut text = if names.is_empty() { String::new() } else { aligned(&names, rows.collect()) };
    text += &match (names.is_empty(), result["affected"].as_u64().unwrap_or_default()) {
        (true, affected) => format!("({} written)\n", super::rows(affected)),
        (false, _) => format!("({})\n", super::rows(list(&result["rows"]).len() as u64)),
    };
    for warning in list(&result["warnings"]) {
        text += &format!("warning: {}\n", shown(warning));
    }
    text
}

/// The answer of `/v1/ring`.
pub(super) fn ring(ring: &Value) -> String {
    let flag = |value: &Value, name: &str| if value == &Value::Bool(true) { name.to_owned() } else { String::new() };
    let me = &ring["id"];
    let nodes = list(&ring["nodes"]).iter().map(|node| {
        let itself = if node["id"] == *me { "this one".to_owned() } else { flag(&node["linked"], "linked") };
        vec![shown(&node["id"]), shown(&node["role"]), itself, flag(&node["sibling"], "sibling")]
    });
    let replicas = list(&ring["replicas"]).iter().map(|replica| {
        let members: Vec<String> =
            list(&replica["members"]).iter().map(|id| shown(id).chars().take(8).collect()).collect();
        vec![
            shown(&replica["region"]),
            shown(&replica["owner"]).chars().take(8).collect(),
            members.join(" "),
            shown(&replica["state"]),
            if replica["inStep"] == Value::Bool(true) { String::new() } else { "behind".to_owned() },
            flag(&replica["assumedLost"], "assumed lost"),
        ]
    });
    let nodes = aligned(&["node", "role", "link", "sibling"], nodes.collect());
    let replicas = aligned(&["region", "owner", "members", "state", "", ""], replicas.collect());
    format!("{nodes}\n{replicas}")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn aligned(names: &[&str], rows: Vec<Vec<String>>) -> String {
    // A terminal is told nothing by what is in a table.
    let plain = |text: &str| -> String {
        let safe: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        match safe.char_indices().nth(WIDTH_MAX) {
            Some((at, _)) => format!("{}…", &safe[..at]),
            None => safe,
        }
    };
    let head: Vec<String> = names.iter().map(|name| plain(name)).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|text| plain(text)).collect()).collect();
    let width = |at: usize| {
        let all = rows.iter().chain([&head]).filter_map(|row| row.get(at));
        all.map(|text| text.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let rule = widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("  ");
    let rule = format!("{}\n", rule.trim_end());
    line(&head) + &rule + &rows.iter().map(line).collect::<String>()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_is_a_table() {
        let result = json!({
            "columns": [{"name": "id"}, {"name": "item"}],
            "rows": [{"id": 1, "item": "boat"}, {"id": 22, "item": null}, {"id": 3, "item": "a\u{1b}[31m"}],
            "warnings": ["a part is missing"],
        });
        assert_eq!(
            of(&result),
            "id  item\n--  ------\n1   boat\n22\n3   a [31m\n(3 rows)\nwarning: a part is missing\n"
        );
        assert_eq!(of(&json!({"columns": [], "rows": [], "affected": 2})), "(2 rows written)\n");
        let long = "x".repeat(100);
        assert!(of(&json!({"columns": [{"name": "t"}], "rows": [{"t": long}]})).contains(&("x".repeat(60) + "…")));
    }
}
