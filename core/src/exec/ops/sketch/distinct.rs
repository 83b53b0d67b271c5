//! How many different values there are: HyperLogLog.
//!
//! A value's hash names one of 1,024 registers by its first bits, and the register keeps the most leading zeros that the
//! rest of a hash had, and one. While few registers are set, only these are kept. Uniting takes the larger of each pair,
//! so a sketch is the same whatever the order and the tree.
//!
//! Flajolet, Fusy, Gandouet and Meunier, *HyperLogLog*, AofA 2007; 64-bit hashes and sparse sketches are those of Heule,
//! Nunkesser and Hall, *HyperLogLog in practice*, EDBT 2013, sections 5.1 and 5.3; the estimate is that of Ertl, *New
//! cardinality estimation algorithms for HyperLogLog sketches*, 2017, algorithm 6, which needs no tables for small counts.

use serde::{Deserialize, Serialize};

use crate::data::cell::Cell;

/// The first bits of a hash, which name its register.
const INDEX_BITS: u32 = 10;
const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of a rank in a sparse entry.
const RANK_BITS: u32 = 6;
/// Bytes of sparse entries from which all registers are kept.
const SPARSE_BYTES_MAX: usize = 600;
/// What hashes begin with: on all peers the same.
const SEED: u64 = 0x706f_6e74_6f6f_6e21;

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distinct {
    /// All registers, a byte each; or two bytes for each that is set, ascending: its number, then its value.
    #[serde(with = "crate::wire::bytes")]
    registers: Vec<u8>,
}

impl Distinct {
    /// Takes in a value.
    pub fn absorb(&mut self, cell: &Cell<'_>) {
        let hash = Cell::Integer(cell.hash(SEED) as i64).hash(SEED);
        // A bit behind the last one ends the zeros.
        let rank = ((hash << INDEX_BITS) | (1 << (INDEX_BITS - 1))).leading_zeros() + 1;
        self.raise((hash >> (64 - INDEX_BITS)) as usize, rank as u8);
    }

    /// Takes in all that another one has.
    pub fn merge(&mut self, other: &Distinct) {
        other.each(&mut |register, rank| self.raise(register, rank));
    }

    /// The bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.registers.len()
    }

    /// Every register that is set, ascending.
    fn each(&self, see: &mut dyn FnMut(usize, u8)) {
        if self.registers.len() == REGISTERS {
            self.registers.iter().enumerate().filter(|(_, rank)| **rank > 0).for_each(|(at, rank)| see(at, *rank));
            return;
        }
        for at in 0..self.registers.len() / 2 {
            let entry = self.entry(at);
            see(usize::from(entry >> RANK_BITS), (entry & ((1 << RANK_BITS) - 1)) as u8);
        }
    }

    /// A sparse entry.
    fn entry(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.registers[2 * at], self.registers[2 * at + 1]])
    }

    fn raise(&mut self, register: usize, rank: u8) {
        if self.registers.len() == REGISTERS {
            let held = &mut self.registers[register];
            *held = rank.max(*held);
            return;
        }
        let (mut low, mut high) = (0, self.registers.len() / 2);
        while low < high {
            let middle = (low + high) / 2;
            if usize::from(self.entry(middle) >> RANK_BITS) < register { low = middle + 1 } else { high = middle }
        }
        let entry = ((register as u16) << RANK_BITS | u16::from(rank)).to_be_bytes();
        if low < self.registers.len() / 2 && usize::from(self.entry(low) >> RANK_BITS) == register {
            if entry[1] > self.registers[2 * low + 1] {
                self.registers[2 * low + 1] = entry[1];
            }
        } else if self.registers.len() + 2 > SPARSE_BYTES_MAX {
            let mut all = vec![0; REGISTERS];
            self.each(&mut |at, rank| all[at] = rank);
            self.registers = all;
            self.raise(register, rank);
        } else {
            self.registers.insert(2 * low, entry[0]);
            self.registers.insert(2 * low + 1, entry[1]);
        }
    }

    /// How many different values there were, about.
    pub fn estimate(&self) -> u64 {
        let longest = (64 - INDEX_BITS) as usize + 1;
        let mut counts = [0_u32; 64];
        let mut set = 0;
        self.each(&mut |_, rank| {
            counts[usize::from(rank).min(longest)] += 1;
            set += 1;
        });
        let m = REGISTERS as f64;
        let mut z = m * tau(1.0 - f64::from(counts[longest]) / m);
        for count in counts[1..longest].iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += m * sigma(1.0 - f64::from(set) / m);
        (m * m / (2.0 * core::f64::consts::LN_2 * z)).round() as u64
    }
}

