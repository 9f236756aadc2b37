use url::form_urlencoded;

/// The parameters of a query or a form, in which each may stand once (RFC 6749 §3.1).
#[derive(Debug, Default)]
pub(super) struct Parameters(pub(super) Vec<(String, String)>);

impl Parameters {
    /// Reads `application/x-www-form-urlencoded`.
    pub(super) fn parse(raw: &str) -> Self {
        Self(form_urlencoded::parse(raw.as_bytes()).into_owned().collect())
    }

    /// The value of `name`, `None` when it is absent or empty; the name itself as an error when it stands there twice.
    pub(super) fn get(&self, name: &'static str) -> Result<Option<&str>, &'static str> {
        let mut values =
            self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(name),
            (value, None) => Ok(value.filter(|value| !value.is_empty())),
        }
    }

    /// The value of `name`; the name itself as an error when it is absent, empty or there twice.
    pub(super) fn need(&self, name: &'static str) -> Result<&str, &'static str> {
        self.get(name)?.ok_or(name)
    }
}
