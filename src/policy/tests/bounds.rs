//! That no rule and no claims take the process down: neither its stack, nor its memory, nor its time.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::{NOW, allowing, corp, object, policy};
use crate::policy::rules::RuleFault;
use crate::policy::{Explanation, Failure, Outcome, Policy, RuleResult, Rules, Why};

/// Half the stack that a thread of tokio's or of the standard library's has: the rest is for what calls.
const STACK: usize = 1 << 20;

fn on_a_small_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap()
}

/// Rules of the most bytes there may be, each nested in another way.
fn nested(levels: usize) -> Vec<String> {
    let repeat = |open: &str, inner: &str, close: &str| {
        let most = (2048 - inner.len()) / (open.len() + close.len());
        let levels = levels.min(most);
        format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
    };
    vec![
        repeat("(", "true", ")"),
        repeat("[", "1", "]"),
        repeat("{'a':", "1", "}"),
        repeat("!", "true", ""),
        repeat("-", "1", ""),
        repeat("", "1", "+1"),
        repeat("", "true", "&&true"),
        repeat("", "true", "||true"),
        repeat("", "true", "==true"),
        repeat("", "claims", ".a"),
        repeat("", "claims", ".?a"),
        repeat("", "claims", "[0]"),
        repeat("true?", "1", ":1"),
        repeat("true?1:", "1", ""),
        repeat("size(", "'a'", ")"),
        repeat("", "'a'", ".trim()"),
        repeat("", "[1]", ".map(x,x)"),
        repeat("[1].map(x,", "1", ")"),
        repeat("has(", "claims.a", ")"),
        repeat("(", "", ""),
        repeat("[", "", ""),
        repeat("a(", "", ""),
        repeat("{", "", ""),
        repeat(")", "", ""),
        repeat("a?", "", ""),
        repeat("", "claims", ".a("),
    ]
}

/// A policy that runs `rule` whatever its type.
fn running(rule: &str) -> Result<Policy, Vec<RuleFault>> {
    let attributes = Some(format!("{{'v': {rule}}}"));
    Policy::compile(&corp(), Rules { attributes, ..allowing("true") })
}

#[test]
fn no_rule_overflows_the_stack_when_it_is_read() {
    on_a_small_stack(|| {
        for levels in [8, 16, 24, 32, 40, 48, 64, 96, 128, 256, 2048] {
            for rule in nested(levels) {
                let _ = running(&rule);
            }
        }
    });
}

#[test]
fn what_is_too_deep_is_said_to_be() {
    let first = |rule: String| running(&rule).unwrap_err().remove(0);
    let brackets = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));

    let fault = first(format!("claims.a{}", " + 1".repeat(60)));
    assert_eq!(fault.problem, "is nested too deeply");
    let fault = first(brackets(24));
    assert_eq!(
        (fault.problem, fault.mend.starts_with("At character 30: It is nested")),
        ("is not an expression", true),
        "{fault:?}"
    );
    assert!(running(&brackets(20)).is_ok());
    assert!(running(&format!("claims.a{}", " + 1".repeat(20))).is_ok());
}

#[test]
fn no_rule_that_is_read_overflows_the_stack_when_it_runs() {
    on_a_small_stack(|| {
        let mut deep = json!(true);
        for _ in 0..15 {
            deep = json!({ "a": [deep] });
        }
        let mut ran = 0;
        for levels in 1..60 {
            for rule in nested(levels) {
                if let Ok(policy) = running(&rule) {
                    let rules = policy.explain(&object(json!({ "a": deep })), NOW).rules;
                    let error = |result: &RuleResult| serde_json::to_string(result).unwrap();
                    assert!(!error(&rules[1].result).contains("not run"), "{rules:?}");
                    ran += 1;
                }
            }
        }
        assert!(ran > 300, "only {ran} rules ran");
        let nest = format!(".map(x, {}x{})", "[".repeat(22), "]".repeat(22));
        for rule in [
            format!("[claims.a]{} != []", nest.repeat(16)),
            format!("[claims.a]{0} == [claims.a]{0}", nest.repeat(8)),
            format!("[claims.a]{0} in [[claims.a]{0}]", nest.repeat(8)),
        ] {
            let explanation = policy(allowing(&rule)).explain(&object(json!({ "a": deep })), NOW);
            assert!(matches!(explanation.outcome, Outcome::Allowed(_)), "{explanation:?}");
        }
    });
}