/// The sum of `x^(2^k) 2^(k-1)` for k from 1, and x.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * power;
        power += power;
        if sum == before {
            return sum;
        }
    }
}

/// A third of 1 - x less the sum of `(1 - x^(2^-k))^2 2^-k` for k from 1.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut power, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        power *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * power;
        if sum == before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::{Numeric, Value};

    fn of(values: impl IntoIterator<Item = Value>) -> Distinct {
        let mut sketch = Distinct::default();
        values.into_iter().for_each(|value| sketch.absorb(&Cell::from(&value)));
        sketch
    }

    #[test]
    fn estimates_are_within_four_deviations() {
        assert_eq!(Distinct::default().estimate(), 0);
        for count in [1, 2, 5, 10, 60, 150, 300, 700, 1_000, 2_500, 10_000, 100_000, 1_000_000] {
            let whole = of((0..count).map(Value::Integer)).estimate() as f64;
            assert!((whole / count as f64 - 1.0).abs() <= 0.13, "{count} integers are {whole}");
            let texts = of((0..count.min(100_000)).map(|at| Value::Text(format!("key-{at:08}")))).estimate() as f64;
            assert!((texts / count.min(100_000) as f64 - 1.0).abs() <= 0.13, "{count} texts are {texts}");
        }
        assert!([1, 2, 5, 10].iter().all(|count| of((0..*count).map(Value::Integer)).estimate() == *count as u64));
        let full = Distinct { registers: vec![255; REGISTERS] };
        assert!(full.estimate() > 1 << 60, "also of what no peer makes");
    }

    #[test]
    fn equal_values_are_one() {
        let equal = [Value::Integer(1), Value::Real(1.0), Value::Numeric(Numeric::new(100, 2).unwrap())];
        assert_eq!(of(equal).estimate(), 2, "a decimal is no integer to a column, which has one type");
        assert_eq!(of([Value::Real(0.0), Value::Real(-0.0)]).estimate(), 1);
        assert_eq!(
            of([1, 2].map(|scale| Value::Numeric(Numeric::new(10_i128.pow(scale), scale as u8).unwrap()))).estimate(),
            1
        );
    }

    proptest! {
        #[test]
        fn the_tree_does_not_matter(parts in prop::collection::vec(prop::collection::vec(0_i64..2_000, 0..400), 1..8)) {
            let whole = of(parts.iter().flatten().copied().map(Value::Integer));
            let mut merged = Distinct::default();
            for part in parts.iter().rev() {
                merged.merge(&of(part.iter().copied().map(Value::Integer)));
            }
            prop_assert_eq!(merged.estimate(), whole.estimate());
            prop_assert!(merged.bytes() <= REGISTERS);
            let left = parts.iter().fold(Distinct::default(), |mut all, part| {
                let mut part = of(part.iter().copied().map(Value::Integer));
                part.merge(&all);
                all = part;
                all
            });
            prop_assert_eq!(left, merged);
        }

        #[test]
        fn hostile_sketches_do_no_harm(registers in prop::collection::vec(any::<u8>(), 0..1_100)) {
            let hostile = Distinct { registers };
            let mut sketch = of([Value::Integer(7)]);
            sketch.merge(&hostile);
            let mut other = hostile.clone();
            other.merge(&sketch);
            other.absorb(&Cell::Integer(3));
            let _ = (sketch.estimate(), other.estimate(), hostile.estimate());
        }
    }
}
