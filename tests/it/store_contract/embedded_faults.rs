//! What happens to the file: a process that is killed, a second one, and what is left behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use redb::{ReadableDatabase, ReadableTableMetadata};
use vestibule::inside::store::{
    Claim, NewLogin, NewSession, NewStanding, OpenError, Settings, Store, TakenLogin,
};
use vestibule::inside::{Handle, Metrics, Reference, RequestId, Timestamp};

use super::revalidation::granted;
use super::{
    digest, file_store, hourly, identity, new_session, new_standing, provider, session_key, subject,
};

/// Where the child of [`a_killed_process_loses_nothing_that_was_acknowledged`] writes.
const CHILD: &str = "VESTIBULE_TEST_STORE_TO_WRITE";

fn login(number: usize) -> NewLogin {
    NewLogin {
        provider: provider("corp"),
        binding: digest("browser"),
        return_to: format!("/{number}"),
    }
}

/// Not a test of its own: what the killed process runs. It tells each number once all of its steps are acknowledged.
#[tokio::test]
async fn child_that_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = file_store(Path::new(&path)).await;
    let mut told = std::io::stdout();
    for number in 0.. {
        let who = format!("user-{number}");
        store.begin_login(&digest(&who), &login(number)).await.unwrap();
        store
            .take_login_once(
                &digest(&who),
                &digest("browser"),
                &provider("corp"),
                RequestId::unique(),
            )
            .await
            .unwrap();
        store.claim_identity(&identity(&who), &subject(&who)).await.unwrap();
        store.open_session(&new_session(&who, "kept")).await.unwrap();
        let moved = identity(&format!("moved-{number}"));
        store.claim_identity(&moved, &subject(&who)).await.unwrap();
        store.begin_move(&moved, &subject(&who).key(), &subject("new")).await.unwrap();
        store.open_session(&new_session(&who, "ended")).await.unwrap();
        store
            .end_session(&session_key(&who, "ended"), super::HOUR, RequestId::unique())
            .await
            .unwrap();
        writeln!(told, "acknowledged {number}").unwrap();
        told.flush().unwrap();
    }
}

/// How many numbers the killed process acknowledged: it is killed soon after the hundredth.
fn write_until_killed(path: &Path) -> usize {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store_contract::embedded_faults::child_that_writes_until_it_is_killed",
            "--nocapture",
        ])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("acknowledged 100") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the child ended by itself");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    101 + rest.lines().filter(|line| line.starts_with("acknowledged ")).count()
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");

    let acknowledged = write_until_killed(&path);

    let store = file_store(&path).await;
    for number in 0..acknowledged {
        let who = format!("user-{number}");
        let taken = store
            .take_login_once(
                &digest(&who),
                &digest("browser"),
                &provider("corp"),
                RequestId::unique(),
            )
            .await;
        assert_eq!(taken.unwrap().value, TakenLogin::AlreadyTaken, "{who}");
        let claim =
            store.claim_identity(&identity(&who), &subject("somebody else")).await.unwrap().value;
        assert_eq!(claim, Claim::Anothers, "{who}");
        let kept = store.read_session(&session_key(&who, "kept"), super::HOUR).await.unwrap().value;
        let (session, _, decision) = kept.unwrap();
        assert_eq!((session.identity, decision), (identity(&who), new_standing(&who).decision));
        let moved = identity(&format!("moved-{number}"));
        let owner = store.find_subject(&moved).await.unwrap().value.owner.unwrap();
        assert_eq!((owner.subject, owner.moving_to), (subject(&who), Some(subject("new"))));
        let ended =
            store.read_session(&session_key(&who, "ended"), super::HOUR).await.unwrap().value;
        assert_eq!(ended, None, "{who}");
    }
}

#[tokio::test]
async fn time_goes_on_from_what_the_file_promises() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let before = file_store(&path).await.read_time().await.unwrap().time.at();
    // As if the machine's clock were set back by an hour while the process was away.
    let promise = before.as_millis() + 3_600_000;
    let database = redb::Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    let clock = redb::TableDefinition::<(), u64>::new("clock");
    write.open_table(clock).unwrap().insert((), promise * 1000).unwrap();
    write.commit().unwrap();
    drop(database);

    let store = file_store(&path).await;
    let told = store.read_time().await.unwrap().time.at().as_millis();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let later = store.read_time().await.unwrap().time.at().as_millis();
    let health = store.examine().await.unwrap().value;

    assert!((promise..promise + 5000).contains(&told));
    assert!(later >= told + 100, "it goes on, at half speed at least");
    assert!(later < told + 5000);
    assert!(health.warnings.len() == 1 && health.warnings[0].contains("ahead"), "{health:?}");
}