#[test]
fn claims_that_are_read_are_bounded() {
    let why = |value: Value| {
        policy(allowing("claims.a != 1")).decide(&object(json!({ "a": value })), NOW).err()
    };
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));

    assert_eq!(why(json!(vec![0; 8191])), None);
    assert_eq!(why(nested(32)), None);
    assert_eq!(why(json!("a".repeat(65536))), None);
    for large in [
        json!(vec![0; 8192]),
        nested(33),
        nested(120),
        json!("a".repeat(65537)),
        json!(vec!["a".repeat(1000); 66]),
    ] {
        let denial = why(large).unwrap();
        assert_eq!((denial.rule.as_str(), denial.why), ("allow[0]", Why::ClaimsTooLarge));
    }
    // What no rule reads does not count.
    let unread = object(json!({ "a": 2, "b": vec![0; 10_000], "c": nested(100) }));
    assert!(policy(allowing("claims.a != 1")).decide(&unread, NOW).is_ok());
}

#[test]
fn a_run_is_bounded_in_time_and_memory() {
    let half = "x".repeat(30_000);
    let many = vec!["x"; 7000];
    for rule in [
        "claims.many.map(m, claims.half + m) != []",
        "claims.many.map(m, [claims.many, claims.many]) != []",
        "claims.many.map(m, {'a': claims.half}) != []",
        "claims.many.map(m, m.replace('x', claims.half)) != []",
        "claims.many.join(claims.half) != ''",
        "claims.half.replace('x', claims.half) != ''",
        "claims.many.filter(m, 'y' in claims.many) != []",
        "claims.many.exists(m, claims.half.matches('^x*y$')) != true",
        "claims.many.exists(m, lower(claims.half) == m) != true",
        "claims.many.exists(m, sha256(claims.half) == m) || true",
        "claims.many.exists(m, claims.half.contains('y')) != true",
        "claims.many.exists(m, size(claims.half) == 1) != true",
        "claims.many.all(m, claims.many == claims.many)",
        "claims.many.all(m, !(claims.many != claims.many))",
        "[claims.half].map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a) != []",
        "[size(claims.half)].map(a,[a,a,a,a]).map(a,[a,a,a,a]).map(a,[a,a,a,a]).map(a,[a,a,a,a]).map(a,[a,a,a,a]).map(a,[a,a,a,a]).map(a,[a,a,a,a])\
         .map(a,[a,a,a,a]).map(a,[a,a,a,a]).map(a,[a,a,a,a]).map(a,[a,a,a,a]).map(a,[a,a,a,a]).map(a,[a,a,a,a]) != []",
        "[1,2,3,4,5,6,7,8,9].all(a,[1,2,3,4,5,6,7,8,9].all(b,[1,2,3,4,5,6,7,8,9].all(c,[1,2,3,4,5,6,7,8,9].all(d,[1,2,3,4,5,6,7,8,9]\
         .all(e,[1,2,3,4,5,6,7,8,9].all(f,[1,2,3,4,5,6,7,8,9].all(g,[1,2,3,4,5,6,7,8,9].all(h,claims.half != ''))))))))",
    ] {
        let began = Instant::now();
        let policy = policy(allowing(rule));
        let denial = policy.decide(&object(json!({ "half": half, "many": many })), NOW);

        let why = denial.map_err(|denial| denial.why);
        assert_eq!(why, Err(Why::Failed(Failure::TooManySteps)), "{rule}");
        assert!(began.elapsed() < Duration::from_secs(20), "{rule} took {:?}", began.elapsed());
    }
}

