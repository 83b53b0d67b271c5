//! EXPLAIN: a physical plan as an indented tree, one operator a line, with where it runs.
//!
//! `[asker]` runs at the peer that issued the statement, `[owners]` at every peer that owns a part of the table,
//! `[exchange]` between them.

use super::{
    ast::{BinaryOp, SetOp},
    cost::{Cost, Weighed},
    physical::Node,
    reduce::{FILTER_VALUES_MAX, reduced},
    report::{EXPECTED, Measures},
    scalar::{Function, Scalar},
    strategy::JoinStrategy,
};
use crate::{
    data::{Nested, Value},
    exec::{
        exchange::Way,
        fragment::Output,
        functions::listed,
        ops::{
            aggregate::{AggregateCall, AggregateFunction, Mode},
            sort::SortKey,
        },
        plan::{IndexOrder, Join, JoinKind, Joined, MarkJoin, MarkKind, On, Op, Source},
    },
};

type Names<'a> = &'a dyn Fn(u32) -> String;

/// A plan as text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines {
    /// An operator each, inputs indented below.
    pub text: Vec<String>,
    /// Which line is which operator of the flow.
    pub steps: Vec<(usize, usize)>,
    /// How many rows are expected of the operator of a line, where that is known.
    pub rows: Vec<(usize, u64)>,
    /// Which line is which part of a join at the peers: the operator of the flow, and the part's place in it.
    pub parts: Vec<(usize, usize, u32)>,
}

impl Lines {
    /// The same below other lines.
    #[must_use]
    pub fn below(mut self, above: Vec<String>) -> Lines {
        let by = above.len();
        self.text.splice(..0, above);
        self.steps.iter_mut().for_each(|(line, _)| *line += by);
        self.rows.iter_mut().for_each(|(line, _)| *line += by);
        self.parts.iter_mut().for_each(|(line, ..)| *line += by);
        self
    }

    /// What is expected, as it is shown.
    pub fn expected(&self) -> Measures {
        self.rows.iter().map(|(line, rows)| (*line, vec![(EXPECTED, rows.to_string())])).collect()
    }
}

/// The lines of a plan; `names` knows the columns by identity.
pub fn explain(node: &Node, names: &[String], depth: usize) -> Lines {
    let mut lines = Lines::default();
    tree(node, names, depth, Some(0), &mut lines);
    lines
}

