//! System tables, which show as SQL what there is beside rows: the catalog, losers of conflicts, peers.
//!
//! They are read like any table and cannot be written to. The catalog and the losers are records, which their owners give
//! whole, for they would need to know how these read ([`as_rows`]).
//! A loser tells in which namespace it was: which table that is, and how its row reads, is joined from the catalog at the
//! asker. Peers are what the asker's own node says of itself when it is inspected: a host answers a gather of [`PEERS`] by
//! [`gathered_peers`], and the node, which has to be small in a page, knows nothing of it.

use super::{
    ast::BinaryOp,
    bind::call_listed,
    catalog::{CATALOG, INDEXES, IndexEntry, TableColumn, TableDescriptor},
    fault::{CORRUPTED, fail},
    logical::{ColumnId, Logical},
    scalar::Scalar,
    scope::{Binder, Scope, Typed, Visible},
    statistics::{STATISTICS, TableStatistics},
};
use crate::{
    Error,
    data::{Nested, Row, Type, Value, json::Json},
    exec::{
        fragment::{Budget, Decode, FragmentPlan, Partial},
        plan::JoinKind,
        run::GatherEnd,
    },
    store::{CONFLICTS, Record, Version},
    trust::{Grantee, Policy, Privilege, Privileges, RIGHTS, Rights, Test},
};

/// The system tables.
pub const SYSTEM_TABLES: &[&str] = &[
    "pontoon_tables",
    "pontoon_columns",
    "pontoon_indexes",
    "pontoon_statistics",
    "pontoon_privileges",
    "pontoon_policies",
    "pontoon_peers",
    "pontoon_conflicts",
];

/// The namespace of `pontoon_peers`: no record is ever of it.
pub const PEERS: &str = "pontoon.peers";

/// What a statement holds of a system table.
const BUDGET: Budget = Budget { rows_max: 1_000_000, bytes_max: 256 << 20 };

/// Of a system table: where its rows are, how their records read, its columns.
pub type SystemTable = (&'static str, Decode, Vec<(&'static str, Type)>);

/// A system table, by its name.
pub fn system_table(name: &str) -> Option<SystemTable> {
    match name {
        "pontoon_tables" => {
            let columns = vec![("name", Type::Text), ("columns", Type::Integer), ("namespace", Type::Text)];
            Some((CATALOG, Decode::CatalogTables, columns))
        }
        "pontoon_columns" => {
            let columns = vec![
                ("table_name", Type::Text),
                ("name", Type::Text),
                ("position", Type::Integer),
                ("type", Type::Text),
                ("not_null", Type::Boolean),
                ("key_position", Type::Integer),
            ];
            Some((CATALOG, Decode::CatalogColumns, columns))
        }
        "pontoon_indexes" => {
            let columns = vec![
                ("name", Type::Text),
                ("table_name", Type::Text),
                ("columns", Type::Text),
                ("is_unique", Type::Boolean),
                ("is_ready", Type::Boolean),
            ];
            Some((INDEXES, Decode::CatalogIndexes, columns))
        }
        "pontoon_statistics" => {
            let columns = vec![
                ("table_name", Type::Text),
                ("column_name", Type::Text),
                ("row_count", Type::Integer),
                ("null_fraction", Type::Real),
                ("average_bytes", Type::Real),
                ("distinct_values", Type::Integer),
                ("min_value", Type::Text),
                ("max_value", Type::Text),
                ("common_values", Type::Json),
                ("analyzed_at", Type::Timestamp),
            ];
            Some((STATISTICS, Decode::Statistics, columns))
        }
        "pontoon_privileges" => {
            let columns = vec![
                ("table_name", Type::Text),
                ("owner", Type::Text),
                ("grantee", Type::Text),
                ("privilege", Type::Text),
                ("version", Type::Integer),
                ("realm", Type::Text),
            ];
            Some((RIGHTS, Decode::Rights, columns))
        }
        "pontoon_policies" => {
            let columns = vec![
                ("table_name", Type::Text),
                ("name", Type::Text),
                ("command", Type::Text),
                ("grantee", Type::Text),
                ("using_text", Type::Text),
                ("check_text", Type::Text),
                ("realm", Type::Text),
            ];
            Some((RIGHTS, Decode::Policies, columns))
        }
        "pontoon_peers" => {
            let columns = vec![
                ("id", Type::Text),
                ("role", Type::Text),
                ("link", Type::Text),
                ("transport", Type::Text),
                ("via", Type::Text),
                ("rtt_ms", Type::Real),
                ("sibling", Type::Boolean),
                ("owns", Type::Real),
                ("sent_bytes", Type::Integer),
                ("received_bytes", Type::Integer),
            ];
            Some((PEERS, Decode::Row, columns))
        }
        // What is made of it: see [`Binder::conflicts`].
        "pontoon_conflicts" => {
            let columns = vec![
                ("namespace", Type::Text),
                ("raw_key", Type::Blob),
                ("raw_value", Type::Blob),
                ("written_at", Type::Timestamp),
                ("written_by", Type::Text),
                ("won_at", Type::Timestamp),
                ("won_by", Type::Text),
            ];
            Some((CONFLICTS, Decode::Conflicts, columns))
        }
        _ => None,
    }
}