#[test]
fn a_value_that_a_rule_nests_deeply_can_be_told() {
    let brackets = |inner: &str| format!("{}{inner}{}", "[".repeat(12), "]".repeat(12));
    let nest = format!(".map(x, {})", brackets("x"));
    let deep = format!("[claims.a]{}", nest.repeat(12));
    let claims = object(json!({ "a": 1 }));
    let rules = Rules { attributes: Some(format!("{{'a': {deep}}}")), ..allowing("true") };

    let explanation = policy(allowing(&format!("{deep} != []"))).explain(&claims, NOW);
    assert_eq!(serde_json::to_value(&explanation).unwrap()["rules"][0]["value"], true);
    let denial = policy(rules.clone()).decide(&claims, NOW).unwrap_err();
    assert_eq!(denial.why, Why::OutOfBounds("JSON has no form for"));
    let text = serde_json::to_string(&policy(rules).explain(&claims, NOW)).unwrap();
    assert!(text.contains('…'));
    assert!(serde_json::from_str::<Explanation>(&text).is_ok());
}

#[test]
fn an_explanation_is_bounded() {
    let claims = |length| object(json!({ "many": vec!["x"; 30], "text": "x".repeat(length) }));
    let rules = Rules {
        attributes: Some("{'a': claims.many.map(m, claims.text)}".to_owned()),
        ..allowing("claims.many.map(m, claims.text + m) == []")
    };
    let size = |length| {
        let explanation = policy(rules.clone()).explain(&claims(length), NOW);
        serde_json::to_string(&explanation).unwrap().len()
    };

    assert!((15_000..20_000).contains(&size(500)), "{}", size(500));
    assert!(size(600) < 1000, "{}", size(600));
    assert!(size(20_000) < 1000, "{}", size(20_000));
}

#[test]
fn a_rule_that_takes_too_long_over_no_claims_at_all_is_a_fault() {
    let all = |name: &str| format!("[1,2,3,4,5,6,7,8,9].all({name},");
    let rule = format!(
        "{}true{}",
        "abcdefgh".chars().map(|name| all(&name.to_string())).collect::<String>(),
        ")".repeat(8)
    );

    let faults = Policy::compile(&corp(), allowing(&rule)).err().unwrap();

    assert_eq!(faults[0].problem, "can never hold");
}

#[test]
fn ordinary_runs_are_far_from_the_bound() {
    let groups = (0..1600).map(|n| format!("team-{n:030}")).collect::<Vec<_>>();
    let rules = Rules {
        conversations: Some("claims.groups.filter(g, g.endsWith('7') && ['team-', 'room-'].exists(p, g.startsWith(p))).map(g, provider + '-' + g)".to_owned()),
        ..allowing("claims.groups.exists(g, g == 'x') || !('x' in claims.groups)")
    };

    assert!(policy(rules).decide(&object(json!({ "groups": groups })), NOW).is_ok());
}

/// Claims of about the most that may be read, each costly in another way.
fn costly() -> Vec<Value> {
    let text = |length: usize| "x".repeat(length);
    let keys = (0..3000).map(|n| (format!("{n:04}"), json!("x"))).collect::<Map<_, _>>();
    let rest = json!({ "big": 1, "text": "x", "wrap": [[1]], "f": 1.5, "map": { "a": 1 } });
    let documents = [
        json!({ "many": vec!["x"; 3900], "big": vec!["x"; 4000], "wrap": [vec!["x"; 200]] }),
        json!({ "many": vec![0; 60], "big": vec!["x"; 8000], "text": text(30_000) }),
        json!({ "many": vec!["x"; 4000], "big": text(20_000), "text": text(20_000), "wrap": [text(20_000)] }),
        json!({ "many": vec![json!({ "a": 1 }); 4000] }),
        json!({ "many": keys, "big": vec![0; 2000], "map": [vec![1; 2]] }),
        json!({ "many": [vec!["x"; 3900]], "big": vec!["x"; 3900], "wrap": [vec!["x"; 300]] }),
    ];
    let with_rest = |document: Value| {
        let mut all = object(rest.clone());
        all.extend(object(document));
        Value::Object(all)
    };
    documents.into_iter().map(with_rest).collect()
}

