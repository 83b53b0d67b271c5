//! How two numbers go together: correlation, covariance, and the line of least squares.
//!
//! In two passes, the means first, so that nothing is lost far from zero; PostgreSQL's answers where there are too few
//! pairs, or all are in a line.

use super::state::add;
use crate::{data::Value, exec::plan::Pairs};

/// Names of the functions.
const NAMES: [(&str, Pairs); 12] = [
    ("corr", Pairs::Corr),
    ("covar_pop", Pairs::CovarPop),
    ("covar_samp", Pairs::CovarSamp),
    ("regr_avgx", Pairs::RegrAvgx),
    ("regr_avgy", Pairs::RegrAvgy),
    ("regr_count", Pairs::RegrCount),
    ("regr_intercept", Pairs::RegrIntercept),
    ("regr_r2", Pairs::RegrR2),
    ("regr_slope", Pairs::RegrSlope),
    ("regr_sxx", Pairs::RegrSxx),
    ("regr_sxy", Pairs::RegrSxy),
    ("regr_syy", Pairs::RegrSyy),
];

impl Pairs {
    /// The function of a name.
    pub fn by_name(name: &str) -> Option<Pairs> {
        NAMES.iter().find(|(other, _)| *other == name).map(|(_, function)| *function)
    }

    /// Of numbers `(y, x)`, each so many times.
    pub(super) fn of(self, pairs: &[(f64, f64, f64)]) -> Value {
        let total = |of: &dyn Fn(f64, f64) -> f64| {
            let (mut sum, mut lost) = (0.0, 0.0);
            pairs.iter().for_each(|(y, x, weight)| add(&mut sum, &mut lost, of(*y, *x) * weight));
            sum + lost
        };
        let count = total(&|_, _| 1.0);
        if self == Pairs::RegrCount {
            return Value::Integer(count as i64);
        }
        if count < 1.0 {
            return Value::Null;
        }
        let (mean_y, mean_x) = (total(&|y, _| y) / count, total(&|_, x| x) / count);
        let sxx = total(&|_, x| (x - mean_x) * (x - mean_x));
        let syy = total(&|y, _| (y - mean_y) * (y - mean_y));
        let sxy = total(&|y, x| (x - mean_x) * (y - mean_y));
        let real = |value: f64, there: bool| if there { Value::Real(value) } else { Value::Null };
        match self {
            Pairs::Corr => real(sxy / (sxx * syy).sqrt(), sxx > 0.0 && syy > 0.0),
            Pairs::CovarPop => Value::Real(sxy / count),
            Pairs::CovarSamp => real(sxy / (count - 1.0), count > 1.0),
            Pairs::RegrAvgx => Value::Real(mean_x),
            Pairs::RegrAvgy => Value::Real(mean_y),
            Pairs::RegrCount => Value::Integer(count as i64),
            Pairs::RegrIntercept => real(mean_y - sxy / sxx * mean_x, sxx > 0.0),
            Pairs::RegrR2 if sxx > 0.0 && syy == 0.0 => Value::Real(1.0),
            Pairs::RegrR2 => real(sxy * sxy / (sxx * syy), sxx > 0.0),
            Pairs::RegrSlope => real(sxy / sxx, sxx > 0.0),
            Pairs::RegrSxx => Value::Real(sxx),
            Pairs::RegrSxy => Value::Real(sxy),
            Pairs::RegrSyy => Value::Real(syy),
        }
    }
}
