//! What is remembered of a subject at a provider, and why somebody was denied.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use vestibule::inside::store::{
    Binding, Cursor, Dated, Found, NewSession, NewStanding, Outcome, Page, Session, Standing,
    Store, UsedSession, Verdict,
};
use vestibule::inside::{Reference, RequestId};

use super::{
    AT_EASE, HOUR, all_at_once, allowed, denied, denied_standing, find, identity, new_session,
    new_standing, open, provider, session_key, subject,
};

async fn read(store: &Store, who: &str, at: &str) -> Option<Standing> {
    store.read_standing(&subject(who).key(), &provider(at)).await.unwrap().value
}

async fn keep(store: &Store, new: &NewStanding) {
    store.keep_standing(new).await.unwrap();
}

async fn use_it(store: &Store) -> (Session, Verdict) {
    let key = session_key("alice", "one");
    match store.use_session(&key, &AT_EASE, RequestId::unique()).await.unwrap().value {
        UsedSession::Live(session, verdict) => (session, verdict),
        other => panic!("{other:?}"),
    }
}

/// What is remembered of `new`, as it was `kept`.
fn standing<T>(new: &NewStanding, kept: &Dated<T>) -> Standing {
    Standing {
        subject: new.subject.clone(),
        provider: new.provider.clone(),
        claims: new.claims.clone(),
        obtained: kept.time.at(),
        verdict: new.verdict,
        decision: new.decision.clone(),
    }
}

