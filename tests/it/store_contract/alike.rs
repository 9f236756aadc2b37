//! Both stores answer alike: random sequences of steps, on a Redis and on a file, answer for answer. Those about guests, whose answers are
//! a matter of time, are in [`super::guests`].

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use vestibule::inside::store::{
    Allowance, Asked, BegunRevalidation, Binding, Found, ListedSession, NewLogin, NewSession,
    NewStanding, OpenedSession, Outcome, Revalidated, Scope, Session, SessionKey, Standing, Store,
    TakenLogin, UseTerms, UsedSession, Verdict, Way,
};
use vestibule::inside::{Handle, Reference, RequestId, Subject, Timestamp};

use super::{
    HOUR, digest, file_store, hourly, identity, new_session, provider, redis_store, session_key,
    subject,
};
use crate::support::redis::RedisServer;

/// A step, spelled with small numbers so that they meet often.
#[derive(Clone, Debug)]
enum Step {
    TakeFromLimit {
        bucket: u8,
        count: u8,
        request: u8,
    },
    BeginLogin {
        state: u8,
        browser: u8,
        at: u8,
    },
    TakeLoginOnce {
        state: u8,
        browser: u8,
        at: u8,
        request: u8,
    },
    FindIdentity {
        who: u8,
        at: u8,
    },
    ClaimIdentity {
        what: u8,
        who: u8,
    },
    FindSubject {
        what: u8,
    },
    BeginMove {
        what: u8,
        from: u8,
        to: u8,
    },
    RetireSubject {
        from: u8,
        what: u8,
    },
    FinishMove {
        what: u8,
        to: u8,
    },
    BindSubject {
        to: u8,
        what: u8,
        endings: u8,
    },
    BindIdentity {
        who: u8,
        endings: u8,
        found: Option<(u8, bool)>,
        what: u8,
    },
    MarkIdentity {
        what: u8,
        blocked: bool,
    },
    MarkSubject {
        who: u8,
        what: u8,
        unblocked: Option<u64>,
    },
    EndAllSessions {
        who: u8,
        endings: u64,
    },
    OpenSession {
        who: u8,
        secret: u8,
        what: u8,
        bound: bool,
        stale: bool,
        shown: Shown,
        left: Left,
    },
    KeepStanding {
        who: u8,
        shown: Shown,
    },
    ReadStanding {
        who: u8,
        at: u8,
    },
    DecideStanding {
        who: u8,
        at: u8,
        late: bool,
        shown: Shown,
    },
    ListStandings {
        about: u8,
    },
    KeepDenial {
        number: u8,
        text: u8,
    },
    FindDenial {
        number: u8,
    },
    UseSession {
        who: u8,
        secret: u8,
        count: u8,
        request: u8,
    },
    ReadSession {
        who: u8,
        secret: u8,
    },
    EndSession {
        who: u8,
        secret: u8,
        request: u8,
    },
    ListSessions {
        who: u8,
        secret: u8,
    },
    EndListedSession {
        who: u8,
        secret: u8,
        other: u8,
        request: u8,
    },
    EndOtherSessions {
        who: u8,
        secret: u8,
        request: u8,
    },
    BeginRevalidation {
        who: u8,
        secret: u8,
        late: bool,
        request: u8,
    },
    KeepGrant {
        who: u8,
        secret: u8,
        request: u8,
        grant: u8,
    },
    FinishRevalidation {
        who: u8,
        secret: u8,
        request: u8,
        way: u8,
        late: bool,
        shown: Option<Shown>,
    },
    PauseRevalidation {
        who: u8,
        secret: u8,
        request: u8,
    },
    TakeGrants {
        who: u8,
    },
    JoinLogout {
        sid: u8,
        who: u8,
        late: bool,
    },
    LogOutHandle {
        sid: u8,
    },
    LogOutSubject {
        who: u8,
        scope: Option<(u8, bool)>,
        request: u8,
    },
    WasSpent {
        name: u8,
    },
    SpendOnce {
        name: u8,
        request: u8,
    },
    Unspend {
        name: u8,
        request: u8,
    },
}