/// The lines of an operator and what is below it, which stands in the flow from `first` on.
fn tree(node: &Node, names: &[String], depth: usize, first: Option<usize>, lines: &mut Lines) {
    // What is shared stands before where it is read, everything else behind its inputs.
    let shared = if matches!(node.op, Op::Share(..)) { 1 } else { node.inputs.len() };
    let before: usize = node.inputs.iter().take(shared).map(Node::count).sum();
    lines.steps.extend(first.map(|first| (lines.text.len(), first + before)));
    lines.rows.extend(node.expected.map(|rows| (lines.text.len(), rows)));
    let name = |ids: &[u32], position: u32| {
        ids.get(position as usize).and_then(|id| names.get(*id as usize)).cloned().unwrap_or_else(|| "?".to_owned())
    };
    let input = node.inputs.first().map_or(&[][..], |input| &input.schema[..]);
    let over_input = |position| name(input, position);
    let over_output = |position| name(&node.schema, position);
    let line = match &node.op {
        Op::Unit => "OneRow [asker]".to_owned(),
        Op::Source(source) => {
            let mut parts = Vec::new();
            leaf(source, names, depth, None, (&mut lines.text, &mut parts));
            // Of what stands in no flow nothing is measured.
            let Some(step) = first else { return };
            return lines.parts.extend(parts.into_iter().zip(0..).map(|(line, place)| (line, step, place)));
        }
        Op::Filter(condition) => format!("Filter [asker] {}", scalar(condition, &over_input)),
        Op::Project(exprs) => format!("Project [asker] {}", list(exprs, &over_input)),
        Op::Rows(rows) => format!("Values [asker] {} row(s)", rows.len()),
        Op::HashJoin(Join { kind, on, .. }) => {
            let right = node.inputs.get(1).map_or(&[][..], |input| &input.schema[..]);
            let kind = join_kind(*kind);
            let method = if on.left.is_empty() { "NestedLoopJoin" } else { "HashJoin" };
            let on = conditions(on, input, right, &name);
            let on = if on.is_empty() { "every pair".to_owned() } else { format!("on {}", on.join(" AND ")) };
            format!("{method} [asker] {kind} {on}")
        }
        Op::MarkJoin(MarkJoin { kind, on, compare }) => {
            let right = node.inputs.get(1).map_or(&[][..], |input| &input.schema[..]);
            let over_right = |position| name(right, position);
            let mut on = conditions(on, input, right, &name);
            on.extend(compare.iter().map(|(operand, op, value)| {
                format!("{} {} any {}", scalar(operand, &over_input), operator(*op), scalar(value, &over_right))
            }));
            let kind = match kind {
                MarkKind::Semi => "semi".to_owned(),
                MarkKind::Anti => "anti".to_owned(),
                MarkKind::Mark => "mark".to_owned(),
                MarkKind::Single(column) => format!("value {}", over_right(*column)),
            };
            let on = if on.is_empty() { String::new() } else { format!(" on {}", on.join(" AND ")) };
            format!("SubqueryJoin [asker] {kind}{on}")
        }
        Op::Set(op, all) => {
            let op = match op {
                SetOp::Union => "Union",
                SetOp::Intersect => "Intersect",
                SetOp::Except => "Except",
            };
            format!("{op} [asker]{}", if *all { " all" } else { "" })
        }
        Op::Share(slot, name) => format!("With [asker] {name} (#{slot}), evaluated once, then what reads it"),
        Op::Recall(slot, name) => format!("Recall [asker] {name} (#{slot})"),
        Op::Input(0) => "Recall [asker] the rows of the iteration before".to_owned(),
        Op::Input(number) => format!("Recall [asker] input {number} of the recursion"),
        Op::Recursive(recursion) => {
            let all = if recursion.all { "" } else { ", only rows that are new" };
            format!("Recursion [asker] {}: where it begins, its inputs, and the step repeated{all}", recursion.name)
        }
        Op::Aggregate { calls, keys, mode } => {
            // The results are named after what they compute, in whichever step it runs.
            let (keys, calls) = (0..keys.len() as u32, keys.len() as u32..(keys.len() + calls.len()) as u32);
            let named = |range: core::ops::Range<u32>| range.map(over_output).collect::<Vec<_>>().join(", ");
            let mode = if *mode == Mode::Final { " final" } else { "" };
            format!("Aggregate [asker]{mode}{}", grouping(&named(calls), &named(keys)))
        }
        Op::Collect(keys, calls) => {
            let (keys, calls) = (0..keys.len() as u32, keys.len() as u32..(keys.len() + calls.len()) as u32);
            let named = |range: core::ops::Range<u32>| range.map(over_output).collect::<Vec<_>>().join(", ");
            format!("Aggregate [asker] of all values{}", grouping(&named(calls), &named(keys)))
        }
        Op::Window(window) => {
            let calls = input.len() as u32..node.schema.len() as u32;
            let calls = calls.map(over_output).collect::<Vec<_>>().join(", ");
            let by = match window.partition.is_empty() {
                true => String::new(),
                false => format!(" by {}", list(&window.partition, &over_input)),
            };
            let keys = window.order.iter().map(|key| {
                format!("{}{}", scalar(&key.scalar, &over_input), direction(key.descending, key.nulls_first))
            });
            let keys: Vec<String> = keys.collect();
            let order = if keys.is_empty() { String::new() } else { format!(" in order of {}", keys.join(", ")) };
            format!("Window [asker] {calls}{by}{order}")
        }
        Op::Distinct => "Distinct [asker]".to_owned(),
        Op::Sort(keys, None) => format!("Sort [asker] {}", order(keys, &over_output)),
        Op::Sort(keys, Some(count)) => format!("TopK [asker] {count} by {}", order(keys, &over_output)),
        Op::Limit(skip, count) => {
            let count = count.map_or("all".to_owned(), |count| count.to_string());
            format!("Limit [asker] {count} offset {skip}")
        }
    };
    lines.text.push(indented(depth, &line));
    lines.text.extend(ways(&node.ways, node.inputs.iter().map(name_of), depth + 1));
    let mut next = first;
    for (port, input) in node.inputs.iter().enumerate() {
        tree(input, names, depth + 1, next, lines);
        next = next.map(|next| next + input.count() + usize::from(port + 1 == shared && shared < node.inputs.len()));
    }
    if let Some(step) = &node.step {
        lines.text.push(indented(depth + 1, "Step [asker]"));
        tree(step, names, depth + 2, None, lines);
    }
}

