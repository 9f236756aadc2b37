//! Claims such as providers send, on which each rule is tried when it is read.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::clock::Timestamp;

/// 2026-11-24T12:00:00Z.
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_795_521_600_000);

/// What Keycloak, Entra ID, Okta, Google and Cognito send, together. What one sends as text and another as a number is left out.
pub(super) static CLAIMS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let claims = json!({
        "acr": "1",
        "address": { "country": "DE", "locality": "Berlin" },
        "amr": ["pwd"],
        "auth_time": 1_795_521_500,
        "azp": "vestibule",
        "cognito:groups": ["staff"],
        "cognito:username": "9c5d3a1e-7f3c-4f64-9a55-0a7b4f6f8d11",
        "department": "Support",
        "email": "alice@example.com",
        "email_verified": true,
        "employee_id": "e1234",
        "exp": 1_795_525_100,
        "family_name": "Example",
        "given_name": "Alice",
        "groups": ["staff", "team-red"],
        "hd": "example.com",
        "iat": 1_795_521_500,
        "iss": "https://id.example.com/realms/corp",
        "locale": "en",
        "name": "Alice Example",
        "nickname": "alice",
        "oid": "3b6f4f0e-5d0c-4f6e-8a55-2a1d5e4f7c90",
        "phone_number": "+49 30 000000",
        "phone_number_verified": false,
        "preferred_username": "alice@example.com",
        "realm_access": { "roles": ["offline_access", "support"] },
        "resource_access": { "vestibule": { "roles": ["agent"] } },
        "roles": ["agent"],
        "scope": "openid profile email",
        "sid": "b1946ac9-2a1d-4c3e-9f80-6a7b8c9d0e1f",
        "sub": "f81d4fae-7dec-41d0-a765-00a0c91e6bf6",
        "tid": "9188040d-6c67-4c5b-b112-36a304b66dad",
        "typ": "ID",
        "unique_name": "alice@example.com",
        "upn": "alice@example.com",
        "ver": "2.0",
        "wids": ["62e90394-69f5-4237-9190-012177145e10"],
        "zoneinfo": "Europe/Berlin",
    });
    match claims {
        Value::Object(claims) => claims,
        _ => Map::new(),
    }
});
