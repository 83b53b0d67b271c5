//! Whole numbers of any size, as much of them as reading and printing reals needs.

use core::cmp::Ordering;

/// A whole number, least word first, no zeros in front.
#[derive(Clone, Default)]
pub struct Whole(Vec<u32>);

impl From<u64> for Whole {
    fn from(number: u64) -> Whole {
        let mut whole = Whole(vec![number as u32, (number >> 32) as u32]);
        whole.trim();
        whole
    }
}

impl Whole {
    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// The place of its highest bit, from 1; 0 for zero.
    pub fn bits(&self) -> i64 {
        self.0.last().map_or(0, |top| self.0.len() as i64 * 32 - i64::from(top.leading_zeros()))
    }

    /// Multiplies, then adds.
    pub fn times_plus(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for word in &mut self.0 {
            carry += u64::from(*word) * u64::from(factor);
            *word = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// Multiplies by a power of two.
    pub fn shift_left(&mut self, bits: u64) {
        self.times_plus(1 << (bits % 32), 0);
        if !self.is_zero() {
            self.0.splice(0..0, core::iter::repeat_n(0, (bits / 32) as usize));
        }
    }

    /// Compares.
    pub fn compare(&self, other: &Whole) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// Adds.
    pub fn add(&mut self, other: &Whole) {
        let mut carry = 0;
        for index in 0..self.0.len().max(other.0.len()) {
            if index == self.0.len() {
                self.0.push(0);
            }
            carry += u64::from(self.0[index]) + u64::from(other.0.get(index).copied().unwrap_or(0));
            self.0[index] = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// Takes away what is not greater.
    pub fn subtract(&mut self, other: &Whole) {
        let mut borrow = 0_i64;
        for (index, word) in self.0.iter_mut().enumerate() {
            borrow += i64::from(*word) - i64::from(other.0.get(index).copied().unwrap_or(0));
            *word = borrow as u32;
            borrow >>= 32;
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}