/// The lines of a source, and which of them are parts of a join; `sent` says where its rows go if not to the asker.
fn leaf(
    source: &Source,
    names: &[String],
    depth: usize,
    sent: Option<&str>,
    (lines, parts): (&mut Vec<String>, &mut Vec<usize>),
) {
    let fragment = &source.fragment;
    let label = |id: &u32| names.get(*id as usize).cloned().unwrap_or_else(|| "?".to_owned());
    let over_read = |position: u32| source.read.get(position as usize).map_or_else(|| "?".to_owned(), label);
    // Names of the projected columns, which keys and arguments are over.
    let projected: Option<Vec<String>> =
        fragment.project.as_ref().map(|exprs| exprs.iter().map(|expr| scalar(expr, &over_read)).collect());
    let over_projected = |position: u32| match &projected {
        Some(exprs) => exprs.get(position as usize).cloned().unwrap_or_else(|| "?".to_owned()),
        None => over_read(position),
    };
    let mut depth = depth;
    if let Some(after) = &source.after {
        let few = reduced(source.clone(), vec![Value::Null]);
        let way = match &few {
            Source { keys: Some(_), .. } => "gets by key".to_owned(),
            Source { index: Some(index), .. } => format!("entries of {}, then gets", index.name),
            _ => format!("a filter at the owners, for up to {FILTER_VALUES_MAX} values"),
        };
        let (own, other) = (label(&after.equals), label(&after.value));
        let each = if after.source == source.number { " in each iteration" } else { "" };
        let line =
            format!("SemiJoin [asker] {own} among the values of {other}{each}: {way}; where these are too many:");
        lines.push(indented(depth, &line));
        depth += 1;
    }
    let (place, combining) = match (&source.keys, &fragment.output) {
        (None, _) if source.join.is_some() => (source.join.as_ref().map_or("", |joined| meeting(joined).1), ""),
        (None, _) if source.index.is_some() => ("asker", ""),
        (Some(keys), _) => {
            lines.push(indented(depth, &format!("KeyLookup [exchange] {}: {} get(s)", source.name, keys.len())));
            ("asker", "")
        }
        (None, _) if fragment.of_system().is_some() => ("asker", "records"),
        (None, Output::Rows) => ("owners", "rows"),
        (None, Output::First(_)) => ("owners", "first rows"),
        (None, Output::Distinct) => ("owners", "distinct rows"),
        (None, Output::Top(..)) => ("owners", "top-k"),
        (None, Output::Groups(..)) => ("owners", "partial aggregates"),
        // What a node makes of a plan, not the planner.
        (None, Output::Buckets(_) | Output::Beside(_)) => ("owners", "nothing"),
    };
    if let Some(index) = &source.index {
        let ranges = index.ranges.len();
        let order = match &index.order {
            Some(IndexOrder { backwards, first, .. }) => {
                format!(" {}, first {first}", if *backwards { "backward" } else { "forward" })
            }
            None => String::new(),
        };
        let (name, of) = (&source.name, &index.name);
        let line = format!("IndexScan [exchange] {name}: {ranges} range(s) of {of}{order}, then gets");
        lines.push(indented(depth, &line));
    } else if let Some(sent) = sent {
        parts.push(lines.len());
        lines.push(indented(depth, &format!("Exchange [exchange] {sent}")));
    } else if let Some(joined) = &source.join {
        let place = meeting(joined).1;
        let line = format!("Gather [exchange] {}: found at the {place}, sent to the asker", source.name);
        lines.push(indented(depth, &line));
    } else if source.keys.is_none() {
        let line = format!("Gather [exchange] {}: {combining}, combined up the region tree", source.name);
        lines.push(indented(depth, &line));
    }
    // What is found comes as the first operator behind the join makes it.
    parts.extend(source.join.iter().map(|_| lines.len()));
    let mut push = |line: String| {
        depth += 1;
        lines.push(indented(depth, &line));
    };
    match &fragment.output {
        Output::Rows | Output::Buckets(_) | Output::Beside(_) => {}
        Output::First(count) => push(format!("Limit [{place}] {count}")),
        Output::Distinct => push(format!("Distinct [{place}]")),
        Output::Top(keys, count) => push(format!("TopK [{place}] {count} by {}", order(keys, &over_projected))),
        Output::Groups(keys, calls) => {
            let calls: Vec<String> = calls.iter().map(|call| aggregate(call, &over_projected)).collect();
            let what = grouping(&calls.join(", "), &list(keys, &over_projected));
            push(format!("Aggregate [{place}] partial{what}"));
        }
    }
    if let Some(exprs) = &projected {
        push(format!("Project [{place}] {}", exprs.join(", ")));
    }
    if let Some(filter) = &fragment.filter {
        push(format!("Filter [{place}] {}", scalar(filter, &over_read)));
    }
    if let Some(joined) = &source.join {
        let line = self::joined(joined, names);
        push(format!("{} [{place}] {line}", meeting(joined).0));
        lines.extend(ways(&joined.ways, joined.inputs.iter().map(|input| input.name.clone()), depth + 1));
        for (port, input) in joined.inputs.iter().enumerate() {
            leaf(input, names, depth + 1, Some(&self::sent(joined, port)), (lines, parts));
        }
        return;
    }
    let columns: Vec<String> = source.read.iter().map(label).collect();
    let what = if source.keys.is_some() || source.index.is_some() { "Records" } else { "Scan" };
    push(format!("{what} [{place}] {} ({})", source.name, columns.join(", ")));
}

