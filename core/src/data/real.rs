//! Reals from text and to text, rounded correctly: what the standard library gives for every text and every real.
//!
//! The number is an exact fraction of two whole numbers; as many bits of its quotient as a real holds, and whether
//! anything is left, decide (Clinger, *How to read floating point numbers accurately*, PLDI 1990, algorithm
//! AlgorithmM). The standard library's ways are faster, for some 20 kB more of tables and code (brotli) in every page
//! that loads the engine, and nothing reads or prints reals but `CAST` and `||`.

use core::cmp::Ordering;

use super::whole::Whole;

/// Digits that can matter: more decide only whether a number is above the middle of two reals or that middle itself.
const DIGITS_MAX: usize = 800;

/// The real that `text` stands for: `-1.5e3`, `.5`, `5.`, `inf`, `infinity`, `nan`. No blanks.
pub fn parse(text: &str) -> Option<f64> {
    let (negative, text) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let size = if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
        f64::INFINITY
    } else if text.eq_ignore_ascii_case(b"nan") {
        f64::NAN
    } else {
        decimal(text)?
    };
    Some(if negative { -size } else { size })
}

fn decimal(text: &[u8]) -> Option<f64> {
    let (mut digits, mut exponent) = (Whole::default(), 0_i64);
    let (mut seen, mut point, mut significant, mut sticky) = (false, false, 0, false);
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match first {
            b'.' if !point => point = true,
            b'0'..=b'9' => {
                seen = true;
                exponent -= i64::from(point);
                if significant < DIGITS_MAX {
                    digits.times_plus(10, u32::from(first - b'0'));
                    significant += usize::from(significant > 0 || *first != b'0');
                } else {
                    exponent += 1;
                    sticky |= *first != b'0';
                }
            }
            b'e' | b'E' if seen => {
                exponent = exponent.saturating_add(whole_exponent(tail)?);
                break;
            }
            _ => return None,
        }
        rest = tail;
    }
    if !seen {
        return None;
    }
    if sticky {
        digits.times_plus(10, 1);
        exponent -= 1;
    }
    let magnitude = exponent.saturating_add(significant as i64);
    Some(match significant {
        0 => 0.0,
        _ if magnitude > 400 => f64::INFINITY,
        _ if magnitude < -400 => 0.0,
        _ => nearest(digits, exponent),
    })
}

/// What stands behind the `e`; far beyond every real it is only about right.
fn whole_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0_i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    Some(if negative { -size } else { size })
}

/// The real nearest to `digits` · 10^`exponent`, which is not zero; of two equally near ones the even one.
fn nearest(digits: Whole, exponent: i64) -> f64 {
    let (mut above, mut below) = (digits, Whole::from(1));
    let scaled = if exponent < 0 { &mut below } else { &mut above };
    for _ in 0..exponent.unsigned_abs() {
        scaled.times_plus(10, 0);
    }
    // Quotients of 65 or 66 bits: above · 2^shift / below.
    let shift = below.bits() - above.bits() + 65;
    (if shift < 0 { &mut below } else { &mut above }).shift_left(shift.unsigned_abs());
    let mut quotient = 0_u128;
    below.shift_left(65);
    for _ in 0..=65 {
        quotient <<= 1;
        if above.compare(&below) != Ordering::Less {
            above.subtract(&below);
            quotient |= 1;
        }
        above.shift_left(1);
    }
    quotient = quotient << 1 | u128::from(!above.is_zero());
    let shift = shift + 1;
    let length = 128 - i64::from(quotient.leading_zeros());
    // The power of two of the first bit; below the least normal one the bits get fewer.
    let power = length - 1 - shift;
    if power > 1_023 {
        return f64::INFINITY;
    }
    let dropped = length - 53 + (-1_022 - power).max(0);
    if dropped > length {
        return 0.0;
    }
    let (kept, left, half) = (quotient >> dropped, quotient & ((1 << dropped) - 1), 1_u128 << (dropped - 1));
    let kept = kept as u64 + u64::from(left > half || left == half && kept & 1 == 1);
    // A carry out of the fraction is right: it makes the exponent one more.
    let biased = if power < -1_022 { 0 } else { (power + 1_022) as u64 };
    f64::from_bits((biased << 52) + kept)
}