/// The answer of a gather of [`PEERS`], from the JSON of what [`Node::inspect`](crate::node::Node::inspect) gives: of its
/// parts `id`, `role`, `links`, `peers` and `fragments`.
pub fn gathered_peers(fragment: &FragmentPlan, snapshot: &str) -> (Partial, GatherEnd) {
    let rows = Json::parse(snapshot).map(|snapshot| peer_rows(&snapshot)).unwrap_or_default();
    let (partial, fault) = match fragment.run_rows(&rows, &BUDGET) {
        Ok(partial) => (partial, None),
        Err(error) => (Partial::default(), Some((&error).into())),
    };
    (partial, GatherEnd { peers: 1, fault, ..GatherEnd::default() })
}

/// The rows of `pontoon_peers`.
fn peer_rows(snapshot: &Json) -> Vec<Row> {
    let list = |name: &str| match snapshot.member(name) {
        Some(Json::Array(elements)) => &elements[..],
        _ => &[],
    };
    let value = |of: &Json, name: &str| match of.member(name) {
        Some(Json::Text(text)) => Value::Text(text.clone()),
        Some(Json::Boolean(truth)) => Value::Boolean(*truth),
        Some(Json::Number(number)) => Value::Real(number.to_real()),
        _ => Value::Null,
    };
    let owns = |id: &Value| {
        let counts = |fragment: &&Json| {
            value(fragment, "owner") == *id && value(fragment, "state") != Value::Text("retired".to_owned())
        };
        let share = |fragment: &Json| match value(fragment, "share") {
            Value::Real(share) => share,
            _ => 0.0,
        };
        Value::Real(list("fragments").iter().filter(counts).map(share).sum())
    };
    let integer = |value: Value| if let Value::Real(real) = value { Value::Integer(real as i64) } else { Value::Null };
    let mut rows: Vec<Row> = Vec::new();
    for link in list("links") {
        let id = value(link, "peer");
        let rtt = match value(link, "rttUs") {
            Value::Real(us) if us > 0.0 => Value::Real(us / 1_000.0),
            _ => Value::Null,
        };
        let owned = owns(&id);
        let mut row = vec![id];
        row.extend(["role", "kind", "transport", "via"].map(|name| value(link, name)));
        row.extend([rtt, value(link, "sibling"), owned]);
        row.extend(["sentBytes", "receivedBytes"].map(|name| integer(value(link, name))));
        rows.push(row);
    }
    let without_link = |id: Value, role: Value, link: Value| {
        let (owned, null) = (owns(&id), Value::Null);
        vec![id, role, link, null.clone(), null.clone(), null, Value::Boolean(false), owned]
    };
    for peer in list("peers").iter().filter(|peer| value(peer, "linked") == Value::Boolean(false)) {
        rows.push(without_link(value(peer, "id"), value(peer, "role"), Value::Null));
    }
    let myself = Value::Text("self".to_owned());
    rows.push(without_link(value(snapshot, "id"), value(snapshot, "role"), myself));
    rows
}