fn join_kind(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::Inner => "inner",
        JoinKind::Left => "left",
        JoinKind::Full => "full",
        JoinKind::Semi => "semi",
        JoinKind::Anti => "anti",
    }
}

/// A join that peers make.
fn joined(joined: &Joined, names: &[String]) -> String {
    let name = |ids: &[u32], position: u32| {
        ids.get(position as usize).and_then(|id| names.get(*id as usize)).cloned().unwrap_or_else(|| "?".to_owned())
    };
    let [left, right] = &joined.schemas;
    let on = conditions(&joined.join.on, left, right, &name).join(" AND ");
    format!("{} on {on}", join_kind(joined.join.kind))
}

/// What the rows of a side are called: the tables that they are of.
fn name_of(node: &Node) -> String {
    match &node.op {
        Op::Source(source) => source.name.clone(),
        _ => node.inputs.iter().map(name_of).filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" with "),
    }
}

/// What the ways to make a join cost by estimate: the chosen one and, in the order of their costs, the others.
fn ways(all: &[Weighed], names: impl Iterator<Item = String>, depth: usize) -> Vec<String> {
    let names: Vec<String> = names.collect();
    let way = |Weighed { choice, cost, time_us }: &Weighed| {
        let side = names.get(choice.side).map_or("", |name| name);
        let of = match choice.strategy {
            JoinStrategy::Broadcast => format!(" of {side}"),
            JoinStrategy::Bloom => format!(" by {side}"),
            JoinStrategy::FetchMatches => format!(" for {side}"),
            _ => String::new(),
        };
        let Cost { messages, bytes, trips, .. } = cost;
        let name = choice.strategy.name();
        let ms = time_us / 1e3;
        format!("{name}{of}: {messages:.0} messages, {bytes:.0} bytes, {trips:.0} trips, {ms:.0} ms")
    };
    let Some((chosen, others)) = all.split_first() else { return Vec::new() };
    let mut lines = vec![indented(depth, &format!("Chosen [asker] {}", way(chosen)))];
    if !others.is_empty() {
        let others: Vec<String> = others.iter().map(way).collect();
        lines.push(indented(depth, &format!("Considered [asker] {}", others.join("; "))));
    }
    lines
}