/// Bools, or lists of such, that cost as much as they can.
const COSTLY: &str = r"
    claims.?big.hasValue() ; claims[?'big'].hasValue() ; optional.of(claims.big).hasValue() ; optional.ofNonZeroValue(claims.big).hasValue()
    claims.big in claims.wrap ; claims.text in claims.wrap ; claims.big in claims.map ; claims.text in claims.map
    claims.big == claims.big ; claims.?big == claims.?big ; claims.text == claims.text ; claims.text != claims.text ; claims.many == claims.many
    claims.text < claims.big ; claims.text < claims.text ; claims.text >= 1 ; claims.f - claims.big == 1 ; claims.text * claims.big == 1
    1 + claims.big == 1 ; claims.big + 1 == 1 ; claims.big + claims.big == [] ; claims.text + claims.text == ''
    claims.big[claims.f] == 1 ; claims.map[claims.big] == 1 ; claims.map[claims.text] == 1 ; claims.map[?claims.text] == claims.?f
    [claims.big] == [] ; {'a': claims.big} == {} ; {claims.text: 1} == {} ; [claims.?big].exists(o, o.y == o.z) ; [claims.?map].exists(o, o['a'] == o.a)
    claims.text.contains('y') ; claims.text.startsWith(claims.text) ; size(claims.text) == 1 ; lower(claims.text) == 's'
    claims.text.lowerAscii() == 's' ; claims.text.trim() == 's' ; claims.text.substring(1) == 's' ; claims.text.replace('x', 'y') == 's'
    claims.text.split('x') == [] ; claims.text.split('z') == [] ; claims.big.join('') == 's' ; domain(claims.text) == 's'
    sha256(claims.text) == 's' ; uuid5('url', claims.text) == 's' ; uuid5(claims.text, 'x') == 's' ; string(claims.text) == 's' ; int(claims.text) == 1
    duration(claims.text) == now ; timestamp(claims.text) == now ; now.getHours(claims.text) == 1
    claims.text.matches('^a*$') ; claims.text.matches(r'^\w+$') ; claims.text.matches('(x|y){1,180}z') ; claims.text.matches('^(x?){300}x*y')
    claims.many.all(m, true) ; claims.big.all(m, true) ; claims.many.filter(m, true) == [] ; claims.many.exists_one(m, true)
    claims.many.map(m, m).map(m, m).map(m, m).map(m, m).map(m, m).map(m, m).map(m, m).map(m, m).map(m, m).map(m, m) == []
    claims.many.exists(m, m.map(a, a).map(a, a).map(a, a).map(a, a).map(a, a).map(a, a).map(a, a).map(a, a) == [1])
    claims.f == 1 ; claims.f == claims.f ; !true ; -claims.big == 1 ; has(claims.map.b) ; type(claims.big) == int ; 'x' == 'y' ; claims.big[9999] == 1";

/// Rules that ask `term` once, for each element, as often as a rule is long enough for, and both.
fn asking(term: &str) -> Vec<String> {
    let most = (1900 / (term.len() + 4)).clamp(1, 256);
    let mut terms = vec![term.to_owned(); most];
    while terms.len() > 1 {
        let pair = |pair: &[String]| match pair {
            [left, right] => format!("({left}||{right})"),
            alone => alone.concat(),
        };
        terms = terms.chunks(2).map(pair).collect();
    }
    let [often] = terms.try_into().unwrap();
    let each = |asked: &str| format!("claims.many.exists(m, {asked})");
    vec![term.to_owned(), each(term), each(&often), each(&format!("{often} && false")), often]
}

/// The shortest of three times: others work on this machine too.
pub(super) fn time(run: impl Fn()) -> Duration {
    let once = || {
        let began = Instant::now();
        run();
        began.elapsed()
    };
    let first = once();
    if first < SHORT { first } else { first.min(once()).min(once()) }
}

/// What a rule takes at most in an unoptimised build; a pattern of hundreds of places takes five times as long, for the library of
/// regular expressions is not optimised then.
const SHORT: Duration = Duration::from_millis(100);
pub(super) const LONG: Duration = Duration::from_secs(1);

#[test]
fn no_rule_takes_long_over_any_claims() {
    let documents = costly().into_iter().map(object).collect::<Vec<_>>();
    let terms = COSTLY.split([';', '\n']).map(str::trim).filter(|term| !term.is_empty());
    let mut ran = 0;
    for rule in terms.flat_map(asking) {
        let Ok(policy) = Policy::compile(&corp(), allowing(&rule)) else { continue };
        for claims in &documents {
            let took = time(|| drop(policy.decide(claims, NOW)));

            assert!(took < LONG, "{rule} took {took:?}");
            ran += 1;
        }
    }
    assert!(ran > 1000, "only {ran} runs");
}
