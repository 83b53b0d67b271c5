//! Functions of numbers, and arithmetic with decimals.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{
    convert::too_large,
    listed::{Listed, types::*},
    text::integer,
};
use crate::{
    Error, Id,
    data::{Numeric, Type, Value},
    exec::eval::{arithmetic, as_real, mismatch},
    sql::{
        ast::BinaryOp,
        fault::{DIVISION_BY_ZERO, INVALID_ARGUMENT, INVALID_LOGARITHM, INVALID_POWER, OUT_OF_RANGE, fail},
    },
};

type Answer = Result<Value, Error>;

const NUMERIC: Type = Type::Numeric(None);

pub(super) const LIST: &[Listed] = &[
    Listed::new("+", &[NUM, NUM], NUMERIC, |all| decimal(decimals(all)?.0.plus(decimals(all)?.1))),
    Listed::new("+", &[REAL, REAL], Type::Real, |all| reals(BinaryOp::Add, all)),
    Listed::new("-", &[NUM, NUM], NUMERIC, |all| decimal(decimals(all)?.0.plus(decimals(all)?.1.negated()))),
    Listed::new("-", &[REAL, REAL], Type::Real, |all| reals(BinaryOp::Sub, all)),
    Listed::new("-", &[NUM], NUMERIC, |all| Ok(Value::Numeric(numeric(all[0])?.negated()))),
    Listed::new("*", &[NUM, NUM], NUMERIC, |all| decimal(decimals(all)?.0.times(decimals(all)?.1))),
    Listed::new("*", &[REAL, REAL], Type::Real, |all| reals(BinaryOp::Mul, all)),
    Listed::new("/", &[NUM, NUM], NUMERIC, |all| decimal(divided(all)?.0.over(divided(all)?.1))),
    Listed::new("/", &[REAL, REAL], Type::Real, |all| reals(BinaryOp::Div, all)),
    Listed::new("%", &[NUM, NUM], NUMERIC, |all| decimal(divided(all)?.0.modulo(divided(all)?.1))),
    Listed::new("%", &[REAL, REAL], Type::Real, |all| reals(BinaryOp::Rem, all)),
    Listed::new("mod", &[NUM, NUM], NUMERIC, |all| decimal(divided(all)?.0.modulo(divided(all)?.1))),
    Listed::new("div", &[NUM, NUM], NUMERIC, div),
    Listed::new("abs", &[NUM], NUMERIC, |all| {
        let number = numeric(all[0])?;
        Ok(Value::Numeric(if number.whole() < 0 { number.negated() } else { number }))
    }),
    Listed::new("sign", &[NUM], NUMERIC, |all| {
        Ok(Value::Numeric(Numeric::from(numeric(all[0])?.whole().signum() as i64)))
    }),
    Listed::new("round", &[NUM], NUMERIC, |all| decimal(numeric(all[0])?.round(0))),
    Listed::new("round", &[NUM, INT], NUMERIC, |all| decimal(numeric(all[0])?.round(integer(all[1])?))),
    Listed::new("trunc", &[REAL], Type::Real, |all| Ok(Value::Real(as_real(all[0])?.trunc()))),
    Listed::new("trunc", &[NUM], NUMERIC, |all| decimal(numeric(all[0])?.trunc(0))),
    Listed::new("trunc", &[NUM, INT], NUMERIC, |all| decimal(numeric(all[0])?.trunc(integer(all[1])?))),
    Listed::new("trunc", &[REAL, INT], Type::Real, trunc_real),
    Listed::new("floor", &[NUM], NUMERIC, |all| decimal(numeric(all[0])?.floor())),
    Listed::new("ceil", &[NUM], NUMERIC, ceil),
    Listed::new("ceiling", &[NUM], NUMERIC, ceil),
    Listed::new("scale", &[NUM], Type::Integer, |all| Ok(Value::Integer(i64::from(numeric(all[0])?.scale())))),
    Listed::new("trim_scale", &[NUM], NUMERIC, |all| Ok(Value::Numeric(numeric(all[0])?.trimmed()))),
    // Of decimals; reals have it where owners compute.
    Listed::new("sqrt", &[REAL], Type::Real, |all| match as_real(all[0])? {
        number if number < 0.0 => fail(INVALID_POWER, "cannot take the square root of a negative number"),
        number => Ok(Value::Real(number.sqrt())),
    }),
    Listed::new("cbrt", &[REAL], Type::Real, |all| real(all, f64::cbrt)),
    Listed::new("power", &[REAL, REAL], Type::Real, power),
    Listed::new("pow", &[REAL, REAL], Type::Real, power),
    Listed::new("exp", &[REAL], Type::Real, |all| real(all, f64::exp)),
    Listed::new("ln", &[REAL], Type::Real, |all| logarithm(all, f64::ln)),
    Listed::new("log", &[REAL], Type::Real, |all| logarithm(all, f64::log10)),
    Listed::new("log10", &[REAL], Type::Real, |all| logarithm(all, f64::log10)),
    Listed::new("log", &[REAL, REAL], Type::Real, |all| {
        let (base, number) = (logarithm(all, f64::ln)?, logarithm(&all[1..], f64::ln)?);
        reals(BinaryOp::Div, &[&number, &base])
    }),
    Listed::new("pi", &[], Type::Real, |_| Ok(Value::Real(core::f64::consts::PI))),
    Listed::new("degrees", &[REAL], Type::Real, |all| real(all, f64::to_degrees)),
    Listed::new("radians", &[REAL], Type::Real, |all| real(all, f64::to_radians)),
    Listed::new("sin", &[REAL], Type::Real, |all| real(all, f64::sin)),
    Listed::new("cos", &[REAL], Type::Real, |all| real(all, f64::cos)),
    Listed::new("tan", &[REAL], Type::Real, |all| real(all, f64::tan)),
    Listed::new("cot", &[REAL], Type::Real, |all| real(all, |angle| angle.tan().recip())),
    Listed::new("asin", &[REAL], Type::Real, |all| within_one(all, f64::asin)),
    Listed::new("acos", &[REAL], Type::Real, |all| within_one(all, f64::acos)),
    Listed::new("atan", &[REAL], Type::Real, |all| real(all, f64::atan)),
    Listed::new("atan2", &[REAL, REAL], Type::Real, |all| Ok(Value::Real(as_real(all[0])?.atan2(as_real(all[1])?)))),
    Listed::new("sinh", &[REAL], Type::Real, |all| real(all, f64::sinh)),
    Listed::new("cosh", &[REAL], Type::Real, |all| real(all, f64::cosh)),
    Listed::new("tanh", &[REAL], Type::Real, |all| real(all, f64::tanh)),
    Listed::new("gcd", &[INT, INT], Type::Integer, |all| {
        let divisor = gcd(integer(all[0])?.unsigned_abs(), integer(all[1])?.unsigned_abs());
        i64::try_from(divisor).map(Value::Integer).map_err(|_| too_large())
    }),
    Listed::new("lcm", &[INT, INT], Type::Integer, lcm),
    Listed::new("&", &[INT, INT], Type::Integer, |all| bits(all, |a, b| a & b)),
    Listed::new("|", &[INT, INT], Type::Integer, |all| bits(all, |a, b| a | b)),
    Listed::new("#", &[INT, INT], Type::Integer, |all| bits(all, |a, b| a ^ b)),
    Listed::new("~", &[INT], Type::Integer, |all| Ok(Value::Integer(!integer(all[0])?))),
    // As processors do it: the count modulo 64.
    Listed::new("<<", &[INT, INT], Type::Integer, |all| bits(all, |number, count| number.wrapping_shl(count as u32))),
    Listed::new(">>", &[INT, INT], Type::Integer, |all| bits(all, |number, count| number.wrapping_shr(count as u32))),
    Listed::new("shift left", &[INT, INT], Type::Integer, |all| bits(all, shifted)),
    Listed::new("shift right", &[INT, INT], Type::Integer, |all| {
        bits(all, |number, count| shifted(number, count.saturating_neg()))
    }),
    Listed::new("factorial", &[INT], NUMERIC, factorial),
    Listed::new("width_bucket", &[REAL, REAL, REAL, INT], Type::Integer, width_bucket),
    // The seed stands behind the arguments.
    Listed::new("random", &[], Type::Real, |all| {
        let [high, low, ..] = drawn(all)?;
        let bits = (u64::from(high) << 32 | u64::from(low)) >> 11;
        Ok(Value::Real(bits as f64 / (1_u64 << 53) as f64))
    })
    .of_chance(),
    Listed::new("gen_random_uuid", &[], Type::Uuid, |all| {
        let words = drawn(all)?;
        let mut bytes = [0; 16];
        bytes.chunks_exact_mut(4).zip(words).for_each(|(four, word)| four.copy_from_slice(&word.to_be_bytes()));
        // Version 4 of RFC 9562.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Ok(Value::Uuid(bytes))
    })
    .of_chance(),
];

