//! Fuzz targets. As tests they run a fixed number of cases; for longer, ten minutes on end:
//! `BOLERO_RANDOM_TEST_TIME_MS=600000 BOLERO_RANDOM_ITERATIONS=1000000000 cargo test --release --lib policy::tests::fuzz`.

use std::slice::Iter;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};

use super::bounds::{LONG, time};
use super::properties::POLICIES;
use super::{NOW, allowing, corp, object};
use crate::ids::Identity;
use crate::policy::{Decision, Outcome, Policy, Rules, Wanted};

static DOCUMENTS: LazyLock<Vec<Map<String, Value>>> = LazyLock::new(|| {
    let mut deep = json!("x");
    for _ in 0..15 {
        deep = json!({ "a": [deep] });
    }
    let odd = json!({
        "a": "a@b\0", "b": [null, true, 1, -1, 0.5, "", "x", {}, []], "email": "\u{202e}a\u{ff20}b", "groups": ["t", 1, "é"],
        "name": "\u{0}", "n": i64::MIN, "m": u64::MAX, "f": -0.0, "t": "9999-12-31T23:59:60Z", "d": "-9223372036854775808ns",
    });
    let plain = json!({
        "a": "alice", "b": ["x", "y"], "email": "a@example.com", "email_verified": true, "groups": ["staff", "team-red"],
        "name": "Alice", "n": 7, "m": 8, "f": 1.5, "t": "2026-11-24T12:00:00Z", "d": "90s", "g": { "x": 1, "y": [2] },
    });
    let large = json!({ "a": "x".repeat(30_000), "b": vec!["y"; 7000], "groups": vec![1; 100] });
    vec![object(plain), object(odd), object(large), object(json!({ "a": deep })), Map::new()]
});

/// Decides and explains, and holds the one against the other.
fn run(policy: &Policy, claims: &Map<String, Value>) {
    let took = time(|| drop(policy.decide(claims, NOW)));
    // Each may run four rules of the fuzzer's.
    assert!(took < 4 * LONG, "{policy:?} took {took:?}");
    let decision = policy.decide(claims, NOW);
    assert_eq!(decision, policy.decide(claims, NOW));
    let explanation = policy.explain(claims, NOW);
    assert_eq!(matches!(explanation.outcome, Outcome::Allowed(_)), decision.is_ok());
    if let Ok(Decision { identity: Ok(Wanted::Is(identity)), .. }) = &decision {
        assert!(Identity::parse_member(identity.as_str()).is_ok());
    }
    if let Err(denial) = &decision {
        assert!(!denial.to_string().is_empty());
    }
}

/// Rules' parts, a space between them.
const LEAVES: &str = r"
    claims claims.a claims.b claims.email claims.email_verified claims.groups claims.name claims.n claims.m claims.f claims.t claims.d
    claims.g.y claims.?a claims[?'zz'] claims['g'] provider now 0 1 -1 9223372036854775807 -9223372036854775808 18446744073709551615u
    1.5 0.0 1e308 '' 'x' 'é\u0000' 'a@b.c' true false null [] ['x','y'] {} {'a':1} string duration('2562047h47m16.854775807s')
    duration('-2562047h') duration('nans') timestamp('0001-01-01T00:00:00Z') timestamp('9999-12-31T23:59:59.999999999Z')
    timestamp(253402300799) optional.none() 'Europe/Berlin' '-23:59' 'url'";

/// Rules around parts: `$` is a part, `#` the name of a macro's elements.
const TEMPLATES: &str = r"
    $+$ $-$ $*$ $/$ $%$ $==$ $!=$ $<$ $<=$ $>$ $>=$ $&&$ $||$ ($)in($) !($) -($) $?$:$ [$,?$] {$:$} {?$:$} $[$] $[?$] $.a $.?a has($.a)
    $.all(#,$) $.exists(#,$) $.exists_one(#,$) $.filter(#,$) $.map(#,$) $.map(#,$,$) $.contains($) $.startsWith($) $.endsWith($)
    $.matches('^a.*b') $.split($) $.join($) $.join() $.trim() $.lowerAscii() $.size() $.replace($,$) $.substring($) $.substring($,$)
    $.orValue($) $.or($) $.value() $.hasValue() $.getFullYear() $.getMonth($) $.getDate() $.getDayOfMonth($) $.getDayOfWeek()
    $.getDayOfYear() $.getDayOfYear($) $.getHours($) $.getMinutes() $.getSeconds($) $.getMilliseconds() lower($) sha256($) domain($)
    uuid5($,$) size($) string($) int($) uint($) double($) bool($) timestamp($) duration($) type($) dyn($) optional.of($)
    optional.ofNonZeroValue($)";

/// What a rule is cut into.
const TOKENS: &str =
    r#"( ) [ ] { } . , : ? .? [? ' " \ // && || ! == = < in r' b' ''' ` 0x 1e u @ # é "#;

/// A rule that is often good, of the bytes that the fuzzer gives.
struct Writer<'b>(Iter<'b, u8>);

impl Writer<'_> {
    fn pick<'t>(&mut self, from: &'t str) -> &'t str {
        let from = from.split_ascii_whitespace().collect::<Vec<_>>();
        from[usize::from(self.0.next().copied().unwrap_or_default()) % from.len()]
    }

    /// An expression so deep, within so many macros.
    fn expr(&mut self, depth: usize, macros: usize) -> String {
        let is_variable = macros > 0 && self.0.next().is_some_and(|byte| byte % 3 == 0);
        if is_variable {
            return format!("v{macros}");
        }
        if depth == 0 {
            return self.pick(LEAVES).to_owned();
        }
        let template = self.pick(TEMPLATES);
        let mut text = String::from("(");
        let mut inner = macros;
        for c in template.chars() {
            match c {
                '$' => text += &self.expr(depth - 1, inner),
                '#' => {
                    inner += 1;
                    text.push('v');
                    text += &inner.to_string();
                }
                c => text.push(c),
            }
        }
        text + ")"
    }
}

