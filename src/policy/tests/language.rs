//! Golden tests of the language: they tell when another version of CEL's library understands a rule otherwise.

use serde_json::{Value, json};

use super::{NOW, allowing, corp, object};
use crate::policy::expression::Expression;
use crate::policy::facts::{self, Facts};
use crate::policy::{Failure, Policy};

fn claims() -> Value {
    json!({
        "iss": "https://id.example.com",
        "sub": "248289761001",
        "iat": 1_795_521_500,
        "big": 18_446_744_073_709_551_615_u64,
        "half": 0.5,
        "email": "Alice@Example.com",
        "email_verified": true,
        "name": "Alice Müller",
        "groups": ["staff", "team-red", "/team-blue"],
        "nothing": null,
        "address": { "country": "DE", "lines": ["a", "b"] },
        "https://example.com/roles": ["admin"],
    })
}

/// What `expression` is over those claims, or its error.
fn value(expression: &str) -> Result<Value, String> {
    let mut patterns = Vec::new();
    let expression = Expression::compile(expression, &mut patterns)
        .unwrap_or_else(|problems| panic!("{expression}: {problems:?}"));
    let document = object(claims());
    let claims = facts::claims(&document, |_| true, false).unwrap();
    let facts = Facts::new(claims, "corp", NOW, &patterns);
    let shown = expression.run(&facts, facts::shown);
    shown.map_err(|error| Failure::of(error.as_ref(), |_| true).to_string())
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn rules_mean_what_they_meant() {
    for (expression, expected) in [
        ("claims.email_verified", json!(true)),
        ("claims.sub == '248289761001'", json!(true)),
        ("claims['https://example.com/roles'][0]", json!("admin")),
        ("claims.iat + 60", json!(1_795_521_560)),
        ("claims.big", json!(18_446_744_073_709_551_615_u64)),
        ("claims.half * 2.0", json!(1.0)),
        ("claims.iat > 0.5", json!(true)),
        ("claims.iat == 1795521500.0", json!(true)),
        ("claims.nothing == null", json!(true)),
        ("has(claims.email) && !has(claims.mail)", json!(true)),
        ("'email' in claims", json!(true)),
        ("claims.?mail.orValue('none')", json!("none")),
        ("claims[?'mail'].hasValue()", json!(false)),
        ("claims.?address.?city.orValue('?')", json!("?")),
        ("optional.of(1).value()", json!(1)),
        ("[1, ?claims.?mail]", json!([1])),
        ("{'a': 1, ?'b': claims.?mail}", json!({ "a": 1 })),
        ("'staff' in claims.groups", json!(true)),
        ("claims.groups.filter(g, g.startsWith('team-'))", json!(["team-red"])),
        ("claims.groups.map(g, g.replace('/', ''))", json!(["staff", "team-red", "team-blue"])),
        ("claims.groups.map(g, g.startsWith('/'), g.substring(1))", json!(["team-blue"])),
        ("claims.groups.exists(g, g == 'staff')", json!(true)),
        ("claims.groups.all(g, size(g) > 4)", json!(true)),
        ("claims.groups.exists_one(g, g == 'staff')", json!(true)),
        ("claims.groups.exists(g, ['team-', '/team-'].exists(p, g.startsWith(p)))", json!(true)),
        ("claims.address.map(k, k)", json!(["country", "lines"])),
        ("{'b': 1, 'a': 2, 'c': 3}.map(k, k)", json!(["a", "b", "c"])),
        ("claims.groups + ['x'] == ['staff', 'team-red', '/team-blue', 'x']", json!(true)),
        ("claims.address == {'country': 'DE', 'lines': ['a', 'b']}", json!(true)),
        ("claims.name.size()", json!(12)),
        ("lower('ÄÖÜ İ')", json!("äöü i\u{307}")),
        ("claims.email.lowerAscii()", json!("alice@example.com")),
        ("domain(claims.email)", json!("example.com")),
        (
            "sha256('abc')",
            json!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ),
        // python3 -c 'from uuid import *; print(uuid5(uuid5(NAMESPACE_URL, "https://id.example.com/realms/corp"), "alice"))'
        (
            "uuid5(uuid5('url', 'https://id.example.com/realms/corp'), 'alice')",
            json!("542cbca3-8a8c-5efd-8e85-bc65d6f6f011"),
        ),
        ("uuid5('dns', 'python.org')", json!("886313e1-3b8a-5372-9b90-0c9aee199e5d")),
        ("' a,b '.trim().split(',').join('-')", json!("a-b")),
        ("'straße'.substring(4, 6)", json!("ße")),
        ("claims.email.matches('^[A-Z]')", json!(true)),
        ("matches('abc', 'b')", json!(true)),
        ("provider", json!("corp")),
        ("string(now)", json!("2026-11-24T12:00:00Z")),
        ("now + duration('1h30m')", json!("2026-11-24T13:30:00Z")),
        ("now - timestamp(claims.iat)", json!("100s")),
        ("now.getDayOfWeek()", json!(2)),
        ("now.getHours('Europe/Berlin')", json!(13)),
        ("duration('-90.5s')", json!("-90.5s")),
        ("type(claims.groups) == list ? 'many' : 'one'", json!("many")),
        ("int('12') + int(1.9) + int(2u)", json!(15)),
        ("string(1.5) + string(true) + string(-3)", json!("1.5true-3")),
        ("0.0 / 0.0", json!("NaN")),
        // CEL's && and || are commutative: an error is passed over when the other side decides.
        ("claims.mail == 'x' || true", json!(true)),
        ("claims.mail == 'x' && false", json!(false)),
        ("claims.groups.exists(g, g == 1 || g == 'staff')", json!(true)),
    ] {
        assert_eq!(value(expression), Ok(expected), "{expression}");
    }
}

#[test]
fn what_fails_says_why() {
    for (expression, expected) in [
        ("claims.mail", "mail is missing"),
        ("claims.address.city", "city is missing"),
        ("claims.sub.city", ". takes no (string, string)"),
        ("claims.mail == 'x' || false", "mail is missing"),
        ("claims.iat + 'x'", "+ takes no (int, string)"),
        ("claims.groups + claims.address", "+ takes no (list, map)"),
        ("claims.iat < 'x'", "< takes no (int, string)"),
        ("claims.iat.startsWith('x')", "startsWith takes no (int, string)"),
        (
            "claims.groups.contains('x')",
            "contains takes no (list, string): whether a list holds x is asked by x in list",
        ),
        ("'a' in claims.sub", "in takes no (string, string)"),
        ("claims.sub.exists(x, true)", "macro takes no (string)"),
        ("claims.groups[9]", "a list has no element at that place"),
        ("claims.iat / 0", "a number or time goes beyond its range, or is divided by zero"),
        (
            "9223372036854775807 + claims.iat",
            "a number or time goes beyond its range, or is divided by zero",
        ),
        (
            "timestamp('9999-12-31T23:59:59Z') + duration('1s') > now",
            "a number or time goes beyond its range, or is divided by zero",
        ),
        ("domain(claims.sub)", "domain refuses its argument: the address has no @"),
        (
            "uuid5('nope', claims.sub)",
            "uuid5 refuses its argument: the namespace is no UUID, \"url\" or \"dns\"",
        ),
        (
            "uuid5('url', claims.sub.replace('248289761001', ' '))",
            "uuid5 refuses its argument: the text is blank",
        ),
        ("claims.sub.split('')", "split refuses its argument: the separator is empty"),
        (
            "claims.sub.substring(13)",
            "substring refuses its argument: the place is beyond the text",
        ),
        (
            "claims.sub.substring(-1)",
            "substring refuses its argument: the place is beyond the text",
        ),
        ("timestamp(claims.sub)", "timestamp refuses its argument"),
        ("now.getHours(claims.sub)", "timezone refuses its argument"),
        ("claims.mail ? 1 : 2", "mail is missing"),
        ("claims.sub ? 1 : 2", "bool takes no (string)"),
    ] {
        assert_eq!(value(expression), Err(expected.to_owned()), "{expression}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn a_slip_is_explained() {
    for (expression, problem, mend) in [
        ("", "is empty", "Write an expression"),
        ("claims.a = 'x'", "is not an expression", "At character 10: Write =="),
        ("claims.a and claims.b", "is not an expression", "At character 10: Write &&"),
        ("claims.a and'x' == claims.b", "is not an expression", "At character 10: Write &&"),
        ("claims.a and// x\n", "is not an expression", "At line 1, character 10: Write &&"),
        ("claims.a & claims.b", "is not an expression", "At character 10: Write &&"),
        (
            "claims.a == ‘x’",
            "is not an expression",
            "At character 13: Write text in straight quotes",
        ),
        ("claims.a == 'x", "is not an expression", "At character 13: There is a character"),
        ("(claims.a", "is not an expression", "At character 10: It ends too early"),
        ("claims.a ==", "is not an expression", "At character 12: It ends too early"),
        ("claims.a)", "is not an expression", "At character 9: It cannot be read"),
        ("'ü' == claims.é", "is not an expression", "At character 15: There is a character"),
        (
            "true &&\n  claims.a claims.b",
            "is not an expression",
            "At line 2, character 12: It cannot",
        ),
        ("has(claims)", "is not an expression", "has asks about a field"),
        ("claims.a.exists(1, true)", "is not an expression", "What a macro calls"),
        (
            "claim.email",
            "uses a variable that there is not",
            "At character 1: Did you mean claims?",
        ),
        ("'ü' == email", "uses a variable that there is not", "At character 8: There are claims"),
        (
            "claims.a.startWith('x')",
            "calls a function that there is not",
            "Did you mean startsWith?",
        ),
        ("claims.a.lower()", "calls a function that there is not", "lower is written before"),
        (
            "startsWith(claims.a, 'x')",
            "calls a function that there is not",
            "startsWith is called on",
        ),
        ("foo(1)", "calls a function that there is not", "There is no foo; docs/POLICY.md"),
        (
            "claims.a.starts_with('x')",
            "calls a function that there is not",
            "There is no starts_with. Did you mean startsWith?",
        ),
        (
            "claims.a.any(g, g == 'x')",
            "calls a function that there is not",
            "There is no any. Did you mean exists?",
        ),
        ("if claims.a then claims.b", "is not an expression", "At character 1: Write a ? b : c"),
        (
            "[g for g in claims.a]",
            "is not an expression",
            "At character 4: Write list.filter(g, …)",
        ),
        (
            "claims.a.filter(lambda g: g)",
            "is not an expression",
            "At character 17: Write list.filter",
        ),
        (
            "claims.a.some(g => g == 'x')",
            "is not an expression",
            "At character 17: Write list.filter",
        ),
        (
            r"claims.a.matches('^/team-\w+$')",
            "is not an expression",
            r"At character 26: `\w` is no escape. For a pattern write r'…', or double the backslash.",
        ),
        (r"claims.a.matches('''\d''')", "is not an expression", r"`\d` is no escape"),
        (r"claims.a.matches('\bx')", "matches against a pattern that is not good", "a backspace"),
        (
            "{'dept': claims.?department}",
            "puts an optional value into a map",
            "At character 16: dept holds an optional value. Write {?'dept': …}",
        ),
        ("{'dept': claims[?'a'].b} == {}", "puts an optional value into a map", "dept holds"),
        (".size('x')", "calls a function that there is not", ""),
        ("domain()", "gives a function the wrong number", "domain takes one."),
        ("claims.a.exists('x')", "gives a function the wrong number", "exists takes 2."),
        ("claims.a.matches(claims.b)", "matches against a pattern that is not written out", ""),
        ("claims.a.matches('(')", "matches against a pattern that is not good", ""),
        ("claims.a.matches('(x{999}){999}')", "matches against a pattern that is not good", ""),
        ("b'x' == b'x'", "holds bytes", ""),
        ("Foo{a: 1}", "builds a message", ""),
        ("claims.?a.optMap(x, x)", "uses optMap", ""),
        ("claims.a.all(claims, true)", "gives the elements of a macro a name", ""),
        ("claims.a.all(x, x.b.all(x, true))", "gives the elements of a macro a name", ""),
        ("claims.a.all(x, claims.b.all(y, x == y))", "goes over all of something", ""),
        ("claims.a.all(x, x.b.all(y, x.c.all(z, true)))", "goes over all of something", ""),
        ("claims.a.all(x, [x, x].all(y, true))", "goes over all of something", ""),
        ("claims.a.all(x, x.?b.orValue(claims.c).all(y, true))", "goes over all of something", ""),
    ] {
        let faults = Policy::compile(&corp(), allowing(expression)).err().unwrap_or_default();
        let first = faults.first().unwrap_or_else(|| panic!("{expression}: no fault"));
        assert_eq!(first.rule, "allow[0].rule");
        assert!(first.problem.starts_with(problem), "{expression}: {first:?}");
        assert!(first.mend.contains(mend), "{expression}: {first:?}");
    }
    let faults = |expression: &str| Policy::compile(&corp(), allowing(expression)).err();
    assert_eq!(faults("claims.a.any(g, g == 'x') && true").map(|faults| faults.len()), Some(1));
    for good in [
        "claims.?or.orValue(claims.?if.orValue(true))",
        r"claims.a.matches(r'^\w\.$') && claims.a.matches('^\\w$') && claims.a == '\'\n\x41\u00e9\101'",
        r"claims.a.matches(R'''\d''') || claims.a == '''it's'''",
        "{?'dept': claims.?department, 'a': claims.?b.orValue('')} == {}",
        "[claims.?a].exists(a, a.orValue('') == 'x')",
        "claims.a // for some, and if it isn't so\n && claims.b == 'x // if y'",
    ] {
        assert_eq!(faults(good), None, "{good}");
    }
}

#[test]
fn a_fault_shows_its_place() {
    let excerpt = |expression: &str| {
        let faults = Policy::compile(&corp(), allowing(expression)).err().unwrap();
        faults[0].excerpt.clone().unwrap()
    };
    let long =
        format!("'{}' == 'x' && claims.a = 'b' && {}true", "é".repeat(60), "true && ".repeat(20));

    let secret = Policy::compile(&corp(), allowing("hunter2 = 'x'")).err().unwrap();
    assert_eq!(secret[0].excerpt, None);
    assert_eq!(excerpt("claims.a = 'x'"), "claims.a = 'x'\n         ^");
    assert_eq!(excerpt("true &&\n\tclaims.é = 'x'"), " claims.é = 'x'\n          ^");
    let long = excerpt(&long);
    let (shown, mark) = long.split_once('\n').unwrap();
    assert_eq!(shown.chars().nth(mark.chars().count() - 1), Some('='));
    assert!(
        shown.starts_with('…') && shown.ends_with('…') && shown.chars().count() == 74,
        "{shown}"
    );
}
