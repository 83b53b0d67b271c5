//! Random queries over tables that PostgreSQL and SQLite understand alike.
//!
//! Expressions are typed; what the two dialects type, divide, round or order differently is left out. Each column is
//! written with its table, each item of FROM has an alias of its own, LIMIT stands behind an order of all columns, and
//! a window that tells rows apart is ordered by all columns that there are.

use super::{
    choices::Choices,
    tables::{Kind, Relation, TEXTS, Tables},
};

use Kind::{Int, Real, Text};

/// Something that an expression can read.
#[derive(Clone, Debug)]
struct Atom {
    text: String,
    kind: Kind,
    /// Whether it is a column, which subqueries may read.
    column: bool,
}

/// What an expression can read.
#[derive(Clone, Debug, Default)]
struct Scope {
    atoms: Vec<Atom>,
    /// In a grouped query what aggregates are made of.
    rows: Option<Vec<Atom>>,
}

/// A statement, and whether its rows are in order.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The text.
    pub sql: String,
    /// Whether rows have a total order.
    pub ordered: bool,
    /// The table that it changes.
    pub changes: Option<String>,
}

/// How many items FROM has at most.
const ITEMS_MAX: usize = 3;
const COMPARISONS: &[&str] = &["=", "<", ">", "<>", "<=", ">="];

/// A random query over tables, now and then a change.
pub fn statement(tables: &Tables, choices: &mut Choices) -> Generated {
    let mut generator =
        Generator { choices, tables, named: Vec::new(), outer: Vec::new(), hidden: None, names: 0, budget: 60 };
    if generator.choices.once_in(16) {
        return generator.change();
    }
    if generator.choices.once_in(10) {
        return generator.first_rows();
    }
    let kinds = generator.kinds();
    let (sql, ordered) = generator.query(&kinds, 2);
    Generated { sql, ordered, changes: None }
}

struct Generator<'a> {
    choices: &'a mut Choices,
    tables: &'a Tables,
    /// Queries of WITH in sight.
    named: Vec<Relation>,
    /// Columns of surrounding queries.
    outer: Vec<Atom>,
    /// The table that is changed: while SQLite changes it row by row, its subqueries see that.
    hidden: Option<String>,
    names: usize,
    /// Parts that may still be made; then only leaves are.
    budget: i32,
}