fn rule_of(bytes: &[u8]) -> String {
    let mut writer = Writer(bytes.iter());
    match writer.pick("text tokens expr expr expr expr expr expr") {
        "text" => String::from_utf8_lossy(writer.0.as_slice()).into_owned(),
        "tokens" => {
            let mut text = String::new();
            while let Some(byte) = writer.0.next() {
                text += writer.pick(if byte % 2 == 0 { TOKENS } else { LEAVES });
                text += if byte % 5 == 0 { " " } else { "" };
            }
            text
        }
        _ => writer.expr(1 + bytes.len() % 4, 0),
    }
}

#[test]
fn no_rule_panics() {
    static GOOD: AtomicUsize = AtomicUsize::new(0);
    bolero::check!().with_iterations(300).with_max_len(256).for_each(|bytes: &[u8]| {
        let rule = rule_of(bytes);
        let some = || Some(rule.clone());
        for rules in [
            allowing(&rule),
            Rules { identity: some(), ..allowing("true") },
            Rules { attributes: Some(format!("{{'v': {rule}}}")), ..allowing("true") },
            Rules {
                conversations: some(),
                friendly_name: some(),
                token_ttl: some(),
                ..allowing("true")
            },
        ] {
            match Policy::compile(&corp(), rules) {
                Ok(policy) => {
                    GOOD.fetch_add(1, Ordering::Relaxed);
                    DOCUMENTS.iter().for_each(|claims| run(&policy, claims));
                }
                Err(faults) => {
                    assert!(!faults.is_empty());
                    // So a panic of the parser would be told, which ends its own thread.
                    let hopeless = |mend: &str| mend.starts_with("Begin with a simple one");
                    assert!(
                        faults.iter().all(|fault| !hopeless(&fault.mend)),
                        "{rule:?}: {faults:?}"
                    );
                }
            }
        }
    });
    assert!(GOOD.load(Ordering::Relaxed) > 100, "hardly a rule was good");
}

/// Any JSON, of the bytes that the fuzzer gives.
fn value_of(bytes: &mut Iter<'_, u8>, depth: usize) -> Value {
    let Some(kind) = bytes.next() else { return Value::Null };
    let length = |bytes: &mut Iter<'_, u8>| usize::from(bytes.next().copied().unwrap_or_default());
    let eight = |bytes: &mut Iter<'_, u8>| {
        std::array::from_fn(|_| bytes.next().copied().unwrap_or_default())
    };
    match kind % 12 {
        0 => Value::Null,
        1 => json!(kind & 16 == 0),
        2 => json!(i64::from_le_bytes(eight(bytes))),
        3 => json!(u64::from_le_bytes(eight(bytes))),
        4 => json!(f64::from_le_bytes(eight(bytes))),
        5 | 6 => {
            let length = length(bytes) % 48;
            let text = bytes.by_ref().take(length).copied().collect::<Vec<_>>();
            json!(String::from_utf8_lossy(&text))
        }
        7 => {
            let odd = [
                "a@example.com",
                "a\u{ff20}example.com",
                "a@b@example.com",
                "\0",
                "\u{202e}",
                "guest-1",
                "true",
                "1h",
                "-9223372036854775808s",
                "2026-11-24T12:00:00Z",
                "9999-12-31T23:59:60Z",
                "US0123456789abcdef0123456789abcdef",
                "staff",
                "team-x",
                " ",
            ];
            json!(odd[length(bytes) % odd.len()])
        }
        8 => json!("x".repeat(length(bytes) * 300)),
        9 => json!(vec!["y"; length(bytes) * 40]),
        10 if depth > 0 => (0..length(bytes) % 8).map(|_| value_of(bytes, depth - 1)).collect(),
        11 if depth > 0 => Value::Object(document_of(bytes, depth - 1)),
        _ => json!([[[{}]]]),
    }
}

fn document_of(bytes: &mut Iter<'_, u8>, depth: usize) -> Map<String, Value> {
    const NAMES: [&str; 12] = [
        "a",
        "b",
        "c",
        "email",
        "email_verified",
        "groups",
        "name",
        "hasgroups",
        "_claim_names",
        "",
        "é",
        "sub",
    ];
    let count = usize::from(bytes.next().copied().unwrap_or_default()) % 10;
    let mut entry = || {
        let name = NAMES[usize::from(bytes.next().copied().unwrap_or_default()) % NAMES.len()];
        (name.to_owned(), value_of(bytes, depth))
    };
    (0..count).map(|_| entry()).collect()
}

#[test]
fn no_claims_panic() {
    bolero::check!().with_iterations(1000).with_max_len(1024).for_each(|bytes: &[u8]| {
        // Either bytes as they would come in, or what is surely JSON.
        let claims = match serde_json::from_slice(bytes) {
            Ok(Value::Object(claims)) => claims,
            _ => document_of(&mut bytes.iter(), 40),
        };
        for policy in POLICIES.iter() {
            run(policy, &claims);
            assert_eq!(policy.decide(&claims, NOW), policy.decide(&policy.relevant(&claims), NOW));
        }
    });
}