/// The shortest decimal that is read as this real again, of those the nearest to it; without an exponent, as the
/// standard library prints it.
pub fn print(real: f64) -> String {
    if real.is_nan() {
        return "NaN".to_owned();
    }
    let mut text = String::new();
    if real.is_sign_negative() {
        text.push('-');
    }
    if real.is_infinite() {
        text.push_str("inf");
        return text;
    }
    let (digits, point) = shortest(real.abs());
    let mut digits = digits.into_iter().map(|digit| char::from(b'0' + digit));
    if point <= 0 {
        text.push('0');
    }
    for _ in 0..point {
        text.push(digits.next().unwrap_or('0'));
    }
    if digits.len() > 0 {
        text.push('.');
        (point..0).for_each(|_| text.push('0'));
        text.extend(digits);
    }
    text
}

/// The digits of [`print`] and how many of them stand before the point (below zero: zeros behind it).
///
/// Free-format printing after Steele and White (*How to print floating-point numbers accurately*, PLDI 1990):
/// `number / unit` is the real, `above` and `below` half the ways to its neighbours in the same unit.
fn shortest(real: f64) -> (Vec<u8>, i32) {
    if real == 0.0 {
        return (Vec::new(), 0);
    }
    let (fraction, biased) = (real.to_bits() & ((1 << 52) - 1), (real.to_bits() >> 52) as i64);
    let (mantissa, exponent) = if biased == 0 { (fraction, -1_074) } else { (fraction | 1 << 52, biased - 1_075) };
    // The neighbour below a power of two is nearer.
    let uneven = fraction == 0 && biased > 1;
    let even = mantissa % 2 == 0;
    let (mut number, mut unit) = (Whole::from(mantissa), Whole::from(1));
    let (mut above, mut below) = (Whole::from(1), Whole::from(1));
    let spread = 1 + u64::from(uneven);
    number.shift_left(spread + exponent.max(0).unsigned_abs());
    unit.shift_left(spread + exponent.min(0).unsigned_abs());
    above.shift_left(spread - 1 + exponent.max(0).unsigned_abs());
    below.shift_left(exponent.max(0).unsigned_abs());
    let reaches = |number: &Whole, above: &Whole, unit: &Whole| {
        let mut most = number.clone();
        most.add(above);
        match most.compare(unit) {
            Ordering::Greater => true,
            Ordering::Equal => even,
            Ordering::Less => false,
        }
    };
    let mut point = 0;
    while reaches(&number, &above, &unit) {
        unit.times_plus(10, 0);
        point += 1;
    }
    let mut digits = Vec::new();
    loop {
        [&mut number, &mut above, &mut below].into_iter().for_each(|whole| whole.times_plus(10, 0));
        if digits.is_empty() && !reaches(&number, &above, &unit) {
            point -= 1;
            continue;
        }
        let mut digit = 0;
        while number.compare(&unit) != Ordering::Less {
            number.subtract(&unit);
            digit += 1;
        }
        let low = match number.compare(&below) {
            Ordering::Less => true,
            Ordering::Equal => even,
            Ordering::Greater => false,
        };
        let high = reaches(&number, &above, &unit);
        if !low && !high {
            digits.push(digit);
            continue;
        }
        number.times_plus(2, 0);
        let up = high && (!low || number.compare(&unit) != Ordering::Less);
        digits.push(digit + u8::from(up));
        return (digits, point);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(text: &str) {
        let (ours, theirs) = (parse(text), text.parse::<f64>().ok());
        assert_eq!(ours.map(f64::to_bits), theirs.map(f64::to_bits), "{text}");
    }

    /// The middle of a real and the next one, exactly.
    fn middle(bits: u64) -> String {
        let (low, high) = (f64::from_bits(bits), f64::from_bits(bits + 1));
        // Both as multiples of 2^-1074 · 2^-1: printed exactly they have at most 1,075 decimals.
        let sum = [low, high].map(|real| format!("{real:.1080}"));
        let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect::<Vec<_>>();
        let (mut a, b) = (digits(&sum[0]), digits(&sum[1]));
        a.splice(0..0, core::iter::repeat_n(0, b.len() - a.len()));
        let mut out = String::new();
        let mut carry = 0;
        // (a + b) / 2 by way of 5 · (a + b) / 10.
        for (a, b) in a.iter().zip(&b).rev() {
            let five = 5 * (a + b) + carry;
            carry = five / 10;
            out.push(char::from(b'0' + five % 10));
        }
        out.push_str(&carry.to_string());
        format!("{}e-1081", out.chars().rev().collect::<String>())
    }

    proptest! {
        #[test]
        fn as_the_standard_library_reads_them(text in "[-+]?[0-9]{0,25}\\.?[0-9]{0,25}([eE][-+]?[0-9]{1,3})?") {
            same(&text);
        }

        #[test]
        fn what_is_printed_is_read(bits in any::<u64>()) {
            let real = f64::from_bits(bits);
            if !real.is_nan() {
                prop_assert_eq!(parse(&real.to_string()).map(f64::to_bits), Some(bits));
                prop_assert_eq!(parse(&format!("{real:e}")).map(f64::to_bits), Some(bits));
            }
        }

        #[test]
        fn as_the_standard_library_prints_them(bits in any::<u64>(), small in any::<f32>(), whole in any::<i64>()) {
            for real in [f64::from_bits(bits), f64::from(small), whole as f64, whole as f64 / 100.0] {
                prop_assert_eq!(print(real), real.to_string());
            }
        }

        #[test]
        fn the_middle_of_two_reals_goes_to_the_even_one(bits in 0..f64::MAX.to_bits()) {
            let text = middle(bits);
            same(&text);
            same(&text.replace("e-1081", "1e-1082"));
        }
    }

    #[test]
    fn printed_edges() {
        let mut edges =
            vec![0.0, 1.0, 0.1, 0.3, 1e21, 1e22, 1e23, 123.0, 9.5, 1e-7, f64::MAX, f64::MIN_POSITIVE, 5e-324];
        edges.extend([f64::INFINITY, f64::NAN, f64::EPSILON, 9_007_199_254_740_993.0, 100.0, 0.05, 1_000_000.5]);
        edges.extend((-1_074..1_024).map(|power| f64::powi(2.0, power)));
        for edge in edges {
            for real in [edge, -edge] {
                assert_eq!(print(real), real.to_string());
            }
        }
    }

    #[test]
    fn edges() {
        for text in [
            "",
            ".",
            "-",
            "e5",
            "1e",
            "1e+",
            "1..2",
            "1.2.3",
            " 1",
            "0x10",
            "1_0",
            "inf",
            "-Infinity",
            "+INF",
            "infin",
            "nan",
            "0",
            "-0",
            "0e999999999999999999999",
            "1e999999999999999999999",
            "1e-999999999999999999999",
            "1e308",
            "1.8e308",
            "1.7976931348623157e308",
            "1.7976931348623158e308",
            "1.7976931348623159e308",
            "2.2250738585072014e-308",
            "2.2250738585072011e-308",
            "5e-324",
            "2.4703282292062327e-324",
            "2.4703282292062328e-324",
            "3e-324",
            "9007199254740993",
            "9007199254740992.999999999999999",
            ".5",
            "5.",
            "1e400",
            "1e-400",
            "00000000000000000000001",
        ] {
            same(text);
        }
        same(&format!("0.{}1e1000", "0".repeat(1_000)));
        same(&format!("{}e-1200", "123456789".repeat(140)));
        same(&format!("9007199254740993.{}1", "0".repeat(900)));
        for bits in [0, 1, (1 << 52) - 1, 1 << 52, f64::MAX.to_bits() - 1] {
            same(&middle(bits));
        }
    }
}
