//! Exact decimal numbers: at most 35 digits, of which any may stand behind the point, in sixteen bytes.
//!
//! A value is a whole number and a *scale*, how many of its digits are behind the point; `1.0` and `1.00` are equal and
//! print as they are. Operations follow PostgreSQL's rules of scale as far as 35 digits go; then digits behind the point
//! are rounded away, half away from zero, and only what has too many digits before it is out of range
//! (docs/decisions/021-types.md says why it is our own).

use core::{cmp::Ordering, fmt};

use serde::{Deserialize, Serialize};

/// Digits of a number.
pub const DIGITS_MAX: u8 = 35;
/// Digits that a quotient has at least.
const QUOTIENT_DIGITS: i32 = 16;
const BOUND: i128 = 10_i128.pow(DIGITS_MAX as u32);

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(i128, u8)", into = "(i128, u8)")]
pub struct Numeric {
    // The whole number in the upper 120 bits, the scale in the lower 8; two words, so that a value needs no alignment of
    // sixteen bytes.
    high: i64,
    low: u64,
}

impl From<Numeric> for (i128, u8) {
    fn from(number: Numeric) -> (i128, u8) {
        (number.whole(), number.scale())
    }
}

impl TryFrom<(i128, u8)> for Numeric {
    type Error = &'static str;

    fn try_from((whole, scale): (i128, u8)) -> Result<Numeric, &'static str> {
        Numeric::new(whole, scale).ok_or("a number with too many digits")
    }
}

impl From<i64> for Numeric {
    fn from(number: i64) -> Numeric {
        Numeric::packed(i128::from(number), 0)
    }
}

fn power(exponent: u8) -> Option<i128> {
    10_i128.checked_pow(u32::from(exponent))
}

impl Numeric {
    /// Zero.
    pub const ZERO: Numeric = Numeric { high: 0, low: 0 };

    /// `whole / 10^scale`; `None` when it has too many digits.
    pub fn new(whole: i128, scale: u8) -> Option<Numeric> {
        (-BOUND < whole && whole < BOUND && scale <= DIGITS_MAX).then(|| Numeric::packed(whole, scale))
    }

    fn packed(whole: i128, scale: u8) -> Numeric {
        let bits = whole << 8 | i128::from(scale);
        Numeric { high: (bits >> 64) as i64, low: bits as u64 }
    }

    /// The number without its point.
    pub fn whole(self) -> i128 {
        (i128::from(self.high) << 64 | i128::from(self.low)) >> 8
    }

    /// Digits behind the point.
    pub fn scale(self) -> u8 {
        self.low as u8
    }

    /// Which is larger.
    pub fn compare(self, other: Numeric) -> Ordering {
        let (a, b) = (self.whole(), other.whole());
        let sign = |number: i128| number.cmp(&0);
        // What no longer fits when it is brought to the other's scale is the larger of the two in size.
        match self.scale().cmp(&other.scale()) {
            Ordering::Equal => a.cmp(&b),
            Ordering::Less => match shifted(a, other.scale() - self.scale()) {
                Some(a) => a.cmp(&b),
                None => sign(a),
            },
            Ordering::Greater => match shifted(b, self.scale() - other.scale()) {
                Some(b) => a.cmp(&b),
                None => sign(b).reverse(),
            },
        }
    }

    /// Reads `-12.50`, `.5`, `1e3`; `None` when it is no number or has too many digits before the point.
    pub fn parse(text: &str) -> Option<Numeric> {
        let text = text.trim().as_bytes();
        let (negative, mut rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            all => (false, all),
        };
        let mut number = Rounded::default();
        let (mut seen, mut point, mut scale) = (false, false, 0_i32);
        while let [first, tail @ ..] = rest {
            match first {
                b'.' if !point => point = true,
                b'0'..=b'9' => {
                    seen = true;
                    scale += i32::from(point) - i32::from(!number.push(first - b'0'));
                }
                b'e' | b'E' if seen => {
                    let exponent: i32 = core::str::from_utf8(tail).ok()?.parse().ok()?;
                    scale = scale.checked_sub(exponent.clamp(-9_999, 9_999))?;
                    break;
                }
                _ => return None,
            }
            rest = tail;
        }
        let whole = seen.then_some(number.rounded())?;
        rescaled(if negative { -whole } else { whole }, scale, None)
    }

