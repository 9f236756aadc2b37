//! The parameters of a query.

use super::problem::{Code, Problem};

/// The parameters that we read; the first value of each, and none twice.
#[derive(Default)]
pub(super) struct Query {
    values: Vec<(&'static str, String)>,
}

impl Query {
    /// Reads those of `known` from a query; others are ignored (RFC 6749 §4.1.2).
    ///
    /// # Errors
    ///
    /// `invalid_request` when one of them stands there twice: two readers could each take another.
    pub(super) fn read(raw: Option<&str>, known: &[&'static str]) -> Result<Self, Problem> {
        let mut query = Self::default();
        for (name, value) in url::form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            let Some(name) = known.iter().find(|known| **known == name) else { continue };
            if query.get(name).is_some() {
                return Err(Problem::new(Code::InvalidRequest, "doubled parameter"));
            }
            query.values.push((name, value.into_owned()));
        }
        Ok(query)
    }

    /// Its value, if it stands there.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_parameters_are_ignored_and_known_ones_stand_once() {
        let read = |raw| Query::read(Some(raw), &["code", "state"]);

        let query = read("session_state=1&session_state=2&code=a%20b").unwrap();
        assert_eq!(query.get("code"), Some("a b"));
        assert_eq!(query.get("state"), None);
        assert!(read("code=a&state=x&code=b").is_err());
        assert!(read("code=&code=").is_err());
        assert!(read("%63ode=a&code=b").is_err());
    }
}