impl Binder<'_> {
    /// The scan of a system table.
    pub(super) fn system(&mut self, name: &str, label: &str) -> Option<Result<(Logical, Scope), Error>> {
        let table = system_table(name)?;
        Some(match table.1 {
            Decode::Conflicts => self.conflicts(table, label),
            _ => Ok(self.records(table, label)),
        })
    }

    fn records(&mut self, (namespace, decode, columns): SystemTable, label: &str) -> (Logical, Scope) {
        let columns = columns.into_iter().map(|(name, data_type)| (name.to_owned(), data_type)).collect();
        self.scan(label, namespace.to_owned(), self.settings.locality_bits, decode, columns, &[])
    }

    /// Losers beside the entries of their tables, of which these are still there.
    fn conflicts(&mut self, losers: SystemTable, label: &str) -> Result<(Logical, Scope), Error> {
        let (losers, of) = self.records(losers, label);
        let entries =
            vec![("name", Type::Text), ("columns", Type::Integer), ("namespace", Type::Text), ("", Type::Blob)];
        let (tables, entry) = self.records((CATALOG, Decode::CatalogTables, entries), "pontoon_tables");
        let [namespace, key, value, written_at, written_by, won_at, won_by] = ids(&of)?;
        let [table, _, its_namespace, entry] = ids(&entry)?;
        let column = |id: ColumnId| Nested::new(Scalar::Column(id));
        let on = vec![Scalar::Binary(BinaryOp::Eq, column(namespace), column(its_namespace))];
        let (left, right) = (Box::new(losers), Box::new(tables));
        let input = Box::new(Logical::Join { left, right, kind: JoinKind::Left, on });
        let read = |name: &str, bytes: ColumnId| {
            let blob = |id| Typed::new(Scalar::Column(id), Some(Type::Blob));
            call_listed(name, vec![blob(entry), blob(bytes)])
        };
        let typed = |id, data_type| Typed::new(Scalar::Column(id), Some(data_type));
        let shown = [
            ("table_name", typed(table, Type::Text)),
            ("key", read("row of key", key)?),
            ("lost", read("row of value", value)?),
            ("written_at", typed(written_at, Type::Timestamp)),
            ("written_by", typed(written_by, Type::Text)),
            ("won_at", typed(won_at, Type::Timestamp)),
            ("won_by", typed(won_by, Type::Text)),
            ("namespace", typed(namespace, Type::Text)),
            ("raw_key", typed(key, Type::Blob)),
            ("raw_value", typed(value, Type::Blob)),
        ];
        let (mut exprs, mut scope) = (Vec::with_capacity(shown.len()), Scope::default());
        for (name, typed) in shown {
            let id = self.column(format!("{label}.{name}"), typed.data_type);
            scope.columns.push(Visible::new(label, name.to_owned(), id));
            exprs.push((id, typed.scalar));
        }
        Ok((Logical::Project { input, exprs }, scope))
    }
}

fn ids<const N: usize>(scope: &Scope) -> Result<[ColumnId; N], Error> {
    let ids: Vec<ColumnId> = scope.columns.iter().map(|column| column.id).collect();
    ids.try_into().map_err(|_| super::select::lost_column())
}

/// A loser of a conflict, and the version of what won, where that is known.
fn loser_row(value: &[u8]) -> Option<Row> {
    let (loser, rest): (Record, &[u8]) = postcard::take_from_bytes(value).ok()?;
    let won: Option<Version> = if rest.is_empty() { None } else { postcard::from_bytes(rest).ok()? };
    let of = |version: &Version| [Value::Timestamp(version.wall_us as i64), Value::Text(version.author.to_string())];
    let mut row =
        vec![Value::Text(loser.namespace), Value::Blob(loser.key), loser.value.map_or(Value::Null, Value::Blob)];
    row.extend(of(&loser.version));
    row.extend(won.as_ref().map_or([Value::Null, Value::Null], of));
    Some(row)
}