impl Generator<'_> {
    fn name(&mut self, letter: &str) -> String {
        self.names += 1;
        format!("{letter}{}", self.names)
    }

    fn kind(&mut self) -> Kind {
        [Int, Text, Real][self.choices.weighted(&[5, 3, 2])]
    }

    fn kinds(&mut self) -> Vec<Kind> {
        (0..1 + self.choices.below(3)).map(|_| self.kind()).collect()
    }

    /// Something made while no column of a surrounding query is in sight.
    fn locally<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> T {
        let outer = core::mem::take(&mut self.outer);
        let made = make(self);
        self.outer = outer;
        made
    }

    /// Something made within a query that has these columns.
    fn within<T>(&mut self, scope: &Scope, make: impl FnOnce(&mut Self) -> T) -> T {
        let count = self.outer.len();
        self.outer.extend(scope.atoms.iter().filter(|atom| atom.column).cloned());
        let made = make(self);
        self.outer.truncate(count);
        made
    }

    fn leaf(&mut self, kind: Kind, scope: &Scope) -> String {
        let own: Vec<&Atom> = scope.atoms.iter().filter(|atom| atom.kind == kind).collect();
        let outer: Vec<Atom> = self.outer.iter().filter(|atom| atom.kind == kind).cloned().collect();
        let weights = [if own.is_empty() { 0 } else { 8 }, 3, if outer.is_empty() { 0 } else { 3 }, 1];
        match self.choices.weighted(&weights) {
            0 => self.choices.pick(&own).text.clone(),
            2 => self.choices.pick(&outer).text.clone(),
            3 => "NULL".to_owned(),
            _ => match kind {
                Int => self.choices.below(7).to_string(),
                Text => (*self.choices.pick(TEXTS)).to_owned(),
                Real => format!("{:?}", self.choices.below(9) as f64 / 4.0),
            },
        }
    }

    /// An expression.
    fn value(&mut self, kind: Kind, scope: &Scope, depth: u32) -> String {
        self.budget -= 1;
        if let Some(rows) = &scope.rows
            && self.choices.once_in(2)
        {
            return self.aggregate(kind, rows.clone(), depth);
        }
        if depth == 0 || self.budget < 0 {
            return self.leaf(kind, scope);
        }
        let choice = self.choices.weighted(&[8, 2, 1, 1, 1, 5]);
        let depth = depth - 1;
        match choice {
            0 => self.leaf(kind, scope),
            1 => {
                let when = self.condition(scope, depth);
                let (a, b) = (self.value(kind, scope, depth), self.value(kind, scope, depth));
                format!("CASE WHEN {when} THEN {a} ELSE {b} END")
            }
            2 => format!("coalesce({}, {})", self.value(kind, scope, depth), self.value(kind, scope, depth)),
            3 => format!("nullif({}, {})", self.value(kind, scope, depth), self.value(kind, scope, depth)),
            4 => self.within(scope, |this| this.one_value(kind, depth)),
            _ => match kind {
                Int => self.int(scope, depth),
                Text => self.text(scope, depth),
                Real => self.real(scope, depth),
            },
        }
    }

    fn int(&mut self, scope: &Scope, depth: u32) -> String {
        match self.choices.weighted(&[4, 1, 1, 1, 1, 1, 1]) {
            0 => {
                let (a, b) = (self.value(Int, scope, depth), self.value(Int, scope, depth));
                format!("({a} {} {b})", self.choices.pick(&["+", "-", "*"]))
            }
            1 => format!("({} / {})", self.value(Int, scope, depth), 2 + self.choices.below(3)),
            2 => format!("({} % {})", self.value(Int, scope, depth), 2 + self.choices.below(3)),
            3 => format!("abs({})", self.value(Int, scope, depth)),
            4 => format!("(- {})", self.value(Int, scope, depth)),
            5 => format!("length({})", self.value(Text, scope, depth)),
            _ => format!("CAST({} AS INTEGER)", self.condition(scope, depth.min(1))),
        }
    }

    fn text(&mut self, scope: &Scope, depth: u32) -> String {
        match self.choices.weighted(&[3, 1, 1, 1, 1, 1, 1]) {
            0 => format!("({} || {})", self.value(Text, scope, depth), self.value(Text, scope, depth)),
            1 => format!("upper({})", self.value(Text, scope, depth)),
            2 => format!("lower({})", self.value(Text, scope, depth)),
            3 => {
                let (from, count) = (1 + self.choices.below(3), self.choices.below(3));
                format!("substr({}, {from}, {count})", self.value(Text, scope, depth))
            }
            4 => format!("trim({})", self.value(Text, scope, depth)),
            5 => format!("replace({}, 'a', {})", self.value(Text, scope, depth), self.choices.pick(TEXTS)),
            _ => format!("CAST({} AS TEXT)", self.value(Int, scope, depth)),
        }
    }

    fn real(&mut self, scope: &Scope, depth: u32) -> String {
        match self.choices.weighted(&[4, 1, 1, 1, 1]) {
            0 => {
                let other = *self.choices.pick(&[Real, Int]);
                let (a, b) = (self.value(Real, scope, depth), self.value(other, scope, depth));
                format!("({a} {} {b})", self.choices.pick(&["+", "-", "*"]))
            }
            1 => format!("({} / 2.0)", self.value(Real, scope, depth)),
            2 => format!("abs({})", self.value(Real, scope, depth)),
            3 => format!("round({})", self.value(Real, scope, depth)),
            _ => format!("coalesce({}, {})", self.value(Real, scope, depth), self.value(Int, scope, depth)),
        }
    }

    /// An aggregate of rows, with columns of the query itself alone.
    fn aggregate(&mut self, kind: Kind, rows: Vec<Atom>, depth: u32) -> String {
        let rows = Scope { atoms: rows, rows: None };
        let depth = depth.min(2).saturating_sub(1);
        self.locally(|this| {
            let call = match (kind, this.choices.below(5)) {
                (Int, 0) => "count(*)".to_owned(),
                (Int, 1) => {
                    let of = this.kind();
                    format!("count({}{})", this.distinct(), this.value(of, &rows, depth))
                }
                (Int, 2) => format!("sum({}{})", this.distinct(), this.value(Int, &rows, depth)),
                (Text, 0 | 1) => {
                    let arg = this.value(Text, &rows, depth);
                    format!("string_agg({arg}, '-' ORDER BY {arg}{})", this.choices.pick(&["", " DESC"]))
                }
                (Real, 0) => {
                    let of = *this.choices.pick(&[Int, Real]);
                    format!("avg({}{})", this.distinct(), this.value(of, &rows, depth))
                }
                (Real, 1) => format!("sum({})", this.value(Real, &rows, depth)),
                (Real, 2) => format!("total({})", this.value(Int, &rows, depth)),
                _ => format!("{}({})", this.choices.pick(&["max", "min"]), this.value(kind, &rows, depth)),
            };
            if this.choices.once_in(6) {
                format!("{call} FILTER (WHERE {})", this.condition(&rows, depth))
            } else {
                call
            }
        })
    }

    fn distinct(&mut self) -> &'static str {
        if self.choices.once_in(4) { "DISTINCT " } else { "" }
    }

    fn not(&mut self) -> &'static str {
        if self.choices.once_in(3) { "NOT " } else { "" }
    }

    fn condition(&mut self, scope: &Scope, depth: u32) -> String {
        self.budget -= 1;
        let deep = depth > 0 && self.budget > 0;
        let lower = depth.saturating_sub(1);
        let choice = self.choices.weighted(&[8, 2, 2, 1, 1, 1, if deep { 5 } else { 0 }, if deep { 3 } else { 0 }]);
        let kind = if choice < 6 { self.kind() } else { Int };
        match choice {
            0 => {
                let (a, b) = (self.value(kind, scope, lower), self.value(kind, scope, lower));
                format!("{a} {} {b}", self.choices.pick(COMPARISONS))
            }
            1 => format!("{} IS {}NULL", self.value(kind, scope, lower), self.not()),
            2 => {
                let operand = self.value(kind, scope, lower);
                let list: Vec<String> = (0..1 + self.choices.below(3)).map(|_| self.leaf(kind, scope)).collect();
                format!("{operand} {}IN ({})", self.not(), list.join(", "))
            }
            3 => {
                let (a, low, high) = (self.value(kind, scope, lower), self.leaf(kind, scope), self.leaf(kind, scope));
                format!("{a} {}BETWEEN {low} AND {high}", self.not())
            }
            4 => {
                let text = self.value(Text, scope, lower);
                format!("{text} {}LIKE {}", self.not(), self.choices.pick(&["'a%'", "'%b'", "'_'", "'%'", "'%a_'"]))
            }
            5 => {
                let (a, b) = (self.value(kind, scope, lower), self.value(kind, scope, lower));
                format!("{a} IS {}DISTINCT FROM {b}", self.not())
            }
            6 => {
                let a = self.condition(scope, lower);
                match self.choices.below(4) {
                    0 => format!("({a} AND {})", self.condition(scope, lower)),
                    1 => format!("({a} OR {})", self.condition(scope, lower)),
                    2 => format!("NOT ({a})"),
                    _ => format!("({a}) IS {}{}", self.not(), self.choices.pick(&["TRUE", "FALSE"])),
                }
            }
            _ => self.asking(scope, lower),
        }
    }

    /// A condition that asks a subquery.
    fn asking(&mut self, scope: &Scope, depth: u32) -> String {
        let not = self.not();
        let kind = self.kind();
        match self.choices.below(3) {
            0 => {
                let mut query = self.within(scope, |this| this.query(&[kind], depth).0);
                // SQLite takes no notice of DISTINCT right within EXISTS, and skips rows that are equal.
                if query.contains("OFFSET") {
                    query = format!("SELECT 1 FROM ({query}) AS {}", self.name("a"));
                }
                format!("{not}EXISTS ({query})")
            }
            1 => {
                let operand = self.value(kind, scope, depth);
                let query = self.within(scope, |this| this.query(&[kind], depth).0);
                format!("{operand} {not}IN ({query})")
            }
            _ => {
                let operand = self.value(kind, scope, depth);
                let query = self.within(scope, |this| this.one_value(kind, depth));
                format!("{operand} {} {query}", self.choices.pick(COMPARISONS))
            }
        }
    }

    /// A subquery that gives one row at most.
    fn one_value(&mut self, kind: Kind, depth: u32) -> String {
        let (from, scope) = self.from(depth);
        let filter = self.filter(&scope, depth);
        if self.choices.below(2) == 0 {
            let aggregate = self.aggregate(kind, scope.atoms, depth);
            return format!("(SELECT {aggregate} FROM {from}{filter})");
        }
        let value = self.value(kind, &scope, depth);
        let order = self.order(1);
        format!("(SELECT {value} FROM {from}{filter}{order} LIMIT 1)")
    }

    /// An order of all columns.
    fn order(&mut self, count: usize) -> String {
        let directions = &["ASC NULLS LAST", "DESC NULLS FIRST", "ASC NULLS FIRST", "DESC NULLS LAST"];
        let columns: Vec<String> =
            (1..=count).map(|column| format!("{column} {}", self.choices.pick(directions))).collect();
        format!(" ORDER BY {}", columns.join(", "))
    }

    fn filter(&mut self, scope: &Scope, depth: u32) -> String {
        match self.choices.below(4) {
            0 => String::new(),
            _ => format!(" WHERE {}", self.condition(scope, depth)),
        }
    }

    /// A query with columns of these kinds, named `c0`, `c1`, ..; whether its rows are in order.
    fn query(&mut self, kinds: &[Kind], depth: u32) -> (String, bool) {
        let seen = self.named.len();
        let mut with = String::new();
        if depth > 0 && self.choices.once_in(6) {
            with = self.with(depth - 1);
        }
        let mut sql = if depth > 0 && self.choices.once_in(5) {
            let op = *self.choices.pick(&["UNION ALL", "UNION", "INTERSECT", "EXCEPT"]);
            format!("{} {op} {}", self.select(kinds, depth - 1), self.select(kinds, depth - 1))
        } else {
            self.select(kinds, depth)
        };
        self.named.truncate(seen);
        let limited = self.choices.once_in(4);
        if limited {
            let limit = self.choices.below(5);
            sql += &self.order(kinds.len());
            sql += &format!(" LIMIT {limit}");
            if self.choices.once_in(3) {
                sql += &format!(" OFFSET {}", self.choices.below(3));
            }
        }
        (with + &sql, limited)
    }

    fn with(&mut self, depth: u32) -> String {
        let mut all = Vec::new();
        let recursive = self.outer.is_empty() && self.choices.once_in(4);
        for _ in 0..1 + self.choices.below(2) {
            let name = self.name("w");
            let kinds = self.kinds();
            let columns: Vec<(String, Kind)> =
                kinds.iter().enumerate().map(|(at, kind)| (format!("c{at}"), *kind)).collect();
            let (query, _) = self.query(&kinds, depth);
            all.push(format!("{name} AS ({query})"));
            self.named.push(Relation { name, columns });
        }
        if recursive {
            let name = self.name("w");
            let own = Relation { name: name.clone(), columns: vec![("c0".to_owned(), Int), ("c1".to_owned(), Int)] };
            let (from, scope) = self.item(0);
            let (start, value) = (self.leaf(Int, &scope), self.leaf(Int, &scope));
            let all_or = *self.choices.pick(&["UNION ALL", "UNION"]);
            let (item, mut around) = self.named_item(&own);
            let counter = around.atoms[1].text.clone();
            let (next_from, next_scope) = self.item(0);
            around.atoms.extend(next_scope.atoms);
            let step = self.value(Int, &around, 1);
            let on = self.condition(&around, 0);
            all.push(format!(
                "{name} (c0, c1) AS (SELECT {start}, 0 FROM {from} WHERE {value} > 0 {all_or} SELECT {step}, {counter} + 1 \
                 FROM {item} JOIN {next_from} ON {on} WHERE {counter} < 2)"
            ));
            self.named.push(own);
        }
        format!("WITH {}{} ", if recursive { "RECURSIVE " } else { "" }, all.join(", "))
    }

    fn select(&mut self, kinds: &[Kind], depth: u32) -> String {
        self.budget -= 2;
        let (from, scope) = self.from(depth);
        let filter = self.filter(&scope, depth);
        let shape = self.choices.weighted(&[5, 1, 4, 2]);
        let aliased = |items: Vec<String>| {
            let named = items.into_iter().enumerate().map(|(at, item)| format!("{item} AS c{at}"));
            named.collect::<Vec<_>>().join(", ")
        };
        match shape {
            0 | 1 => {
                let items = kinds.iter().map(|kind| self.value(*kind, &scope, depth)).collect();
                let distinct = if shape == 1 { "DISTINCT " } else { "" };
                format!("SELECT {distinct}{} FROM {from}{filter}", aliased(items))
            }
            2 => {
                let mut keys = Vec::new();
                for _ in 0..self.choices.below(3) {
                    let kind = self.kind();
                    let text = self.locally(|this| this.value(kind, &scope, 1));
                    if scope.atoms.iter().any(|atom| text.contains(&atom.text)) && !text.contains("SELECT") {
                        let column = scope.atoms.iter().any(|atom| text == atom.text);
                        keys.push(Atom { text, kind, column });
                    }
                }
                let by: Vec<&str> = keys.iter().map(|key| &*key.text).collect();
                let by = if by.is_empty() { String::new() } else { format!(" GROUP BY {}", by.join(", ")) };
                let grouped = Scope { atoms: keys, rows: Some(scope.atoms) };
                let mut items: Vec<String> =
                    kinds.iter().map(|kind| self.value(*kind, &grouped, depth.min(1))).collect();
                if by.is_empty() {
                    // Something must say that it is one group.
                    items[0] = match (kinds[0], &grouped.rows) {
                        (kind, Some(rows)) => self.aggregate(kind, rows.clone(), 1),
                        (_, None) => "count(*)".to_owned(),
                    };
                }
                let having = if self.choices.once_in(3) {
                    format!(" HAVING {}", self.condition(&grouped, depth.min(1)))
                } else {
                    String::new()
                };
                format!("SELECT {} FROM {from}{filter}{by}{having}", aliased(items))
            }
            _ => {
                let mut telling = true;
                let items = kinds.iter().map(|kind| self.window(*kind, &scope, &mut telling)).collect();
                format!("SELECT {} FROM {from}{filter}", aliased(items))
            }
        }
    }

    /// A window function, or what a row has. Equal rows may be told apart once in a query: in which order is nobody's
    /// business.
    fn window(&mut self, kind: Kind, scope: &Scope, telling: &mut bool) -> String {
        self.locally(|this| {
            let partition = match this.choices.below(3) {
                0 => String::new(),
                _ => format!("PARTITION BY {} ", this.choices.pick(&scope.atoms).text),
            };
            let direction = *this.choices.pick(&["ASC NULLS LAST", "DESC NULLS FIRST", "ASC NULLS FIRST"]);
            let all: Vec<String> = scope.atoms.iter().map(|atom| format!("{} {direction}", atom.text)).collect();
            let all = format!("ORDER BY {}", all.join(", "));
            let ints: Vec<Atom> = scope.atoms.iter().filter(|atom| atom.kind == Int).cloned().collect();
            let bounds = ["UNBOUNDED PRECEDING", "1 PRECEDING", "CURRENT ROW", "1 FOLLOWING", "UNBOUNDED FOLLOWING"];
            let start = this.choices.below(4);
            let end = start.max(1) + this.choices.below(5 - start.max(1));
            let between = format!("BETWEEN {} AND {}", bounds[start], bounds[end]);
            let arg = this.value(kind, scope, 1);
            let choice = this.choices.below(6);
            if (2..=4).contains(&choice) && !core::mem::take(telling) {
                return arg;
            }
            match choice {
                0 => arg,
                1 if kind == Int => {
                    let by = this.choices.pick(&scope.atoms).text.clone();
                    let call = *this.choices.pick(&["rank()", "dense_rank()"]);
                    format!("{call} OVER ({partition}ORDER BY {by} {direction})")
                }
                2 if kind == Int => {
                    let call = *this.choices.pick(&["row_number()", "ntile(2)", "count(*)"]);
                    format!("{call} OVER ({partition}{all})")
                }
                2 => {
                    let call = *this.choices.pick(&["lag", "lead"]);
                    let rest = *this.choices.pick(&["", ", 2"]);
                    format!("{call}({arg}{rest}) OVER ({partition}{all})")
                }
                3 => {
                    let call = *this.choices.pick(&["first_value", "last_value"]);
                    format!("{call}({arg}) OVER ({partition}{all} ROWS {between})")
                }
                4 if kind != Text => format!("sum({arg}) OVER ({partition}{all} ROWS {between})"),
                5 if !ints.is_empty() => {
                    let (by, unit) = (&this.choices.pick(&ints).text, *this.choices.pick(&["GROUPS", "RANGE"]));
                    let call = *this.choices.pick(&["max", "min"]);
                    format!("{call}({arg}) OVER ({partition}ORDER BY {by} {direction} {unit} {between})")
                }
                _ => format!("{}({arg}) OVER ({partition})", this.choices.pick(&["max", "min"])),
            }
        })
    }

    fn named_item(&mut self, relation: &Relation) -> (String, Scope) {
        let alias = self.name("a");
        let atom =
            |(column, kind): &(String, Kind)| Atom { text: format!("{alias}.{column}"), kind: *kind, column: true };
        let atoms = relation.columns.iter().map(atom).collect();
        (format!("{} AS {alias}", relation.name), Scope { atoms, rows: None })
    }

    /// FROM, and what it shows.
    fn from(&mut self, depth: u32) -> (String, Scope) {
        let (mut sql, mut scope) = self.item(depth);
        let commas = self.choices.once_in(4);
        for _ in 1..1 + self.choices.weighted(&[5, 4, 1]).min(ITEMS_MAX - 1) {
            let (item, own) = self.item(0);
            let left = scope.atoms.clone();
            scope.atoms.extend(own.atoms.iter().cloned());
            if commas {
                sql += &format!(", {item}");
                continue;
            }
            let join = *self.choices.pick(&["JOIN", "LEFT JOIN", "CROSS JOIN", "RIGHT JOIN", "FULL JOIN"]);
            if join == "CROSS JOIN" {
                sql += &format!(" CROSS JOIN {item}");
                continue;
            }
            let bare = |text: &str| text.split_once('.').map(|(_, column)| column.to_owned());
            let shared: Vec<String> = own.atoms.iter().filter_map(|atom| bare(&atom.text)).collect();
            let once = |column: &&String| {
                left.iter().filter(|atom| bare(&atom.text).as_deref() == Some(column.as_str())).count() == 1
            };
            let shared: Vec<String> = shared.iter().filter(once).cloned().collect();
            if !shared.is_empty() && self.choices.once_in(5) {
                let column = self.choices.pick(&shared).clone();
                let kind = |atom: &&Atom| bare(&atom.text).as_deref() == Some(&column);
                let kinds: Vec<Kind> = scope.atoms.iter().filter(kind).map(|atom| atom.kind).collect();
                if kinds.len() == 2 && kinds[0] == kinds[1] {
                    sql += &format!(" {join} {item} USING ({column})");
                    continue;
                }
            }
            let on = if self.choices.once_in(3) {
                self.condition(&scope, depth.min(1))
            } else {
                let kind = self.kind();
                let (a, b) = (self.leaf(kind, &Scope { atoms: left, rows: None }), self.leaf(kind, &own));
                let more =
                    if self.choices.once_in(4) { format!(" AND {}", self.condition(&scope, 0)) } else { String::new() };
                format!("{a} = {b}{more}")
            };
            sql += &format!(" {join} {item} ON {on}");
        }
        (sql, scope)
    }

    /// A table, a query of WITH or a subquery.
    fn item(&mut self, depth: u32) -> (String, Scope) {
        if depth > 0 && self.budget > 0 && self.choices.once_in(6) {
            let kinds = self.kinds();
            let (query, _) = self.query(&kinds, depth - 1);
            let columns = kinds.iter().enumerate().map(|(at, kind)| (format!("c{at}"), *kind)).collect();
            return self.named_item(&Relation { name: format!("({query})"), columns });
        }
        if !self.named.is_empty() && self.choices.below(3) > 0 {
            let relation = self.choices.pick(&self.named).clone();
            return self.named_item(&relation);
        }
        let shown = self.tables.relations.iter().filter(|table| self.hidden.as_ref() != Some(&table.name));
        let shown: Vec<&Relation> = shown.collect();
        if shown.is_empty() {
            let columns = vec![("c0".to_owned(), Int)];
            return self.named_item(&Relation { name: "(SELECT 1 AS c0)".to_owned(), columns });
        }
        let relation = (*self.choices.pick(&shown)).clone();
        self.named_item(&relation)
    }

    /// The first rows of a table in an order, or its least and greatest values: what an index may have.
    fn first_rows(&mut self) -> Generated {
        let relation = self.choices.pick(&self.tables.relations).clone();
        let (from, scope) = self.named_item(&relation);
        let columns: Vec<String> =
            (0..1 + self.choices.below(3)).map(|_| self.choices.pick(&scope.atoms).text.clone()).collect();
        let filter = self.filter(&scope, 1);
        if self.choices.once_in(3) {
            let call = |column: &String| format!("{}({column})", self.choices.pick(&["max", "min"]));
            let calls: Vec<String> = columns.iter().map(call).collect();
            return Generated {
                sql: format!("SELECT {} FROM {from}{filter}", calls.join(", ")),
                ordered: true,
                changes: None,
            };
        }
        let (order, limit, skip) = (self.order(columns.len()), 1 + self.choices.below(4), self.choices.below(3));
        let sql = format!("SELECT {} FROM {from}{filter}{order} LIMIT {limit} OFFSET {skip}", columns.join(", "));
        Generated { sql, ordered: true, changes: None }
    }

    /// An UPDATE, DELETE or INSERT of a table that has no key, or whose key stays.
    fn change(&mut self) -> Generated {
        let table = self.choices.pick(&self.tables.relations).clone();
        let columns = table.columns.iter().filter(|(name, _)| name != "k");
        let columns: Vec<(String, Kind)> = columns.cloned().collect();
        let qualify =
            |(name, kind): &(String, Kind)| Atom { text: format!("{}.{name}", table.name), kind: *kind, column: true };
        let scope = Scope { atoms: table.columns.iter().map(qualify).collect(), rows: None };
        let name = &table.name;
        let keyless = columns.len() == table.columns.len();
        let change = self.choices.below(3);
        self.hidden = (change != 1 || !keyless).then(|| table.name.clone());
        let sql = match change {
            0 => {
                let (column, kind) = self.choices.pick(&columns).clone();
                let value = self.value(kind, &scope, 2);
                format!("UPDATE {name} SET {column} = {value}{}", self.filter(&scope, 2))
            }
            1 if keyless => {
                let kinds: Vec<Kind> = columns.iter().map(|(_, kind)| *kind).collect();
                format!("INSERT INTO {name} {}", self.query(&kinds, 2).0)
            }
            _ => format!("DELETE FROM {name}{}", self.filter(&scope, 2)),
        };
        Generated { sql, ordered: false, changes: Some(table.name) }
    }
}