async fn rest(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

pub async fn a_standing_is_what_the_login_showed(store: &Store) {
    let ttl = Some(Duration::from_mins(5));
    let verdicts = [
        allowed("policy"),
        Verdict { outcome: Outcome::Allowed { token_ttl: ttl }, ..allowed("other policy") },
        denied(),
    ];
    let texts = ["{}".to_owned(), "{\"n\":\"é\u{202e}\r\n\0 \"}".to_owned(), "x".repeat(1 << 16)];
    for (number, (verdict, text)) in verdicts.into_iter().zip(texts).enumerate() {
        let who = format!("{number}: ä \"\r\n\0\"");
        let new = NewStanding {
            claims: text.clone(),
            decision: if matches!(verdict.outcome, Outcome::Denied { .. }) {
                String::new()
            } else {
                text
            },
            verdict,
            ..new_standing(&who)
        };
        let session = NewSession {
            key: session_key(&who, "one"),
            identity: identity(&number.to_string()),
            standing: new.clone(),
            ..new_session("anybody", "one")
        };

        let opened = store.open_session(&session).await.unwrap();

        assert_eq!(read(store, &who, "corp").await, Some(standing(&new, &opened)));
        assert_eq!(read(store, &who, "other").await, None);
        let kept = NewStanding { provider: provider("other"), ..new };
        let dated = store.keep_standing(&kept).await.unwrap();
        assert_eq!(read(store, &who, "other").await, Some(standing(&kept, &dated)));
    }
    assert_eq!(read(store, "nobody", "corp").await, None);
}

pub async fn using_a_session_tells_what_the_policy_said(store: &Store) {
    let ttl = Some(Duration::from_mins(5));
    let verdict = Verdict { outcome: Outcome::Allowed { token_ttl: ttl }, ..allowed("policy") };
    let standing = NewStanding { verdict, ..new_standing("alice") };
    let opened = open(store, &NewSession { standing, ..new_session("alice", "one") }).await;

    let (session, judged) = use_it(store).await;

    assert_eq!(session.identity, opened.identity);
    assert_eq!(judged, verdict);

    let (alice, corp, denied) = (subject("alice").key(), provider("corp"), denied());
    store.decide_standing(&alice, &corp, opened.since, &denied, "").await.unwrap();
    let (_, judged) = use_it(store).await;
    assert_eq!(judged, denied);
    let key = session_key("alice", "one");
    let (_, judged, decision) = store.read_session(&key, HOUR).await.unwrap().value.unwrap();
    assert_eq!((judged, decision.as_str()), (denied, ""));
}

pub async fn newer_claims_take_the_place_of_older_ones_at_their_provider_only(store: &Store) {
    let elsewhere = NewStanding { provider: provider("other"), ..new_standing("alice") };
    open(store, &new_session("alice", "one")).await;
    let kept_elsewhere = store.keep_standing(&elsewhere).await.unwrap();
    rest(3).await;

    let newer = NewStanding { claims: "{\"newer\":1}".to_owned(), ..denied_standing("alice") };
    let kept = store.keep_standing(&newer).await.unwrap();

    assert_eq!(read(store, "alice", "corp").await, Some(standing(&newer, &kept)));
    assert_eq!(read(store, "alice", "other").await, Some(standing(&elsewhere, &kept_elsewhere)));
    let (_, judged) = use_it(store).await;
    assert_eq!(judged, newer.verdict);

    rest(3).await;
    let standing = NewStanding { claims: "{\"newest\":1}".to_owned(), ..new_standing("alice") };
    let found = find(store, "alice").await;
    open(store, &NewSession { found, standing, ..new_session("alice", "two") }).await;
    assert_eq!(read(store, "alice", "corp").await.unwrap().claims, "{\"newest\":1}");
    assert_eq!(use_it(store).await.1, allowed("policy"), "all devices stand on it");
}

pub async fn a_denied_login_is_remembered_and_opens_nothing(store: &Store) {
    let new = denied_standing("alice");

    let kept = store.keep_standing(&new).await.unwrap();

    assert_eq!(read(store, "alice", "corp").await, Some(standing(&new, &kept)));
    let found = Found { binding: Binding::default(), obtained: Some(kept.time.at()) };
    assert_eq!(find(store, "alice").await, found);
    let key = session_key("alice", "one");
    let used = store.use_session(&key, &AT_EASE, RequestId::unique()).await.unwrap().value;
    assert_eq!(used, UsedSession::Ended);
}

pub async fn a_verdict_is_kept_only_of_the_claims_it_is_about(store: &Store) {
    let (alice, corp) = (subject("alice").key(), provider("corp"));
    keep(store, &new_standing("alice")).await;
    let first = read(store, "alice", "corp").await.unwrap();
    let newer = allowed("newer policy");
    let decide = async |obtained, decision: &str| {
        store.decide_standing(&alice, &corp, obtained, &newer, decision).await.unwrap().value
    };

    assert!(decide(first.obtained, "{\"role\":\"agent\"}").await);
    let decision = "{\"role\":\"agent\"}".to_owned();
    let decided = Standing { verdict: newer, decision, ..first.clone() };
    assert_eq!(read(store, "alice", "corp").await, Some(decided.clone()));
    assert!(decide(first.obtained, &decided.decision).await, "the same again is kept again");

    keep(store, &new_standing("alice")).await;
    let second = read(store, "alice", "corp").await.unwrap();
    assert!(!decide(first.obtained, "{}").await, "the claims are others by now");
    assert!(!decide(second.obtained.plus(Duration::from_millis(1)), "{}").await);
    assert_eq!(read(store, "alice", "corp").await, Some(second.clone()));
    for (who, at) in [("alice", "other"), ("bob", "corp")] {
        let (who, at) = (subject(who).key(), provider(at));
        let decided = store.decide_standing(&who, &at, second.obtained, &newer, "{}").await;
        assert!(!decided.unwrap().value);
    }
    assert_eq!(read(store, "bob", "corp").await, None, "nothing is made of a verdict alone");
}

pub async fn no_two_claims_are_named_by_the_same_moment(store: &Store) {
    let (mut before, new) = (None, new_standing("alice"));
    for round in 0..30 {
        all_at_once(4, || keep(store, &new)).await;
        let obtained = read(store, "alice", "corp").await.unwrap().obtained;

        assert!(before < Some(obtained), "round {round}");
        before = Some(obtained);
    }
}

pub async fn of_twenty_decisions_about_two_claims_none_hits_the_wrong_one(store: &Store) {
    let (alice, corp) = (subject("alice").key(), provider("corp"));
    for round in 0..20 {
        keep(store, &new_standing("alice")).await;
        let first = read(store, "alice", "corp").await.unwrap();
        let newer = NewStanding {
            claims: format!("{{\"round\":{round}}}"),
            verdict: allowed("of the newer claims"),
            ..new_standing("alice")
        };
        let mut next = 0;

        all_at_once(20, || {
            next += 1;
            let (number, newer, first, corp) = (next, &newer, &first, &corp);
            async move {
                if number == 10 {
                    keep(store, newer).await;
                } else {
                    let verdict = allowed("of the first claims");
                    let decided =
                        store.decide_standing(&alice, corp, first.obtained, &verdict, "{}").await;
                    decided.unwrap();
                }
            }
        })
        .await;

        let left = read(store, "alice", "corp").await.unwrap();
        assert_eq!((left.claims, left.verdict), (newer.claims, newer.verdict), "round {round}");
    }
}

pub async fn a_session_opened_again_does_not_bring_old_claims_back(store: &Store) {
    let new = new_session("alice", "one");
    open(store, &new).await;
    keep(store, &denied_standing("alice")).await;
    let newer = read(store, "alice", "corp").await;

    open(store, &new).await;

    assert_eq!(read(store, "alice", "corp").await, newer);
}

pub async fn a_standing_is_kept_as_long_as_its_sessions_or_longer(store: &Store) {
    let (short, long) = (Duration::from_millis(100), Duration::from_millis(1500));
    let of = |who: &str, keep, lifetime| NewSession {
        lifetime,
        standing: NewStanding { keep, ..new_standing(who) },
        ..new_session(who, "one")
    };
    open(store, &of("for-its-session", short, long)).await;
    open(store, &of("for-itself", long, short)).await;
    open(store, &of("neither", short, short)).await;
    open(store, &of("as-before", short, long)).await;
    keep(store, &NewStanding { keep: short, ..denied_standing("as-before") }).await;

    rest(150).await;
    for who in ["for-its-session", "for-itself", "as-before"] {
        assert!(read(store, who, "corp").await.is_some(), "{who}");
    }
    assert_eq!(read(store, "neither", "corp").await, None);

    rest(1400).await;
    for who in ["for-its-session", "for-itself", "as-before"] {
        assert_eq!(read(store, who, "corp").await, None, "{who}");
    }
    let empty = Page { standings: Vec::new(), unreadable: Vec::new(), next: None };
    assert_eq!(store.list_standings(None, 500).await.unwrap().value, empty);
}

/// All standings by subject and provider, read page by page, and how many pages there were. A cursor travels as text.
async fn list(store: &Store, about: u32) -> (BTreeMap<(String, String), Row>, usize) {
    let (mut all, mut pages, mut after) = (BTreeMap::new(), 0, None);
    loop {
        let begun = Instant::now();
        let page = store.list_standings(after, about).await.unwrap().value;
        assert!(begun.elapsed() < Store::PATIENCE / 3, "a page took {:?}", begun.elapsed());
        for (standing, bound) in page.standings {
            let name = (standing.subject.value().to_owned(), standing.provider.to_string());
            all.insert(name, (standing, bound));
        }
        pages += 1;
        assert!(pages < 10_000, "it goes round in circles");
        let Some(next) = page.next else { return (all, pages) };
        after = Some(Cursor::parse(&next.to_string()).unwrap());
    }
}

type Row = (Standing, Binding);

pub async fn every_standing_is_listed(store: &Store) {
    let mut expected = BTreeMap::new();
    for number in 0..40 {
        let who = format!("user-{number}");
        let new = new_standing(&who);
        let mut bound = Binding::default();
        if number % 2 == 0 {
            bound.identity = Some(identity(&who));
            let opened = store.open_session(&new_session(&who, "one")).await.unwrap();
            expected
                .insert((who.clone(), "corp".to_owned()), (standing(&new, &opened), bound.clone()));
        }
        if number % 3 == 0 {
            let other = NewStanding { provider: provider("other"), ..new };
            let kept = store.keep_standing(&other).await.unwrap();
            expected.insert((who.clone(), "other".to_owned()), (standing(&other, &kept), bound));
        }
        // Neither an ending nor a claim nor a denial is a standing.
        let nobody = subject(&format!("nobody-{number}"));
        store.retire_subject(&nobody.key(), &identity(&who)).await.unwrap();
        store.claim_identity(&identity(&who), &subject(&who)).await.unwrap();
        store.keep_denial(&Reference::random(), "{}", HOUR).await.unwrap();
    }

    for about in [1, 7, 500] {
        let (listed, _) = list(store, about).await;
        assert_eq!(listed, expected, "about {about} a page");
    }
}

pub async fn listing_an_empty_store_is_one_empty_page(store: &Store) {
    let (listed, pages) = list(store, 500).await;

    assert_eq!((listed.len(), pages), (0, 1));
}

pub async fn two_thousand_standings_are_listed_page_by_page(store: &Store) {
    for hundred in 0..20 {
        let mut next = 0;
        all_at_once(100, || {
            next += 1;
            let who = format!("user-{}", hundred * 100 + next);
            async move {
                let claims = format!("{{\"filler\":\"{}\"}}", "x".repeat(2000));
                keep(store, &NewStanding { claims, ..new_standing(&who) }).await;
            }
        })
        .await;
    }

    let (listed, pages) = list(store, 500).await;

    assert_eq!(listed.len(), 2000);
    assert!((2..=16).contains(&pages), "{pages} pages");
}

pub async fn a_denial_is_kept_for_a_while(store: &Store) {
    let (first, second) = (Reference::random(), Reference::random());
    let find = async |reference: &Reference| store.find_denial(reference).await.unwrap().value;
    let text = "{\"why\":\"é\r\n\0\"}";

    store.keep_denial(&first, text, Duration::from_millis(300)).await.unwrap();
    store.keep_denial(&second, "{}", HOUR).await.unwrap();
    store.keep_denial(&second, "{}", HOUR).await.unwrap();

    assert_eq!(find(&first).await.as_deref(), Some(text));
    let unknown = Reference::random();
    assert_eq!(find(&unknown).await, None);
    rest(310).await;
    assert_eq!(find(&first).await, None);
    assert_eq!(find(&second).await.as_deref(), Some("{}"));
}