/// The rows of `pontoon_policies`.
fn policy_rows(rights: &Rights) -> Vec<Row> {
    let text = |text: &str| Value::Text(text.to_owned());
    let shown = |test: &Option<Test>| test.as_ref().map_or(Value::Null, |test| text(&test.text));
    let row = |policy: &Policy| {
        let names: Vec<_> = policy.on.each().map(Privilege::name).collect();
        let command = if policy.on == Privileges::WRITE { "ALL".to_owned() } else { names.join(", ") };
        let to: Vec<_> = policy.to.iter().map(Grantee::to_string).collect();
        let (using, check) = (shown(&policy.using), shown(&policy.check));
        let realm = text(&rights.realm().to_string());
        vec![text(&rights.name), text(&policy.name), text(&command), text(&to.join(", ")), using, check, realm]
    };
    rights.policies.iter().map(row).collect()
}

/// The rows of `pontoon_privileges`: what the owner may is `ALL`.
fn rights_rows(rights: &Rights) -> Vec<Row> {
    let grants = rights.grants.iter().flat_map(|grant| {
        let to = grant.to.to_string();
        grant.privileges.each().map(move |privilege| (to.clone(), privilege.name()))
    });
    let row = |(to, privilege): (String, &str)| {
        let text = |text: &str| Value::Text(text.to_owned());
        let (owner, realm) = (rights.owner.to_string(), rights.realm().to_string());
        let version = Value::Integer(rights.version as i64);
        vec![text(&rights.name), text(&owner), Value::Text(to), text(privilege), version, text(&realm)]
    };
    core::iter::once((rights.owner.to_string(), "ALL")).chain(grants).map(row).collect()
}

/// What a fragment makes of the records of a system table, which came as they are; what came of any other table is that.
pub fn as_rows(fragment: &FragmentPlan, partial: Partial) -> Result<Partial, Error> {
    if fragment.of_system().is_none() {
        return Ok(partial);
    }
    let mut rows = Vec::new();
    for value in partial.batch.values(0) {
        let Value::Blob(record) = value else { return fail(CORRUPTED, "not a record of a system table") };
        rows.extend(system_rows(&record, fragment.decode)?);
    }
    fragment.run_rows(&rows, &BUDGET)
}

/// The rows that a record has in a system table.
fn system_rows(entry: &[u8], decode: Decode) -> Result<Vec<Row>, Error> {
    if decode == Decode::Conflicts {
        // What an application put there by itself is none.
        return Ok(loser_row(entry).into_iter().collect());
    }
    if decode == Decode::Statistics {
        return TableStatistics::decode(entry)?.shown();
    }
    if decode == Decode::Policies {
        return Ok(Rights::decode(entry).as_ref().map(policy_rows).unwrap_or_default());
    }
    if decode == Decode::Rights {
        return Ok(Rights::decode(entry).as_ref().map(rights_rows).unwrap_or_default());
    }
    if decode == Decode::CatalogIndexes {
        let index = IndexEntry::decode(entry)?;
        let columns = Value::Text(index.shown());
        let (unique, ready) = (Value::Boolean(index.unique), Value::Boolean(index.ready));
        return Ok(vec![vec![Value::Text(index.name), Value::Text(index.table), columns, unique, ready]]);
    }
    let table = TableDescriptor::decode(entry)?;
    if decode == Decode::CatalogTables {
        let count = Value::Integer(table.columns.len() as i64);
        // The entry itself is for who reads rows of tables that a statement does not name.
        let entry = Value::Blob(entry.to_vec());
        return Ok(vec![vec![Value::Text(table.name), count, Value::Text(table.namespace), entry]]);
    }
    let row = |(index, column): (usize, &TableColumn)| {
        let key = table.primary_key.iter().position(|position| *position as usize == index);
        vec![
            Value::Text(table.name.clone()),
            Value::Text(column.name.clone()),
            Value::Integer(index as i64 + 1),
            Value::Text(column.data_type.name().to_owned()),
            Value::Boolean(column.not_null),
            key.map_or(Value::Null, |position| Value::Integer(position as i64 + 1)),
        ]
    };
    Ok(table.columns.iter().enumerate().map(row).collect())
}