    /// The sum.
    pub fn plus(self, other: Numeric) -> Option<Numeric> {
        let mut scale = self.scale().max(other.scale());
        loop {
            let (a, b) = (self.at_scale(scale), other.at_scale(scale));
            if let (Some(a), Some(b)) = (a, b)
                && let Some(sum) = Numeric::new(a.whole() + b.whole(), scale)
            {
                return Some(sum);
            }
            scale = scale.checked_sub(1)?;
        }
    }

    /// The number with its sign turned.
    pub fn negated(self) -> Numeric {
        Numeric::packed(-self.whole(), self.scale())
    }

    /// The product; its scale is the sum of both.
    pub fn times(self, other: Numeric) -> Option<Numeric> {
        let negative = (self.whole() < 0) != (other.whole() < 0);
        let (a, b) = (self.whole().unsigned_abs(), other.whole().unsigned_abs());
        // By words of 64 bits, the lowest first.
        let (a, b) = ([a as u64, (a >> 64) as u64], [b as u64, (b >> 64) as u64]);
        let mut product = [0_u64; 4];
        for (i, a) in a.into_iter().enumerate() {
            let mut carry = 0;
            for (j, b) in b.into_iter().enumerate() {
                let sum = u128::from(a) * u128::from(b) + u128::from(product[i + j]) + carry;
                product[i + j] = sum as u64;
                carry = sum >> 64;
            }
            product[i + 2] = carry as u64;
        }
        let (mut scale, mut dropped) = (i32::from(self.scale()) + i32::from(other.scale()), 0);
        let fits = |product: &[u64; 4]| {
            product[2..] == [0, 0] && u128::from(product[1]) << 64 | u128::from(product[0]) < BOUND.unsigned_abs()
        };
        loop {
            let low = u128::from(product[1]) << 64 | u128::from(product[0]);
            if fits(&product) && scale <= i32::from(DIGITS_MAX) {
                let whole = i128::try_from(low).ok()? + i128::from(dropped >= 5);
                if whole < BOUND {
                    return Numeric::new(if negative { -whole } else { whole }, u8::try_from(scale).ok()?);
                }
            }
            scale = (scale > 0).then_some(scale - 1)?;
            dropped = 0;
            for word in product.iter_mut().rev() {
                let number = dropped << 64 | u128::from(*word);
                *word = (number / 10) as u64;
                dropped = number % 10;
            }
        }
    }

    /// The quotient with the scale that PostgreSQL gives it: at least 16 digits that count, and what the operands have.
    /// `None` when the divisor is zero or the quotient out of range.
    pub fn over(self, other: Numeric) -> Option<Numeric> {
        if other.whole() == 0 {
            return None;
        }
        let (mut weight, first) = self.leading();
        let (divisor_weight, divisor_first) = other.leading();
        weight -= divisor_weight + i32::from(first <= divisor_first);
        let wanted = (QUOTIENT_DIGITS - weight * 4).max(i32::from(self.scale())).max(i32::from(other.scale())).max(0);
        let (a, b) = (self.whole().unsigned_abs(), other.whole().unsigned_abs());
        let (mut quotient, mut rest) = (a / b, a % b);
        let mut scale = i32::from(self.scale()) - i32::from(other.scale());
        // Digit by digit; the divisor has at most 35 digits, so ten times the rest fits.
        while scale <= wanted && quotient < BOUND.unsigned_abs() {
            quotient = quotient * 10 + rest * 10 / b;
            rest = rest * 10 % b;
            scale += 1;
        }
        let quotient = i128::try_from(quotient).ok()?;
        let quotient = if (self.whole() < 0) == (other.whole() < 0) { quotient } else { -quotient };
        rescaled(quotient, scale, Some(wanted.min(i32::from(DIGITS_MAX))))
    }

