//! Statements that are asked again: their texts are parsed once, and lookups are planned once.
//!
//! A host keeps [`Statements`] beside [`Definitions`](super::asking::Definitions): a tree depends on its text alone.
//! A plan depends on parameters and definitions as well. It is kept for a query whose parameters stand in nothing but
//! `column = $n`, where it says the same of every value of a type, and once it was seen to: it is then made again with
//! other parameters, and has to be the same but for these. Kept plans are told apart by statement, types of parameters,
//! settings, and the versions of their tables in the catalog. Statistics do not matter: lookups have no joins.

use std::sync::Arc;

use super::{
    ast::{BinaryOp, Body, Expr, Select, Statement},
    plan::{Dialect, Settings, Tables, plan},
    scalar::Scalar,
    statistics::Statistics,
};
use crate::{
    Error,
    data::{Row, Value, codec},
    exec::plan::{Op, Plan, Task},
    map::Map,
};

/// Plans that are kept.
const PLANS_MAX: usize = 128;
/// Parameters of a query whose plan is kept, and columns of a key.
const PARAMS_MAX: usize = 16;
/// The time of a proof is so much later: 40 days.
const PROOF_US: i64 = 40 * 86_400_000_000;
/// Statements that are remembered.
const STATEMENTS_MAX: usize = 256;
/// Bytes of their texts.
const TEXTS_MAX: usize = 1 << 20;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Statements {
    /// By text: the statement, and when it was asked for last.
    known: Map<String, (Arc<Statement>, u64)>,
    asked: u64,
    bytes: usize,
}

impl Statements {
    /// The statement of a text; `parse` makes it where it is not known.
    pub fn get<E>(
        &mut self,
        text: &str,
        parse: impl FnOnce(&str) -> Result<Statement, E>,
    ) -> Result<Arc<Statement>, E> {
        self.asked += 1;
        if let Some((statement, asked)) = self.known.get_mut(text) {
            *asked = self.asked;
            return Ok(statement.clone());
        }
        let statement = Arc::new(parse(text)?);
        if text.len() <= TEXTS_MAX / 2 {
            self.bytes += text.len();
            self.known.insert(text.to_owned(), (statement.clone(), self.asked));
        }
        while self.known.len() > STATEMENTS_MAX || self.bytes > TEXTS_MAX {
            let oldest = self.known.iter().min_by_key(|(_, (_, asked))| *asked).map(|(text, _)| text.clone());
            let Some(oldest) = oldest else { break };
            self.bytes -= oldest.len();
            self.known.remove(&oldest);
        }
        Ok(statement)
    }
}

/// Plans of lookups.
#[derive(Debug, Default)]
pub struct Plans {
    /// The one used last stands last.
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    statement: Arc<Statement>,
    settings: Settings,
    params: Vec<Value>,
    plan: Plan,
}

impl Plans {
    /// The plan of a statement, as [`plan`] makes it.
    pub fn plan(
        &mut self,
        statement: &Arc<Statement>,
        params: &[Value],
        (tables, statistics): (&Tables, &Statistics),
        settings: Settings,
    ) -> Result<Plan, Error> {
        let at = self.known.iter().position(|known| known.fits(statement, params, tables, settings));
        if let Some(at) = at {
            let known = self.known.remove(at);
            let found = with(&known.plan, &known.params, params);
            self.known.push(known);
            if let Some(found) = found {
                return Ok(found);
            }
        }
        let made = plan(statement, params, (tables, statistics), settings)?;
        // What nobody else holds is not asked again. With which keys a table is sealed its version does not say.
        let again = at.is_none() && Arc::strong_count(statement) > 1 && made.rings.is_empty();
        if again && is_lookup(statement, params, settings) {
            let others: Vec<Value> = params.iter().map(other).collect();
            // Another time and other dice, too: views and functions may ask for them.
            let (now_us, random) = (settings.now_us.wrapping_add(PROOF_US), !settings.random);
            let proof = plan(statement, &others, (tables, statistics), Settings { now_us, random, ..settings }).ok();
            if proof.is_some() && proof == with(&made, params, &others) {
                // Of a table that became another one.
                self.known.retain(|known| !Arc::ptr_eq(&known.statement, statement));
                if self.known.len() >= PLANS_MAX {
                    self.known.remove(0);
                }
                let (statement, params) = (statement.clone(), params.to_vec());
                self.known.push(Known { statement, settings, params, plan: made.clone() });
            }
        }
        Ok(made)
    }
}

impl Known {
    fn fits(&self, statement: &Arc<Statement>, params: &[Value], tables: &Tables, settings: Settings) -> bool {
        // A query that asks for these is not kept.
        let Settings { now_us, random, .. } = settings;
        let types = |params: &[Value]| params.iter().map(Value::data_type).collect::<Vec<_>>();
        Arc::ptr_eq(&self.statement, statement)
            && Settings { now_us, random, ..self.settings } == settings
            && types(&self.params) == types(params)
            && self.plan.tables.iter().all(|(name, version)| tables.get(name).is_some_and(|(_, now)| now == version))
    }
}