/// What the operator is called, and where pairs are found.
fn meeting(joined: &Joined) -> (&'static str, &'static str) {
    match joined.way {
        Way::Hash | Way::Bloom(..) => ("HashJoin", "buckets"),
        Way::Broadcast(small) => {
            let large = &joined.inputs[usize::from(small == 0)];
            ("HashJoin", large.join.as_ref().map_or("owners", |joined| meeting(joined).1))
        }
        Way::Fetch(_) => ("FetchMatches", "owners"),
        Way::SemiJoin => ("SymmetricSemiJoin", "owners"),
    }
}

/// Where the rows of a side of it go.
fn sent(joined: &Joined, port: usize) -> String {
    let name = &joined.inputs[port].name;
    match joined.way {
        Way::Broadcast(small) if usize::from(small) == port => {
            let what = if joined.inputs[1 - port].join.is_some() { "" } else { "the owners of " };
            format!("{name}: all rows, to {what}the other side")
        }
        Way::Fetch(inner) if usize::from(inner) != port => {
            format!("{name}: to the owners of the rows of the other side, by their key")
        }
        Way::Broadcast(_) | Way::Fetch(_) => format!("{name}: stays where it is"),
        Way::SemiJoin => format!(
            "{name}: what must be equal and the key, by the hash of the first, to up to {} buckets; what matches goes by the rows",
            joined.buckets
        ),
        Way::Bloom(first, _) if usize::from(first) != port => {
            format!("{name}: by the hash of what must be equal, where the other side's Bloom filter has it")
        }
        Way::Hash | Way::Bloom(..) => {
            format!("{name}: by the hash of what must be equal, to up to {} buckets", joined.buckets)
        }
    }
}

/// What two rows must have in common.
fn conditions(on: &On, left: &[u32], right: &[u32], name: &dyn Fn(&[u32], u32) -> String) -> Vec<String> {
    let both = [left, right].concat();
    let pairs = on.left.iter().zip(&on.right).zip(&on.null_safe).map(|((a, b), null_safe)| {
        let op = if *null_safe { "IS NOT DISTINCT FROM" } else { "=" };
        let (a, b) = (scalar(a, &|position| name(left, position)), scalar(b, &|position| name(right, position)));
        format!("{a} {op} {b}")
    });
    pairs.chain(on.residual.iter().map(|residual| scalar(residual, &|position| name(&both, position)))).collect()
}

fn grouping(calls: &str, keys: &str) -> String {
    let calls = if calls.is_empty() { String::new() } else { format!(" {calls}") };
    if keys.is_empty() { calls } else { format!("{calls} by {keys}") }
}

fn indented(depth: usize, line: &str) -> String {
    format!("{}{line}", "  ".repeat(depth))
}

fn list(exprs: &[Scalar], names: Names) -> String {
    exprs.iter().map(|expr| scalar(expr, names)).collect::<Vec<_>>().join(", ")
}

fn order(keys: &[SortKey], names: Names) -> String {
    let key = |key: &SortKey| format!("{}{}", names(key.column), direction(key.descending, key.nulls_first));
    keys.iter().map(key).collect::<Vec<_>>().join(", ")
}

/// The direction of an order; where NULLs are is said only where it is not what the direction implies.
fn direction(descending: bool, nulls_first: bool) -> &'static str {
    match (descending, nulls_first) {
        (true, true) => " DESC",
        (true, false) => " DESC NULLS LAST",
        (false, true) => " NULLS FIRST",
        (false, false) => "",
    }
}

fn aggregate(call: &AggregateCall, names: Names) -> String {
    let name = match call.function {
        AggregateFunction::Count => "count",
        AggregateFunction::Sum | AggregateFunction::SumReal | AggregateFunction::SumNumeric => "sum",
        AggregateFunction::Avg | AggregateFunction::AvgNumeric => "avg",
        AggregateFunction::Min => "min",
        AggregateFunction::Max => "max",
        AggregateFunction::Distinct => "distinct_sketch",
        AggregateFunction::Common => "common_values",
        AggregateFunction::Digest => "digest",
        AggregateFunction::Width => "bytes",
    };
    let arg = call.arg.as_ref().map_or("*".to_owned(), |arg| scalar(arg, names));
    format!("{name}({}{arg})", if call.distinct { "DISTINCT " } else { "" })
}