/// What a login leaves beside what it shows.
#[derive(Clone, Copy, Debug)]
struct Left {
    /// Whether it was begun before anything that is told here, or after all of it.
    early: bool,
    sid: Option<u8>,
    way: u8,
    grant: Option<u8>,
}

fn left() -> impl Strategy<Value = Left> {
    let sid = proptest::option::of(0..2_u8);
    (0..4_u8, sid, 0..3_u8, proptest::option::weighted(0.8, 0..3_u8))
        .prop_map(|(early, sid, way, grant)| Left { early: early == 0, sid, way, grant })
}

/// How a provider can be asked again, spelled with a small number.
fn way(number: u8) -> Option<Way> {
    let until = Timestamp::from_millis(1_795_521_660_000);
    [None, Some(Way::Refresh), Some(Way::Userinfo { until })][usize::from(number)]
}

fn handle(sid: u8) -> Handle {
    Handle::of(&["sid", &sid.to_string()])
}

/// Before anything that is told here, or after all of it.
fn moment(early: bool) -> Timestamp {
    Timestamp::from_millis(if early { 0 } else { 9_000_000_000_000 })
}

/// What a login shows and the policy says of it.
#[derive(Clone, Copy, Debug)]
struct Shown {
    at: u8,
    claims: u8,
    mark: u8,
    /// Denied, allowed, or allowed with a time to live.
    outcome: u8,
}

impl Shown {
    fn verdict(self, names: &Names) -> Verdict {
        let ttl = |seconds| Outcome::Allowed { token_ttl: seconds };
        Verdict {
            mark: digest(&self.mark.to_string()),
            outcome: match self.outcome {
                0 => Outcome::Denied { reference: names.references[usize::from(self.claims)] },
                1 => ttl(None),
                _ => ttl(Some(Duration::from_secs(self.claims.into()))),
            },
        }
    }

    fn decision(self) -> String {
        if self.outcome == 0 { String::new() } else { format!("decision {}", self.claims) }
    }

    fn standing(self, who: u8, names: &Names) -> NewStanding {
        NewStanding {
            subject: subject(&who.to_string()),
            provider: provider(&self.at.to_string()),
            claims: format!("claims {}", self.claims),
            verdict: self.verdict(names),
            decision: self.decision(),
            keep: HOUR,
        }
    }
}

fn shown() -> impl Strategy<Value = Shown> {
    (0..2_u8, 0..3_u8, 0..2_u8, 0..3_u8).prop_map(|(at, claims, mark, outcome)| Shown {
        at,
        claims,
        mark,
        outcome,
    })
}