/// Whether parameters stand in nothing but `column = $n`, each once, in a query that does not ask for the time.
fn is_lookup(statement: &Statement, params: &[Value], settings: Settings) -> bool {
    let Statement::Select(select) = statement else { return false };
    let Select { body: Body::Select, filter: Some(filter), .. } = &**select else { return false };
    // In SQLite's dialect it is the value of a text that says what it is compared as.
    let text_is_text = settings.dialect == Dialect::Postgres;
    let plain = |value: &Value| match value {
        Value::Integer(_) => true,
        Value::Text(_) => text_is_text,
        _ => false,
    };
    let different = |at: usize| !params[..at].contains(&params[at]);
    let (text, mut found) = (format!("{statement:?}").to_lowercase(), Vec::new());
    pinned(filter, &mut found);
    found.sort_unstable();
    params.len() <= PARAMS_MAX
        && params.iter().all(plain)
        && (0..params.len()).all(different)
        && found.iter().copied().eq(1..=params.len() as u16)
        && text.matches("param(").count() == params.len()
        && !["now", "current", "random", "uuid"].iter().any(|word| text.contains(word))
}

/// The parameters that conjuncts compare a column with.
fn pinned(filter: &Expr, found: &mut Vec<u16>) {
    if let Expr::Binary(op, left, right) = filter {
        match (op, &**left, &**right) {
            (BinaryOp::And, left, right) => {
                pinned(left, found);
                pinned(right, found);
            }
            (BinaryOp::Eq, Expr::Column { .. }, Expr::Param(number)) => found.push(*number),
            _ => {}
        }
    }
}

/// Another value of the same type.
fn other(value: &Value) -> Value {
    match value {
        Value::Integer(number) => Value::Integer(number.wrapping_add(1_000_003)),
        Value::Text(text) => Value::Text(format!("{text}~")),
        other => other.clone(),
    }
}

/// A plan with other parameters in the place of its own; `None` where it has parts that are not known to be the same.
fn with(plan: &Plan, from: &[Value], to: &[Value]) -> Option<Plan> {
    let Task::Query(flow, columns) = &plan.task else { return None };
    let mut flow = flow.clone();
    let swap = |value: &Value| from.iter().position(|other| other == value).and_then(|at| to.get(at)).cloned();
    for op in &mut flow.0 {
        match op {
            Op::Unit | Op::Distinct | Op::Sort(..) | Op::Limit(..) => {}
            Op::Filter(condition) => replace(condition, &swap),
            Op::Project(exprs) => exprs.iter_mut().for_each(|expr| replace(expr, &swap)),
            Op::Source(source) if source.index.is_some() => return None,
            Op::Source(source) => {
                source.fragment.filter.iter_mut().for_each(|filter| replace(filter, &swap));
                source.fragment.project.iter_mut().flatten().for_each(|expr| replace(expr, &swap));
                for key in source.keys.iter_mut().flatten() {
                    let values: Row = codec::decode_key(key, PARAMS_MAX).ok()?;
                    *key = codec::encode_key(
                        &values.into_iter().map(|value| swap(&value).unwrap_or(value)).collect::<Row>(),
                    );
                }
            }
            _ => return None,
        }
    }
    let (tables, rings) = (plan.tables.clone(), plan.rings.clone());
    Some(Plan { tables, rings, task: Task::Query(flow, columns.clone()) })
}