    /// Position and value of the first digit in base 10,000, as PostgreSQL keeps numbers.
    fn leading(self) -> (i32, u128) {
        let mut number = self.whole().unsigned_abs();
        if number == 0 {
            return (0, 0);
        }
        let mut scale = i32::from(self.scale());
        while scale % 4 != 0 {
            (number, scale) = (number * 10, scale + 1);
        }
        let mut weight = -scale / 4;
        while number >= 10_000 {
            (number, weight) = (number / 10_000, weight + 1);
        }
        (weight, number)
    }

    /// The rest of the division that truncates.
    pub fn modulo(self, other: Numeric) -> Option<Numeric> {
        let scale = self.scale().max(other.scale());
        let aligned = |number: Numeric| shifted(number.whole(), scale - number.scale());
        Numeric::new(aligned(self)?.checked_rem(aligned(other)?)?, scale)
    }

    /// Rounded half away from zero to that many digits behind the point, or before it where negative.
    pub fn round(self, digits: i64) -> Option<Numeric> {
        self.cut(digits, true)
    }

    /// Without the digits beyond.
    pub fn trunc(self, digits: i64) -> Option<Numeric> {
        self.cut(digits, false)
    }

    fn cut(self, digits: i64, round: bool) -> Option<Numeric> {
        let digits = digits.clamp(-1 - i64::from(DIGITS_MAX), i64::from(DIGITS_MAX)) as i32;
        let mut whole = self.whole();
        let drop = i32::from(self.scale()) - digits;
        let mut scale = i32::from(self.scale());
        if drop > 0 {
            // More than all its digits leave nothing, of either.
            let unit = u8::try_from(drop).ok().and_then(power);
            whole = match unit {
                Some(unit) if round => (whole + whole.signum() * (unit / 2)) / unit,
                Some(unit) => whole / unit,
                None => 0,
            };
            scale = digits;
        }
        rescaled(whole, scale, Some(digits.max(0)))
    }

    /// The largest whole number that is not above it.
    pub fn floor(self) -> Option<Numeric> {
        let unit = power(self.scale())?;
        Numeric::new(self.whole().div_euclid(unit), 0)
    }

    /// With exactly that scale, rounded where it is smaller; `None` when it has too many digits then.
    pub fn at_scale(self, scale: u8) -> Option<Numeric> {
        let brought = rescaled(self.whole(), i32::from(self.scale()), Some(i32::from(scale)))?;
        (brought.scale() == scale).then_some(brought)
    }

    /// As `NUMERIC(precision, scale)` holds it; `None` when it has too many digits before the point.
    pub fn fitted(self, (precision, scale): (u8, u8)) -> Option<Numeric> {
        let fitted = self.at_scale(scale)?;
        (fitted.whole().unsigned_abs() < 10_u128.checked_pow(u32::from(precision))?).then_some(fitted)
    }

    /// Without zeros at the end.
    pub fn trimmed(self) -> Numeric {
        let (mut whole, mut scale) = (self.whole(), self.scale());
        while scale > 0 && whole % 10 == 0 {
            (whole, scale) = (whole / 10, scale - 1);
        }
        Numeric::packed(whole, scale)
    }

    /// The nearest real.
    pub fn to_real(self) -> f64 {
        super::real::parse(&self.to_string()).unwrap_or(f64::NAN)
    }

    /// The decimal that a real prints as, at most 15 digits that count; `None` when there is none.
    pub fn from_real(real: f64) -> Option<Numeric> {
        let number = Numeric::parse(&super::real::print(real))?;
        let digits = number.whole().unsigned_abs().checked_ilog10().unwrap_or(0) as i64 + 1;
        if digits <= 15 {
            Some(number)
        } else {
            Some(number.round(i64::from(number.scale()) - (digits - 15))?.trimmed())
        }
    }