fn bits(all: &[&Value], of: fn(i64, i64) -> i64) -> Answer {
    Ok(Value::Integer(of(integer(all[0])?, integer(all[1])?)))
}

/// To the left, or by a negative count to the right, as SQLite does it: all bits may go.
fn shifted(number: i64, count: i64) -> i64 {
    match u32::try_from(count.unsigned_abs()).unwrap_or(u32::MAX) {
        left if count >= 0 => number.checked_shl(left).unwrap_or(0),
        right => number >> right.min(63),
    }
}

/// Random words: of the statement's seed and of how many were drawn in this program before.
fn drawn(all: &[&Value]) -> Result<[u32; 4], Error> {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let Some(Value::Uuid(seed)) = all.last() else { return fail(INVALID_ARGUMENT, "a random value without a seed") };
    let count = DRAWN.fetch_add(1, Ordering::Relaxed);
    let hash = Id::hash(&[&seed[..], &count.to_be_bytes()].concat()).0;
    let mut words = [0; 4];
    words.iter_mut().zip(hash.chunks_exact(4)).for_each(|(word, four)| {
        *word = four.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    });
    Ok(words)
}

/// A decimal; integers are some.
pub(super) fn numeric(value: &Value) -> Result<Numeric, Error> {
    match value {
        Value::Numeric(number) => Ok(*number),
        Value::Integer(number) => Ok(Numeric::from(*number)),
        other => mismatch("arithmetic", other),
    }
}