/// Replaces constants, in place where there are only few of them in most cases.
fn replace(scalar: &mut Scalar, swap: &impl Fn(&Value) -> Option<Value>) {
    match scalar {
        Scalar::Column(_) => {}
        Scalar::Literal(value) => *value = swap(value).unwrap_or_else(|| value.clone()),
        other => {
            let mapped = other.map_children::<()>(&mut |child| {
                let mut child = child.clone();
                replace(&mut child, swap);
                Ok(child)
            });
            if let Ok(mapped) = mapped {
                *other = mapped;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Id,
        data::{Nested, Type},
        sql::{
            ast::{SelectItem, TableRef},
            catalog::TableDescriptor,
            plan::Dialect,
            schema::{ColumnDef, CreateTable},
            strategy::JoinStrategy,
        },
        store::Version,
    };

    fn table() -> TableDescriptor {
        let column =
            |name: &str, data_type| ColumnDef { name: name.to_owned(), data_type, not_null: false, default: None };
        let columns = vec![column("id", Type::Integer), column("note", Type::Text)];
        let (name, primary_key) = ("t".to_owned(), vec!["id".to_owned()]);
        let (checks, uniques, references) = (Vec::new(), Vec::new(), Vec::new());
        let (if_not_exists, private, encryption) = (false, false, None);
        let create =
            CreateTable { name, if_not_exists, columns, primary_key, checks, uniques, references, private, encryption };
        TableDescriptor::define(&create).unwrap()
    }

    #[test]
    fn a_text_is_parsed_once_and_only_so_many_are_remembered() {
        let mut statements = Statements::default();
        let parsed = core::cell::Cell::new(0);
        let parse = |text: &str| {
            parsed.set(parsed.get() + 1);
            if text == "no" { Err(()) } else { Ok(Statement::Show(text.to_owned())) }
        };
        for _ in 0..3 {
            assert_eq!(*statements.get("a", parse).unwrap(), Statement::Show("a".to_owned()));
        }
        assert_eq!(parsed.get(), 1);
        assert_eq!((statements.get("no", parse), statements.get("no", parse)), (Err(()), Err(())));
        for number in 0..2 * STATEMENTS_MAX {
            statements.get(&number.to_string(), parse).unwrap();
            statements.get("a", parse).unwrap();
        }
        assert_eq!(parsed.get(), 3 + 2 * STATEMENTS_MAX, "what is asked for is not forgotten");
        assert_eq!(statements.known.len(), STATEMENTS_MAX);
        for number in 0..8 {
            statements.get(&"x".repeat(TEXTS_MAX / 2 - number), parse).unwrap();
            statements.get(&"x".repeat(TEXTS_MAX), parse).unwrap();
        }
        assert!(statements.bytes <= TEXTS_MAX);
        assert_eq!(statements.bytes, statements.known.keys().map(String::len).sum::<usize>());
    }

    #[test]
    fn a_kept_plan_is_the_plan_that_would_be_made() {
        let statistics = Statistics::default();
        let definition = |version| (table(), Version { wall_us: version, counter: 0, author: Id::ZERO });
        let mut tables = Tables::new();
        tables.insert("t".to_owned(), definition(1));
        let (dialect, join_strategy) = (Dialect::default(), JoinStrategy::default());
        let settings =
            |now_us| Settings { now_us, random: 0, me: Id::ZERO, user: None, locality_bits: 0, dialect, join_strategy };
        let column = |name: &str| Nested::new(Expr::Column { table: None, name: name.to_owned() });
        let is = |name, value| Expr::Binary(BinaryOp::Eq, column(name), Nested::new(value));
        let and = |a, b| Expr::Binary(BinaryOp::And, Nested::new(a), Nested::new(b));
        let select = |filter| {
            let from = vec![TableRef::Table { name: "t".to_owned(), alias: None }];
            let items = vec![SelectItem::Star(None)];
            Arc::new(Statement::Select(Nested::new(Select { items, from, filter: Some(filter), ..Select::default() })))
        };
        let statements = [
            select(is("id", Expr::Param(1))),
            select(and(is("note", Expr::Param(2)), is("id", Expr::Param(1)))),
            select(and(is("id", Expr::Param(1)), is("id", Expr::Literal(Value::Integer(7))))),
            select(Expr::Binary(BinaryOp::Lt, column("id"), Nested::new(Expr::Param(1)))),
        ];
        // As a host keeps them.
        let _held = statements.clone();
        let mut plans = Plans::default();
        for version in 1..3 {
            tables.insert("t".to_owned(), definition(version));
            for number in [7, 8, -9, 7 + 1_000_003, i64::MAX, 0] {
                for (statement, texts) in statements.iter().zip([0, 1, 0, 0]) {
                    let mut params = vec![Value::Integer(number)];
                    params.extend((0..texts).map(|_| Value::Text(format!("note {number}"))));
                    let kept = plans.plan(statement, &params, (&tables, &statistics), settings(number));
                    assert_eq!(kept, plan(statement, &params, (&tables, &statistics), settings(number)));
                }
            }
        }
        let kept =
            |plans: &Plans, at: usize| plans.known.iter().any(|known| Arc::ptr_eq(&known.statement, &statements[at]));
        assert_eq!([0, 1, 2, 3].map(|at| kept(&plans, at)), [true, true, true, false]);
        let other = Settings { join_strategy: JoinStrategy::Bloom, ..settings(0) };
        let fits = |settings| {
            let params = [Value::Integer(7)];
            plans.known.iter().filter(|known| known.fits(&statements[0], &params, &tables, settings)).count()
        };
        assert_eq!((fits(settings(0)), fits(other)), (1, 0), "a plan is of its settings");
        let null = [Value::Null];
        assert_eq!(
            plans.plan(&statements[0], &null, (&tables, &statistics), settings(0)),
            plan(&statements[0], &null, (&tables, &statistics), settings(0))
        );
        for _ in 0..2 * PLANS_MAX {
            let statement = select(is("id", Expr::Param(1)));
            let _held = statement.clone();
            plans.plan(&statement, &[Value::Integer(3)], (&tables, &statistics), settings(0)).unwrap();
        }
        assert_eq!(plans.known.len(), PLANS_MAX);
    }
}
