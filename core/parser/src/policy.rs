//! `CREATE POLICY`.

use pontoon_core::{
    sql::ast::{CreatePolicy, Expr, Statement},
    trust::{Grantee, Privilege, Privileges},
};
use sqlparser::ast as parsed;

use crate::{
    Result,
    expr::{expr, name, object_name},
    statement::grantee,
    unsupported,
};

pub(crate) fn create_policy(create: parsed::CreatePolicy) -> Result<Statement> {
    use parsed::CreatePolicyCommand as C;
    if matches!(create.policy_type, Some(parsed::CreatePolicyType::Restrictive)) {
        return unsupported("RESTRICTIVE policies");
    }
    let on = match create.command {
        None | Some(C::All) => Privileges::WRITE,
        Some(C::Insert) => Privileges::these(&[Privilege::Insert]),
        Some(C::Update) => Privileges::these(&[Privilege::Update]),
        Some(C::Delete) => Privileges::these(&[Privilege::Delete]),
        Some(C::Select) => return unsupported("policies FOR SELECT: they are about writes"),
    };
    let to = match create.to {
        None => vec![Grantee::Public],
        Some(to) => to.into_iter().map(to_whom).collect::<Result<_>>()?,
    };
    Ok(Statement::CreatePolicy(CreatePolicy {
        name: name(create.name),
        table: object_name(create.table_name)?,
        on,
        to,
        using: test(create.using)?,
        check: test(create.with_check)?,
    }))
}

/// A condition, and how it was written.
fn test(test: Option<parsed::Expr>) -> Result<Option<(Expr, String)>> {
    let Some(test) = test else { return Ok(None) };
    let text = test.to_string();
    Ok(Some((expr(test, 0)?, text)))
}

fn to_whom(owner: parsed::Owner) -> Result<Grantee> {
    match owner {
        parsed::Owner::Ident(ident) => grantee(&ident.value),
        other => unsupported(format!("a policy TO {other}")),
    }
}