/// An expression as SQL; `names` says what a column is called.
pub fn scalar(expr: &Scalar, names: Names) -> String {
    // Operands that are operators themselves stand in parentheses.
    let inner = |operand: &Scalar| match operand {
        Scalar::Binary(..) | Scalar::Not(_) | Scalar::In(..) | Scalar::Like(..) | Scalar::IsNull(_) => {
            format!("({})", scalar(operand, names))
        }
        _ => scalar(operand, names),
    };
    match expr {
        Scalar::Column(id) => names(*id),
        Scalar::Literal(value) => literal(value),
        Scalar::Not(a) => format!("NOT {}", inner(a)),
        Scalar::Neg(a) => format!("-{}", inner(a)),
        Scalar::Binary(op, a, b) => {
            let joint = |operand: &Scalar| match (op, operand) {
                (BinaryOp::And, Scalar::Binary(op, ..)) if *op != BinaryOp::Or => scalar(operand, names),
                _ => inner(operand),
            };
            format!("{} {} {}", joint(a), operator(*op), joint(b))
        }
        Scalar::IsNull(a) => format!("{} IS NULL", inner(a)),
        Scalar::IsBool(a, value) => format!("{} IS {}", inner(a), if *value { "TRUE" } else { "FALSE" }),
        Scalar::In(a, items) => {
            let more = if items.len() > 5 { ", .." } else { "" };
            let items: Vec<String> = items.iter().take(5).map(|item| scalar(item, names)).collect();
            format!("{} IN ({}{more})", inner(a), items.join(", "))
        }
        Scalar::Like(a, b, fold) => format!("{} {} {}", inner(a), if *fold { "ILIKE" } else { "LIKE" }, inner(b)),
        Scalar::Case(whens, otherwise) => {
            let pair = |pair: &(Nested<Scalar>, Nested<Scalar>)| {
                format!(" WHEN {} THEN {}", scalar(&pair.0, names), scalar(&pair.1, names))
            };
            let whens: String = whens.iter().map(pair).collect();
            format!("CASE{whens} ELSE {} END", scalar(otherwise, names))
        }
        Scalar::Cast(a, to) => format!("CAST({} AS {})", scalar(a, names), to.name()),
        Scalar::Call(function, args) => {
            let args: Vec<String> = args.iter().map(|arg| scalar(arg, names)).collect();
            format!("{}({})", function.name(), args.join(", "))
        }
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Timestamp(_) | Value::Date(_) | Value::Interval(_) | Value::Json(_) | Value::Uuid(_) => {
            format!("'{value}'")
        }
        Value::Blob(bytes) => format!("<{} bytes>", bytes.len()),
        Value::Boolean(truth) => if *truth { "TRUE" } else { "FALSE" }.to_owned(),
        other => other.to_string(),
    }
}

fn operator(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::Rem => "%",
        BinaryOp::Concat => "||",
        BinaryOp::Eq => "=",
        BinaryOp::Ne => "<>",
        BinaryOp::Lt => "<",
        BinaryOp::Le => "<=",
        BinaryOp::Gt => ">",
        BinaryOp::Ge => ">=",
        BinaryOp::And => "AND",
        BinaryOp::Or => "OR",
        BinaryOp::IsDistinct => "IS DISTINCT FROM",
        BinaryOp::IsNotDistinct => "IS NOT DISTINCT FROM",
    }
}

impl Function {
    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Function::Lower => "lower",
            Function::Upper => "upper",
            Function::Length => "length",
            Function::Abs => "abs",
            Function::Round => "round",
            Function::Floor => "floor",
            Function::Ceil => "ceil",
            Function::Sqrt => "sqrt",
            Function::Power => "power",
            Function::Coalesce => "coalesce",
            Function::NullIf => "nullif",
            Function::Substr => "substr",
            Function::Trim => "trim",
            Function::LTrim => "ltrim",
            Function::RTrim => "rtrim",
            Function::Replace => "replace",
            Function::Concat => "concat",
            Function::Greatest => "greatest",
            Function::Least => "least",
            Function::DatePart => "date_part",
            Function::DateTrunc => "date_trunc",
            Function::StrPos => "strpos",
            Function::Mod => "mod",
            Function::Sign => "sign",
            Function::Listed(number) => listed::numbered(number).map_or("?", |listed| listed.name),
            Function::LeadingNumber => "leading_number",
            Function::Bin => "tumble",
        }
    }
}