#[tokio::test]
async fn a_file_has_one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = file_store(&path).await;

    let second =
        Store::open(&Settings::Embedded { path: path.clone() }, &Metrics::new().unwrap()).await;

    let Err(error @ OpenError::InUse { .. }) = second else { panic!("two have it") };
    let why = format!("another process has {} open", path.display());
    assert!(error.to_string().starts_with(&why), "{error}");
    drop(store);
    file_store(&path).await.read_time().await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_dropped_leaves_its_file_whole_and_free() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let mut before = None;

    for number in 0..5 {
        let store = file_store(&path).await;
        let now = store.read_time().await.unwrap().time.at();
        assert!(before <= Some(now));
        let machine = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
        assert!(
            u128::from(now.as_millis()) <= machine + 10,
            "a clean end leaves no promise ahead of time"
        );
        before = Some(now);
        let who = format!("user-{number}");
        store.open_session(&new_session(&who, "one")).await.unwrap();
        assert_eq!(super::bound(&store, "user-0").await, Some(identity("user-0")));
    }
}

#[tokio::test]
async fn a_file_that_is_no_store_or_cannot_be_made_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let letter = directory.path().join("letter.txt");
    std::fs::write(&letter, "Dear operator, this is not a database. ".repeat(300)).unwrap();

    let open = async |path| {
        Store::open(&Settings::Embedded { path }, &Metrics::new().unwrap()).await.err()
    };
    for path in [letter.clone(), directory.path().to_owned()] {
        let refused = open(path).await;
        assert!(matches!(refused, Some(OpenError::File { .. })), "{refused:?}");
    }
    let refused = open(directory.path().join("nowhere/store")).await;
    assert!(matches!(refused, Some(OpenError::NoFolder { .. })), "{refused:?}");

    assert!(
        std::fs::read_to_string(letter).unwrap().starts_with("Dear operator"),
        "it is left as it was"
    );
}

#[tokio::test]
async fn the_file_is_for_its_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");

    let _store = file_store(&path).await;

    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn rows_that_are_over_are_swept_while_others_come_in() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = file_store(&path).await;
    for number in 0..200 {
        let who = format!("user-{number}");
        let lifetime = Duration::from_millis(50);
        let standing = NewStanding { keep: lifetime, ..new_standing(&who) };
        let short = NewSession { lifetime, standing, ..granted(&who, "short") };
        store.open_session(&short).await.unwrap();
        store.spend_once(&digest(&who), lifetime, RequestId::unique()).await.unwrap();
        let (handle, since) = (Handle::of(&[&who]), Timestamp::from_millis(0));
        store.join_logout(&handle, &short.key.subject, since, lifetime).await.unwrap();
        store.keep_denial(&Reference::random(), "{}", lifetime).await.unwrap();
        let quick = vestibule::inside::store::Rate { count: 50, per: Duration::from_millis(50) };
        store.take_from_limit(&who, quick, RequestId::unique()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;

    for number in 0..250 {
        store
            .take_from_limit(&format!("bucket-{number}"), hourly(1), RequestId::unique())
            .await
            .unwrap();
    }
    drop(store);

    let database = redb::Database::open(&path).unwrap();
    let read = database.begin_read().unwrap();
    let left = |table: &str| {
        let name = redb::TableDefinition::<(), ()>::new(table);
        let handles = read.list_tables().unwrap();
        let handle = handles
            .into_iter()
            .find(|handle| redb::TableHandle::name(handle) == redb::TableHandle::name(&name));
        read.open_untyped_table(handle.unwrap()).unwrap().len().unwrap()
    };
    assert_eq!(left("sessions"), 0);
    assert_eq!(left("standings"), 0);
    assert_eq!(left("denials"), 0);
    assert_eq!(left("grants"), 0);
    assert_eq!(left("spent"), 0);
    assert_eq!(left("handles"), 0);
    assert_eq!(left("limits"), 250);
    assert_eq!(left("subjects"), 200, "bindings stay");
}

#[tokio::test]
async fn two_hundred_steps_at_once_share_their_flushes() {
    let directory = tempfile::tempdir().unwrap();
    let store = file_store(&directory.path().join("store")).await;
    let open = |name: String| {
        let store = &store;
        async move { store.open_session(&new_session("alice", &name)).await.unwrap() }
    };
    let mut seen = Vec::new();

    // Disks and machines have moods: one of a few rounds has to show it.
    for round in 0..5 {
        let begun = Instant::now();
        for number in 0..20 {
            open(format!("{round}: {number} alone")).await;
        }
        let alone = begun.elapsed() / 20;
        let mut names = 0..200;
        let begun = Instant::now();
        super::all_at_once(200, || open(format!("{round}: {:?} together", names.next()))).await;
        let together = begun.elapsed();
        if together < alone * 100 {
            return;
        }
        seen.push((alone, together));
    }

    panic!("one alone, 200 together: {seen:?}");
}
