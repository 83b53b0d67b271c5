//! The parameters behind a URL's `?`. One that is not known, or comes twice, is a mistake that is told.

use percent_encoding::percent_decode_str;

use super::error::ApiError;

/// Values of the parameters `names`, in this order.
pub(super) fn parameters<const N: usize>(
    query: Option<&str>,
    names: [&str; N],
) -> Result<[Option<String>; N], ApiError> {
    let mut found = [const { None }; N];
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        let at = names.iter().position(|known| *known == name).ok_or_else(|| unknown(&name, &names))?;
        if found[at].replace(value).is_some() {
            return Err(ApiError::invalid(format!("the parameter {name} comes twice")));
        }
    }
    Ok(found)
}

/// `true` or `false`.
pub(super) fn flag(name: &str, value: Option<String>) -> Result<bool, ApiError> {
    match value.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(ApiError::invalid(format!("the parameter {name} is true or false"))),
    }
}

/// Milliseconds, as microseconds.
pub(super) fn micros(name: &str, value: Option<String>) -> Result<Option<u64>, ApiError> {
    let bad = || ApiError::invalid(format!("the parameter {name} is a whole number of milliseconds, at least 1"));
    let Some(value) = value else { return Ok(None) };
    let ms: u64 = value.parse().map_err(|_| bad())?;
    ms.checked_mul(1_000).filter(|us| *us > 0).map(Some).ok_or_else(bad)
}

fn unknown(name: &str, names: &[&str]) -> ApiError {
    ApiError::invalid(match names {
        [] => format!("there is no parameter {name:?} here"),
        names => format!("there is no parameter {name:?} here, only: {}", names.join(", ")),
    })
}

fn decoded(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| ApiError::invalid("the parameters are not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_by_name() {
        let read = |query| parameters(Some(query), ["ttl", "stale"]);
        assert_eq!(read("").unwrap(), [None, None]);
        assert_eq!(read("stale=true&ttl=5").unwrap(), [Some("5".to_owned()), Some("true".to_owned())]);
        assert_eq!(read("ttl=a+b%20%C3%B8").unwrap()[0].as_deref(), Some("a b ø"));
        for wrong in ["tll=5", "ttl=1&ttl=2", "ttl=%ff", "=", "x"] {
            assert_eq!(read(wrong).unwrap_err().told.code, "invalid_argument", "{wrong}");
        }
        assert!(parameters(None, [] as [&str; 0]).is_ok());
    }

    #[test]
    fn what_values_mean() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(micros("ttl", some("60000")).unwrap(), Some(60_000_000));
        for wrong in ["0", "-1", "1.5", "", "18446744073709551615"] {
            assert!(micros("ttl", some(wrong)).is_err(), "{wrong}");
        }
        assert!(flag("stale", some("true")).unwrap() && !flag("stale", None).unwrap());
        assert!(flag("stale", some("yes")).is_err());
    }
}