/// Steps about whose an identity is, and about what is remembered of whom.
fn step_of_members() -> impl Strategy<Value = Step> {
    let (two, three) = (0..2_u8, 0..3_u8);
    let found = proptest::option::of((three.clone(), any::<bool>()));
    prop_oneof![
        three.clone().prop_map(|what| Step::FindSubject { what }),
        (three.clone(), two.clone(), two.clone()).prop_map(|(what, from, to)| Step::BeginMove {
            what,
            from,
            to
        }),
        (two.clone(), three.clone()).prop_map(|(from, what)| Step::RetireSubject { from, what }),
        (three.clone(), two.clone()).prop_map(|(what, to)| Step::FinishMove { what, to }),
        (two.clone(), three.clone(), three.clone())
            .prop_map(|(to, what, endings)| Step::BindSubject { to, what, endings }),
        (two.clone(), three.clone(), found, three.clone()).prop_map(
            |(who, endings, found, what)| Step::BindIdentity { who, endings, found, what }
        ),
        (three.clone(), any::<bool>())
            .prop_map(|(what, blocked)| Step::MarkIdentity { what, blocked }),
        (two.clone(), three.clone(), proptest::option::of(0..3_u64))
            .prop_map(|(who, what, unblocked)| Step::MarkSubject { who, what, unblocked }),
        (two.clone(), 0..4_u64).prop_map(|(who, endings)| Step::EndAllSessions { who, endings }),
        (two.clone(), shown()).prop_map(|(who, shown)| Step::KeepStanding { who, shown }),
        (two.clone(), two.clone()).prop_map(|(who, at)| Step::ReadStanding { who, at }),
        (two.clone(), two, any::<bool>(), shown())
            .prop_map(|(who, at, late, shown)| Step::DecideStanding { who, at, late, shown }),
        (1..4_u8).prop_map(|about| Step::ListStandings { about }),
        (three.clone(), three.clone()).prop_map(|(number, text)| Step::KeepDenial { number, text }),
        three.prop_map(|number| Step::FindDenial { number }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (two, three, four) = (0..2_u8, 0..3_u8, 0..4_u8);
    prop_oneof![
        8 => step_of_members(),
        1 => (two.clone(), 1..4_u8, four.clone())
            .prop_map(|(bucket, count, request)| Step::TakeFromLimit { bucket, count, request }),
        1 => (three.clone(), two.clone(), two.clone())
            .prop_map(|(state, browser, at)| Step::BeginLogin { state, browser, at }),
        1 => (three.clone(), two.clone(), two.clone(), three.clone()).prop_map(
            |(state, browser, at, request)| { Step::TakeLoginOnce { state, browser, at, request } }
        ),
        1 => (three.clone(), two.clone()).prop_map(|(who, at)| Step::FindIdentity { who, at }),
        1 => (three.clone(), three.clone()).prop_map(|(what, who)| Step::ClaimIdentity { what, who }),
        3 => (two.clone(), three.clone(), three.clone(), any::<bool>(), 0..4_u8, shown(), left())
            .prop_map(|(who, secret, what, bound, stale, shown, left)| {
                let stale = stale == 0;
                Step::OpenSession { who, secret, what, bound, stale, shown, left }
            }),
        1 => (two.clone(), three.clone(), four.clone(), four.clone()).prop_map(
            |(who, secret, count, request)| Step::UseSession { who, secret, count, request }
        ),
        1 => (two.clone(), three.clone()).prop_map(|(who, secret)| Step::ReadSession { who, secret }),
        1 => (two, three.clone(), three).prop_map(|(who, secret, request)| Step::EndSession {
            who,
            secret,
            request
        }),
        3 => step_of_devices(),
        5 => step_of_revalidation(),
        2 => step_of_logouts(),
    ]
}

/// Steps about asking a provider again.
fn step_of_revalidation() -> impl Strategy<Value = Step> {
    let (two, three) = (0..2_u8, 0..3_u8);
    let session = (two.clone(), three.clone(), two.clone());
    let late = || (0..4_u8).prop_map(|late| late == 0);
    let shown = proptest::option::of(shown());
    prop_oneof![
        3 => (session.clone(), late()).prop_map(|((who, secret, request), late)| {
            Step::BeginRevalidation { who, secret, late, request }
        }),
        2 => (session.clone(), three.clone()).prop_map(|((who, secret, request), grant)| {
            Step::KeepGrant { who, secret, request, grant }
        }),
        3 => (session.clone(), three, late(), shown).prop_map(
            |((who, secret, request), way, late, shown)| {
                Step::FinishRevalidation { who, secret, request, way, late, shown }
            }
        ),
        1 => session.prop_map(|(who, secret, request)| {
            Step::PauseRevalidation { who, secret, request }
        }),
        2 => two.prop_map(|who| Step::TakeGrants { who }),
    ]
}

/// Steps about logouts of the provider's, and about what counts only once.
fn step_of_logouts() -> impl Strategy<Value = Step> {
    let (two, four) = (0..2_u8, 0..4_u8);
    let scope = proptest::option::of((two.clone(), any::<bool>()));
    prop_oneof![
        2 => (two.clone(), two.clone(), any::<bool>())
            .prop_map(|(sid, who, late)| Step::JoinLogout { sid, who, late }),
        2 => two.clone().prop_map(|sid| Step::LogOutHandle { sid }),
        2 => (two.clone(), scope, four.clone())
            .prop_map(|(who, scope, request)| Step::LogOutSubject { who, scope, request }),
        1 => two.clone().prop_map(|name| Step::WasSpent { name }),
        1 => (two.clone(), four.clone()).prop_map(|(name, request)| Step::SpendOnce { name, request }),
        1 => (two, four).prop_map(|(name, request)| Step::Unspend { name, request }),
    ]
}

/// Steps about all sessions of somebody.
fn step_of_devices() -> impl Strategy<Value = Step> {
    let (two, three) = (0..2_u8, 0..3_u8);
    prop_oneof![
        2 => (two.clone(), three.clone()).prop_map(|(who, secret)| Step::ListSessions { who, secret }),
        1 => (two.clone(), three.clone(), three.clone(), three.clone()).prop_map(
            |(who, secret, other, request)| {
                Step::EndListedSession { who, secret, other, request }
            }
        ),
        1 => (two, three.clone(), three).prop_map(|(who, secret, request)| {
            Step::EndOtherSessions { who, secret, request }
        }),
    ]
}

/// The names that one sequence uses: fresh ones, the same for both stores.
struct Names {
    requests: Vec<RequestId>,
    references: Vec<Reference>,
}

impl Names {
    fn request(&self, number: u8) -> RequestId {
        self.requests[usize::from(number)]
    }
}

fn someone(who: u8) -> Subject {
    subject(&who.to_string())
}

fn key(who: u8, secret: u8) -> SessionKey {
    session_key(&who.to_string(), &secret.to_string())
}

/// What a session shows, times aside.
fn told(session: &Session) -> String {
    let way = session.asked.map(|asked| asked.way);
    format!("{} {} {way:?}", session.identity, session.provider)
}

/// When the provider was asked last about a session; never, when it is none.
async fn asked(store: &Store, key: &SessionKey) -> Timestamp {
    let read = store.read_session(key, HOUR).await.unwrap().value;
    let asked = read.and_then(|(session, ..)| session.asked);
    asked.map_or(Timestamp::from_millis(0), |asked| asked.at)
}

/// What a standing shows, times aside.
fn told_standing(standing: &Standing) -> String {
    let Standing { subject, provider, claims, verdict, decision, .. } = standing;
    format!("{} {provider} {claims} {verdict:?} {decision}", subject.value())
}

async fn find(store: &Store, who: u8, at: u8) -> Found {
    let (who, at) = (someone(who).key(), provider(&at.to_string()));
    store.find_identity(&who, Some(&at)).await.unwrap().value
}

async fn list(store: &Store, about: u8) -> String {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = store.list_standings(after, about.into()).await.unwrap().value;
        let told = |(standing, bound)| format!("{} {bound:?}", told_standing(&standing));
        rows.extend(page.standings.into_iter().map(told));
        if page.next.is_none() {
            break;
        }
        after = page.next;
    }
    rows.sort();
    // A page may bring what another has brought.
    rows.dedup();
    rows.join("\n")
}

/// Takes `step` and tells the answer, times aside.
#[expect(clippy::too_many_lines, reason = "an arm a step, and nothing between them")]
async fn answer(store: &Store, step: &Step, names: &Names) -> String {
    match *step {
        Step::TakeFromLimit { bucket, count, request } => {
            let rate = hourly(count.into());
            let answer = store
                .take_from_limit(&format!("b{bucket}"), rate, names.request(request))
                .await
                .unwrap();
            if answer.value == Allowance::Allowed { "allowed" } else { "refused" }.to_owned()
        }
        Step::BeginLogin { state, browser, at } => {
            let login = NewLogin {
                provider: provider(&at.to_string()),
                binding: digest(&browser.to_string()),
                return_to: format!("/{browser}/{at}"),
            };
            format!(
                "{:?}",
                store.begin_login(&digest(&state.to_string()), &login).await.unwrap().value
            )
        }
        Step::TakeLoginOnce { state, browser, at, request } => {
            let (state, browser) = (digest(&state.to_string()), digest(&browser.to_string()));
            let (at, request) = (provider(&at.to_string()), names.request(request));
            match store.take_login_once(&state, &browser, &at, request).await.unwrap().value {
                TakenLogin::Taken { return_to, .. } => format!("taken {return_to}"),
                other => format!("{other:?}"),
            }
        }
        Step::FindIdentity { who, at } => {
            let found = find(store, who, at).await;
            format!("{:?} {}", found.binding, found.obtained.is_some())
        }
        Step::ClaimIdentity { what, who } => {
            let (what, who) = (identity(&what.to_string()), subject(&who.to_string()));
            format!("{:?}", store.claim_identity(&what, &who).await.unwrap().value)
        }
        Step::FindSubject { what } => {
            let whose = store.find_subject(&identity(&what.to_string())).await.unwrap().value;
            format!("{whose:?}")
        }
        Step::BeginMove { what, from, to } => {
            let (what, from, to) = (identity(&what.to_string()), someone(from), someone(to));
            store.begin_move(&what, &from.key(), &to).await.unwrap().value.to_string()
        }
        Step::RetireSubject { from, what } => {
            let (from, what) = (someone(from).key(), identity(&what.to_string()));
            format!("{:?}", store.retire_subject(&from, &what).await.unwrap().value)
        }
        Step::FinishMove { what, to } => {
            let (what, to) = (identity(&what.to_string()), someone(to));
            store.finish_move(&what, &to).await.unwrap().value.to_string()
        }
        Step::BindSubject { to, what, endings } => {
            let (to, what) = (someone(to).key(), identity(&what.to_string()));
            store.bind_subject(&to, &what, endings.into()).await.unwrap().value.to_string()
        }
        Step::BindIdentity { who, endings, found, what } => {
            let identity_of = |what: u8| identity(&what.to_string());
            let blocked = found.is_some_and(|(_, blocked)| blocked);
            let identity = found.map(|(what, _)| identity_of(what));
            let found = Binding { endings: endings.into(), identity, blocked };
            let (who, what) = (someone(who).key(), identity_of(what));
            store.bind_identity(&who, &found, &what).await.unwrap().value.to_string()
        }
        Step::MarkIdentity { what, blocked } => {
            let what = identity(&what.to_string());
            format!("{:?}", store.mark_identity(&what, blocked).await.unwrap().value)
        }
        Step::MarkSubject { who, what, unblocked } => {
            let (who, what) = (someone(who).key(), identity(&what.to_string()));
            format!("{:?}", store.mark_subject(&who, &what, unblocked).await.unwrap().value)
        }
        Step::EndAllSessions { who, endings } => {
            let who = someone(who).key();
            format!("{:?}", store.end_all_sessions(&who, endings).await.unwrap().value)
        }
        Step::OpenSession { who, secret, what, bound, stale, shown, left } => {
            let what = identity(&what.to_string());
            let mut found = Found::default();
            found.binding.identity = bound.then(|| what.clone());
            if !stale {
                found = find(store, who, shown.at).await;
            }
            let new = NewSession {
                key: key(who, secret),
                identity: found.binding.identity.clone().unwrap_or(what),
                found,
                standing: shown.standing(who, names),
                label: format!("device {secret}"),
                begun: moment(left.early),
                sid: left.sid.map(handle),
                way: way(left.way),
                grant: left.grant.map(|grant| format!("grant {grant}")),
                ..new_session("anybody", "any")
            };
            match store.open_session(&new).await.unwrap().value {
                OpenedSession::Opened(session) => told(&session),
                OpenedSession::Overtaken => "overtaken".to_owned(),
                OpenedSession::LoggedOut => "logged out".to_owned(),
            }
        }
        Step::KeepStanding { who, shown } => {
            let kept = store.keep_standing(&shown.standing(who, names)).await.unwrap();
            format!("{:?}", kept.value)
        }
        Step::ReadStanding { who, at } => {
            let (who, at) = (someone(who).key(), provider(&at.to_string()));
            let standing = store.read_standing(&who, &at).await.unwrap().value;
            format!("{:?}", standing.as_ref().map(told_standing))
        }
        Step::DecideStanding { who, at, late, shown } => {
            let (who, at) = (someone(who).key(), provider(&at.to_string()));
            let standing = store.read_standing(&who, &at).await.unwrap().value;
            let obtained = standing.filter(|_| !late).map(|standing| standing.obtained);
            let about = obtained.unwrap_or(Timestamp::from_millis(0));
            let (verdict, decision) = (shown.verdict(names), shown.decision());
            let decided = store.decide_standing(&who, &at, about, &verdict, &decision).await;
            decided.unwrap().value.to_string()
        }
        Step::ListStandings { about } => list(store, about).await,
        Step::KeepDenial { number, text } => {
            let reference = names.references[usize::from(number)];
            let kept = store.keep_denial(&reference, &text.to_string(), HOUR).await.unwrap();
            format!("{:?}", kept.value)
        }
        Step::FindDenial { number } => {
            let reference = names.references[usize::from(number)];
            format!("{:?}", store.find_denial(&reference).await.unwrap().value)
        }
        Step::UseSession { who, secret, count, request } => {
            let limit = (count > 0).then(|| hourly(count.into()));
            let terms = UseTerms { idle: HOUR, limit };
            match store
                .use_session(&key(who, secret), &terms, names.request(request))
                .await
                .unwrap()
                .value
            {
                UsedSession::Live(session, verdict) => {
                    format!("{} {verdict:?}", told(&session))
                }
                UsedSession::Limited { .. } => "limited".to_owned(),
                UsedSession::Ended => "ended".to_owned(),
            }
        }
        Step::ReadSession { who, secret } => {
            let read = store.read_session(&key(who, secret), HOUR).await.unwrap().value;
            format!(
                "{:?}",
                read.map(|(session, verdict, decision)| (told(&session), verdict, decision))
            )
        }
        Step::EndSession { who, secret, request } => {
            let ended =
                store.end_session(&key(who, secret), HOUR, names.request(request)).await.unwrap();
            ended.value.to_string()
        }
        Step::ListSessions { who, secret } => {
            let listed = store.list_sessions(&key(who, secret), HOUR).await.unwrap().value;
            let told = |ListedSession { id, label, session }: ListedSession| {
                format!("{id} {label} {}", told(&session))
            };
            let mut rows = listed.map(|listed| listed.into_iter().map(told).collect::<Vec<_>>());
            if let Some(rows) = &mut rows {
                rows.sort();
            }
            format!("{rows:?}")
        }
        Step::EndListedSession { who, secret, other, request } => {
            let (asker, id) = (key(who, secret), key(who, other).id);
            let ended = store.end_listed_session(&asker, &id, HOUR, names.request(request)).await;
            format!("{:?}", ended.unwrap().value)
        }
        Step::EndOtherSessions { who, secret, request } => {
            let (asker, request) = (key(who, secret), names.request(request));
            let ended = store.end_other_sessions(&asker, HOUR, request).await;
            ended.unwrap().value.to_string()
        }
        Step::BeginRevalidation { who, secret, late, request } => {
            let (key, request) = (key(who, secret), names.request(request));
            let at = if late { moment(true) } else { asked(store, &key).await };
            let begun = store.begin_revalidation(&key, at, (HOUR, HOUR), request).await;
            match begun.unwrap().value {
                BegunRevalidation::Yours { grant, obtained } => {
                    format!("yours {grant} {}", obtained.is_some())
                }
                BegunRevalidation::Anothers { .. } => "another's".to_owned(),
                BegunRevalidation::Paused { .. } => "paused".to_owned(),
                other => format!("{other:?}"),
            }
        }
        Step::KeepGrant { who, secret, request, grant } => {
            let (key, request) = (key(who, secret), names.request(request));
            let kept = store.keep_grant(&key, request, &format!("grant {grant}")).await;
            kept.unwrap().value.to_string()
        }
        Step::FinishRevalidation { who, secret, request, way: next, late, shown } => {
            let (key, request) = (key(who, secret), names.request(request));
            let Some((session, ..)) = store.read_session(&key, HOUR).await.unwrap().value else {
                return "no session".to_owned();
            };
            // Each time another moment, the same on both.
            let at = session.asked.map_or(0, |asked| asked.at.as_millis()) + 1;
            let found = store.find_identity(&key.subject, Some(&session.provider)).await.unwrap();
            let standing = shown.map(|shown| shown.standing(who, names));
            let revalidated = Revalidated {
                asked: way(next).map(|way| Asked { at: Timestamp::from_millis(at), way }),
                standing: standing.map(|new| NewStanding { provider: session.provider, ..new }),
                obtained: found.value.obtained.filter(|_| !late),
            };
            let finished = store.finish_revalidation(&key, request, &revalidated).await;
            finished.unwrap().value.to_string()
        }
        Step::PauseRevalidation { who, secret, request } => {
            let (key, request) = (key(who, secret), names.request(request));
            format!("{:?}", store.pause_revalidation(&key, request, HOUR).await.unwrap().value)
        }
        Step::TakeGrants { who } => {
            let mut taken = store.take_grants(&someone(who).key()).await.unwrap().value;
            taken.taken.sort_by_key(|taken| taken.id.to_string());
            taken.living.sort_unstable();
            format!("{taken:?}")
        }
        Step::JoinLogout { sid, who, late } => {
            let (who, since) = (someone(who).key(), moment(!late));
            store.join_logout(&handle(sid), &who, since, HOUR).await.unwrap().value.to_string()
        }
        Step::LogOutHandle { sid } => {
            format!("{:?}", store.log_out_handle(&handle(sid)).await.unwrap().value)
        }
        Step::LogOutSubject { who, scope, request } => {
            let (who, request) = (someone(who).key(), names.request(request));
            let scope = scope.map_or(Scope::All, |(sid, nameless)| Scope::Session {
                sid: handle(sid),
                nameless,
            });
            format!("{:?}", store.log_out_subject(&who, &scope, request).await.unwrap().value)
        }
        Step::WasSpent { name } => {
            store.was_spent(&digest(&name.to_string())).await.unwrap().value.to_string()
        }
        Step::SpendOnce { name, request } => {
            let (name, request) = (digest(&name.to_string()), names.request(request));
            store.spend_once(&name, HOUR, request).await.unwrap().value.to_string()
        }
        Step::Unspend { name, request } => {
            let (name, request) = (digest(&name.to_string()), names.request(request));
            format!("{:?}", store.unspend(&name, request).await.unwrap().value)
        }
    }
}

#[test]
fn both_stores_answer_alike() {
    let server = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let redis = runtime.block_on(redis_store(&server.url()));
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };

    let outcome = TestRunner::new(config).run(&prop::collection::vec(step(), 1..60), |steps| {
        let directory = tempfile::tempdir().unwrap();
        let _ok: String = server.ask(&["FLUSHDB"]);
        let names = Names {
            requests: (0..4).map(|_| RequestId::unique()).collect(),
            references: (0..3).map(|_| Reference::random()).collect(),
        };
        runtime.block_on(async {
            let file = file_store(&directory.path().join("store")).await;
            for (number, step) in steps.iter().enumerate() {
                let (on_redis, in_file) =
                    (answer(&redis, step, &names).await, answer(&file, step, &names).await);
                if on_redis != in_file {
                    let told = format!("step {number}: {on_redis} on Redis, {in_file} in the file");
                    return Err(TestCaseError::fail(told));
                }
            }
            Ok(())
        })
    });

    outcome.unwrap_or_else(|error| panic!("{error}"));
}