fn decimals(all: &[&Value]) -> Result<(Numeric, Numeric), Error> {
    Ok((numeric(all[0])?, numeric(all[1])?))
}

/// Two decimals of which the second one is not zero.
fn divided(all: &[&Value]) -> Result<(Numeric, Numeric), Error> {
    match decimals(all)? {
        (_, divisor) if divisor.whole() == 0 => fail(DIVISION_BY_ZERO, "division by zero"),
        both => Ok(both),
    }
}

fn decimal(number: Option<Numeric>) -> Answer {
    number.map(Value::Numeric).ok_or_else(too_large)
}

fn reals(op: BinaryOp, all: &[&Value]) -> Answer {
    arithmetic(op, &Value::Real(as_real(all[0])?), &Value::Real(as_real(all[1])?))
}

fn div(all: &[&Value]) -> Answer {
    let (number, divisor) = divided(all)?;
    let rest = number.modulo(divisor).ok_or_else(too_large)?;
    // Without the rest the quotient is whole.
    let whole = number.plus(rest.negated()).and_then(|number| number.over(divisor));
    decimal(whole.and_then(|whole| whole.round(0)))
}

fn ceil(all: &[&Value]) -> Answer {
    decimal(numeric(all[0])?.negated().floor().map(Numeric::negated))
}

fn trunc_real(all: &[&Value]) -> Answer {
    let (number, digits) = (as_real(all[0])?, integer(all[1])?);
    match Numeric::from_real(number).and_then(|number| number.trunc(digits)) {
        Some(cut) => Ok(Value::Real(cut.to_real())),
        None => Ok(Value::Real(number)),
    }
}

/// A function of a real; what is infinite or no number though the argument is neither is out of range.
fn real(all: &[&Value], of: fn(f64) -> f64) -> Answer {
    let number = as_real(all[0])?;
    let value = of(number);
    if number.is_finite() && !value.is_finite() {
        return fail(OUT_OF_RANGE, "value out of range: overflow");
    }
    Ok(Value::Real(value))
}

fn power(all: &[&Value]) -> Answer {
    let (base, exponent) = (as_real(all[0])?, as_real(all[1])?);
    let value = base.powf(exponent);
    if value.is_nan() && !base.is_nan() && !exponent.is_nan() {
        return fail(INVALID_POWER, "a negative number raised to a non-integer power yields a complex result");
    }
    if value.is_infinite() && base.is_finite() && exponent.is_finite() {
        return match base {
            0.0 => fail(INVALID_POWER, "zero raised to a negative power is undefined"),
            _ => fail(OUT_OF_RANGE, "value out of range: overflow"),
        };
    }
    Ok(Value::Real(value))
}

fn logarithm(all: &[&Value], of: fn(f64) -> f64) -> Answer {
    match as_real(all[0])? {
        number if number <= 0.0 => fail(INVALID_LOGARITHM, "cannot take logarithm of zero or of a negative number"),
        number => Ok(Value::Real(of(number))),
    }
}

fn within_one(all: &[&Value], of: fn(f64) -> f64) -> Answer {
    match as_real(all[0])? {
        number if number.abs() > 1.0 => fail(OUT_OF_RANGE, "input is out of range"),
        number => Ok(Value::Real(of(number))),
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn lcm(all: &[&Value]) -> Answer {
    let (a, b) = (integer(all[0])?.unsigned_abs(), integer(all[1])?.unsigned_abs());
    let multiple = if a == 0 || b == 0 { Some(0) } else { (a / gcd(a, b)).checked_mul(b) };
    multiple.and_then(|multiple| i64::try_from(multiple).ok()).map(Value::Integer).ok_or_else(too_large)
}

fn factorial(all: &[&Value]) -> Answer {
    match integer(all[0])? {
        number if number < 0 => fail(OUT_OF_RANGE, "factorial of a negative number is undefined"),
        number => {
            let product = (2..=number).try_fold(1_i128, |product, factor| {
                // The next one fails, too: a number as large as one likes takes no time.
                product.checked_mul(i128::from(factor))
            });
            decimal(product.and_then(|product| Numeric::new(product, 0)))
        }
    }
}

fn width_bucket(all: &[&Value]) -> Answer {
    let (number, low, high) = (as_real(all[0])?, as_real(all[1])?, as_real(all[2])?);
    let count = integer(all[3])?;
    if count <= 0 || low == high || ![number, low, high].iter().all(|number| number.is_finite()) {
        return fail(
            INVALID_ARGUMENT,
            "width_bucket takes finite numbers, two different bounds and a count above zero",
        );
    }
    let share = (number - low) / (high - low);
    Ok(Value::Integer(if share < 0.0 {
        0
    } else if share >= 1.0 {
        count.saturating_add(1)
    } else {
        (share * count as f64) as i64 + 1
    }))
}