    /// Rounded to a 64-bit integer.
    pub fn to_integer(self) -> Option<i64> {
        i64::try_from(self.round(0)?.whole()).ok()
    }
}

/// Times a power of ten.
fn shifted(whole: i128, digits: u8) -> Option<i128> {
    whole.checked_mul(power(digits)?)
}

/// A number of any scale, brought to the wanted one or as near to it as digits allow.
fn rescaled(mut whole: i128, mut scale: i32, wanted: Option<i32>) -> Option<Numeric> {
    let wanted = wanted.unwrap_or(scale.clamp(0, i32::from(DIGITS_MAX)));
    while scale < wanted && whole != 0 {
        (whole, scale) = (whole.checked_mul(10)?, scale + 1);
    }
    let mut digit = 0;
    while scale > wanted && (whole != 0 || digit != 0) {
        digit = whole % 10;
        (whole, scale) = (whole / 10, scale - 1);
        if scale > wanted && whole == 0 {
            digit = 0;
        }
    }
    whole += digit / 5;
    if whole == 0 {
        return Numeric::new(0, u8::try_from(wanted).ok()?);
    }
    // One digit too many, all of them nines before: behind the point it may go.
    while whole.abs() >= BOUND && scale > 0 {
        (whole, scale) = ((whole + whole.signum() * 5) / 10, scale - 1);
    }
    Numeric::new(whole, u8::try_from(scale).ok()?)
}

/// Digits one by one; beyond what fits the first decides how the rest is rounded.
#[derive(Default)]
struct Rounded {
    whole: i128,
    next: Option<u8>,
}

impl Rounded {
    /// Whether the digit still counts.
    fn push(&mut self, digit: u8) -> bool {
        if self.whole >= BOUND / 10 {
            self.next.get_or_insert(digit);
            return false;
        }
        self.whole = self.whole * 10 + i128::from(digit);
        true
    }

