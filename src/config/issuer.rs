//! `issuer` and `tenants` of a `[[provider]]`: whose word counts.

use uuid::Uuid;

use super::forms;
use super::reader::{Form, Section};
use crate::oidc;

/// Whose people may sign in. Everybody in the world has a tenant, or can make one for nothing and write any e-mail address into
/// it, so that no list must never mean all of them.
pub(super) fn tenants(provider: &mut Section<'_, '_>, issuer: Option<&str>) -> Option<Vec<String>> {
    let tenants = provider.list("tenants", &TENANTS, &[])?;
    match (issuer?.contains(oidc::TENANT), tenants.is_empty()) {
        (true, true) => {
            return provider.fault(
                "tenants",
                "is missing or empty, but the issuer has {tenantid}",
                TENANTS.mend,
            );
        }
        (false, false) => {
            return provider.fault(
                "tenants",
                "is of no use, for the issuer has no {tenantid}",
                "Remove it, or write the issuer with {tenantid}.",
            );
        }
        _ => {}
    }
    let is_double = |(place, tenant): (usize, &String)| tenants[..place].contains(tenant);
    if tenants.iter().enumerate().any(is_double) {
        return provider.fault("tenants", "has a tenant twice", "Remove one of the two.");
    }
    Some(tenants)
}

pub(super) const ISSUER: Form<String> = Form {
    read: issuer,
    mend: "Copy \"issuer\" from the provider's /.well-known/openid-configuration, byte by byte; of Entra ID your own \
           tenant's, or for several \"https://login.microsoftonline.com/{tenantid}/v2.0\".",
};

fn issuer(text: &str) -> Result<String, &'static str> {
    let is_path = |rest: &str| rest.is_empty() || rest.starts_with('/');
    match text.split_once(oidc::TENANT) {
        None if text.contains(['{', '}']) => Err("has a placeholder that is not {tenantid}"),
        None => forms::web_url(text).map(|_| text.to_owned()),
        // What stands before it is an origin, perhaps with the beginning of a path: a tenant must not choose whom we ask.
        Some((before, after)) if before.ends_with('/') && is_path(after) => {
            if [before, after].concat().contains(['{', '}']) {
                return Err("has more than one placeholder");
            }
            forms::web_url(before)?;
            forms::web_url(&format!("{before}tenant{after}"))?;
            Ok(text.to_owned())
        }
        Some(_) => Err("has {tenantid} elsewhere than as a whole step of its path"),
    }
}

const TENANTS: Form<String> = Form {
    read: |text| match text {
        "common" | "organizations" | "consumers" => {
            Err("is a word for many tenants, and no tenant")
        }
        // Entra ID's tenant of everybody who has a personal account.
        "9188040d-6c67-4c5b-b112-36a304b66dad" => {
            Err("is the tenant of personal accounts, which cannot sign in among others")
        }
        _ if Uuid::try_parse(text).is_ok_and(|id| id.hyphenated().to_string() == text) => {
            Ok(text.to_owned())
        }
        _ => Err("is not the id of a tenant: 36 characters, in lower case"),
    },
    mend: "List the ids of the tenants whose people may sign in, as \"Tenant ID\" on their Overview pages in Entra ID shows them.",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_a_whole_step_of_the_path() {
        for good in [
            "https://login.microsoftonline.com/{tenantid}/v2.0",
            "https://login.microsoftonline.us/{tenantid}/v2.0",
            "https://sts.windows.net/{tenantid}/",
            "https://id.example.com/o/{tenantid}",
        ] {
            assert_eq!((ISSUER.read)(good).as_deref(), Ok(good));
        }
        for bad in [
            "https://login.microsoftonline.com/{tenantId}/v2.0",
            "https://login.microsoftonline.com/{tenant}/v2.0",
            "https://login.microsoftonline.com/{tenantid}/{tenantid}",
            "https://login.microsoftonline.com/{tenantid}/{policy}",
            "https://login.microsoftonline.com/x{tenantid}/v2.0",
            "https://login.microsoftonline.com/{tenantid}x/v2.0",
            "https://login.microsoftonline.com/{tenantid}/../v2.0",
            "https://login.microsoftonline.com/?tenant=/{tenantid}",
            "https://login.microsoftonline.com/#/{tenantid}",
            "https://{tenantid}.example.com/v2.0",
            "https://{tenantid}/v2.0",
            "https://example.com:{tenantid}/v2.0",
            "https://me@example.com/{tenantid}",
            "http://login.microsoftonline.com/{tenantid}/v2.0",
            "{tenantid}",
        ] {
            assert!((ISSUER.read)(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tenant_is_an_id_in_lower_case() {
        let good = "0b5e9e5a-1c2d-4e3f-8a9b-0c1d2e3f4a5b";
        assert_eq!((TENANTS.read)(good).as_deref(), Ok(good));

        for bad in [
            "",
            "*",
            "common",
            "organizations",
            "consumers",
            "contoso.onmicrosoft.com",
            "../../x",
            "0B5E9E5A-1C2D-4E3F-8A9B-0C1D2E3F4A5B",
            "0b5e9e5a1c2d4e3f8a9b0c1d2e3f4a5b",
            "{0b5e9e5a-1c2d-4e3f-8a9b-0c1d2e3f4a5b}",
            "urn:uuid:0b5e9e5a-1c2d-4e3f-8a9b-0c1d2e3f4a5b",
            " 0b5e9e5a-1c2d-4e3f-8a9b-0c1d2e3f4a5b",
            "9188040d-6c67-4c5b-b112-36a304b66dad",
        ] {
            assert!((TENANTS.read)(bad).is_err(), "{bad}");
        }
    }
}
