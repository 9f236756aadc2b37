/// Somebody with an account at the demo provider.
#[derive(Debug)]
pub(super) struct Person {
    /// What the login form sends.
    pub login: &'static str,
    /// The `sub`: never reassigned (OpenID Connect Core §2).
    pub subject: &'static str,
    /// `name`
    pub name: &'static str,
    /// `email`
    pub email: &'static str,
    /// `email_verified`; without it the provider lets nobody in.
    pub email_verified: bool,
    /// `groups`
    pub groups: &'static [&'static str],
}

/// Everybody there is.
pub(super) const PEOPLE: [Person; 3] = [
    Person {
        login: "alice",
        subject: "demo-1",
        name: "Alice Archer",
        email: "alice@example.com",
        email_verified: true,
        groups: &["staff", "support"],
    },
    Person {
        login: "bob",
        subject: "demo-2",
        name: "Bob Baker",
        email: "bob@example.com",
        email_verified: true,
        groups: &["staff"],
    },
    Person {
        login: "mallory",
        subject: "demo-3",
        name: "Mallory Mason",
        email: "mallory@example.com",
        email_verified: false,
        groups: &[],
    },
];