    fn rounded(&self) -> i128 {
        self.whole + i128::from(self.next.is_some_and(|digit| digit >= 5))
    }
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, scale) = (self.whole().unsigned_abs(), usize::from(self.scale()));
        let digits = format!("{size:0width$}", width = scale + 1);
        let (before, behind) = digits.split_at_checked(digits.len() - scale).unwrap_or((&digits, ""));
        if self.whole() < 0 {
            f.write_str("-")?;
        }
        f.write_str(before)?;
        if scale > 0 {
            f.write_str(".")?;
            f.write_str(behind)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Numeric {
        Numeric::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    fn any_number() -> impl Strategy<Value = Numeric> {
        let whole = prop_oneof![-1000_i128..1000, any::<i64>().prop_map(i128::from), 1 - BOUND..BOUND];
        (whole, 0_u8..=DIGITS_MAX).prop_map(|(whole, scale)| Numeric::new(whole, scale).unwrap())
    }

    fn small_number() -> impl Strategy<Value = Numeric> {
        (-1_000_000_i128..1_000_000, 0_u8..6).prop_map(|(whole, scale)| Numeric::new(whole, scale).unwrap())
    }

    #[test]
    fn numbers_read_and_print() {
        for text in ["0", "0.00", "-0.05", "12345678901234567890.123456789012345", "1.50", "-7"] {
            assert_eq!(number(text).to_string(), text);
        }
        for (text, printed) in [("1e3", "1000"), (".5", "0.5"), ("5.", "5"), ("1.5e-3", "0.0015"), ("-0", "0")] {
            assert_eq!(number(text).to_string(), printed);
        }
        let long = "0.99999999999999999999999999999999999999999";
        assert_eq!(number(long).to_string(), "1.0000000000000000000000000000000000");
        for wrong in ["", ".", "1e", "x", "1.2.3", "1e36", "1e99999", "NaN", "123456789012345678901234567890123456"] {
            assert_eq!(Numeric::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn arithmetic_has_the_scales_of_postgresql() {
        let shown = |number: Option<Numeric>| number.map(|number| number.to_string()).unwrap_or_default();
        assert_eq!(shown(number("1.10").times(number("2.5"))), "2.750");
        assert_eq!(shown(number("10").over(number("3"))), "3.3333333333333333");
        assert_eq!(shown(number("1").over(number("3"))), "0.33333333333333333333");
        assert_eq!(shown(number("2").over(number("-3"))), "-0.66666666666666666667");
        assert_eq!(shown(number("100000").over(number("7"))), "14285.714285714286");
        assert_eq!(shown(number("1.5").plus(number("-0.25"))), "1.25");
        assert_eq!(shown(number("-7.5").modulo(number("2"))), "-1.5");
        assert_eq!(shown(number("2.5").round(0)), "3");
        assert_eq!(shown(number("-2.45").round(1)), "-2.5");
        assert_eq!(shown(number("1250").round(-2)), "1300");
        assert_eq!(shown(number("-1.5").floor()), "-2");
        assert_eq!(shown(number("1.239").fitted((3, 2))), "1.24");
        assert_eq!(number("9.999").fitted((3, 2)), None);
        assert_eq!(shown(Numeric::from_real(0.1)), "0.1");
        assert_eq!(shown(Numeric::from_real(1.0 / 3.0)), "0.333333333333333");
        assert_eq!(number("1").over(Numeric::ZERO), None);
        assert_eq!(Numeric::new(BOUND - 1, 0).unwrap().plus(Numeric::from(1)), None);
        assert_eq!(Numeric::new(BOUND - 1, 0).unwrap().times(Numeric::from(2)), None);
    }

    proptest! {
        #[test]
        fn sums_and_products_are_exact_where_they_fit(a in small_number(), b in small_number(), c in small_number()) {
            prop_assert_eq!(a.plus(b), b.plus(a));
            let left = a.plus(b).and_then(|sum| sum.times(c)).unwrap();
            let right = a.times(c).unwrap().plus(b.times(c).unwrap()).unwrap();
            prop_assert_eq!(left.compare(right), Ordering::Equal);
            if b.whole() != 0 {
                let whole = a.over(b).unwrap().trunc(0).unwrap();
                let again = whole.times(b).unwrap().plus(a.modulo(b).unwrap()).unwrap();
                // The quotient may have been rounded up to a whole number.
                let off = again.plus(a.negated()).unwrap();
                prop_assert!(off.whole() == 0 || off.compare(b) == Ordering::Equal || off.compare(b.negated()) == Ordering::Equal);
            }
        }

        #[test]
        fn every_number_is_handled(a in any_number(), b in any_number(), digits in -40_i64..40) {
            prop_assert_eq!(Numeric::parse(&a.to_string()), Some(a));
            prop_assert_eq!(a.compare(b), b.compare(a).reverse());
            prop_assert_eq!(a.compare(a.trimmed()), Ordering::Equal);
            let _ = (a.plus(b), a.times(b), a.over(b), a.modulo(b), a.round(digits), a.trunc(digits), a.floor());
            let near = a.plus(b).map(Numeric::to_real);
            if let Some(near) = near {
                let wanted = a.to_real() + b.to_real();
                prop_assert!((near - wanted).abs() <= 1e-9 * (a.to_real().abs() + b.to_real().abs()));
            }
            if let Some(product) = a.times(b).map(Numeric::to_real).filter(|product| product.abs() > 1e-15) {
                prop_assert!((product / (a.to_real() * b.to_real()) - 1.0).abs() < 1e-9);
            }
        }

        #[test]
        fn any_text_is_handled(text in "[-+0-9.eE]{0,50}") {
            let _ = Numeric::parse(&text);
        }
    }
}
