//! How often something may happen.

use std::time::Duration;

use vestibule::inside::RequestId;
use vestibule::inside::store::{Allowance, Rate, Store};

use super::{all_at_once, hourly};

async fn take(store: &Store, bucket: &str, rate: Rate) -> Allowance {
    store.take_from_limit(bucket, rate, RequestId::unique()).await.unwrap().value
}

pub async fn a_limit_allows_its_whole_count_at_once_and_then_says_when(store: &Store) {
    let rate = Rate { count: 600, per: Duration::from_hours(60) };

    for time in 0..600 {
        assert_eq!(take(store, "x", rate).await, Allowance::Allowed, "time {time}");
    }

    let Allowance::Refused { after } = take(store, "x", rate).await else {
        panic!("the 601st is allowed")
    };
    assert!(after <= Duration::from_mins(6) && after > Duration::from_mins(5), "{after:?}");
}

pub async fn a_limit_refills_evenly(store: &Store) {
    let rate = Rate { count: 2, per: Duration::from_secs(4) };
    take(store, "x", rate).await;
    take(store, "x", rate).await;
    let Allowance::Refused { after } = take(store, "x", rate).await else {
        panic!("the third is allowed")
    };

    tokio::time::sleep(after + Duration::from_millis(2)).await;

    assert_eq!(take(store, "x", rate).await, Allowance::Allowed);
    assert!(
        matches!(take(store, "x", rate).await, Allowance::Refused { .. }),
        "two came back at once"
    );
}

pub async fn a_time_that_is_refused_is_not_counted(store: &Store) {
    let rate = Rate { count: 1, per: Duration::from_secs(1) };
    take(store, "x", rate).await;
    for _ in 0..20 {
        assert!(matches!(take(store, "x", rate).await, Allowance::Refused { .. }));
    }

    tokio::time::sleep(Duration::from_millis(1005)).await;

    assert_eq!(take(store, "x", rate).await, Allowance::Allowed);
}

pub async fn a_request_that_comes_twice_in_a_row_is_counted_once(store: &Store) {
    let request = RequestId::unique();
    for _ in 0..3 {
        let answer = store.take_from_limit("x", hourly(2), request).await.unwrap().value;
        assert_eq!(answer, Allowance::Allowed);
    }

    assert_eq!(take(store, "x", hourly(2)).await, Allowance::Allowed);
    assert!(matches!(take(store, "x", hourly(2)).await, Allowance::Refused { .. }));
}

pub async fn buckets_do_not_share(store: &Store) {
    assert_eq!(take(store, "logins:203.0.113.7", hourly(1)).await, Allowance::Allowed);
    assert_eq!(take(store, "logins:203.0.113.8", hourly(1)).await, Allowance::Allowed);
    assert_eq!(take(store, "{odd} \"bucket\"\r\n", hourly(1)).await, Allowance::Allowed);

    assert!(matches!(
        take(store, "logins:203.0.113.7", hourly(1)).await,
        Allowance::Refused { .. }
    ));
}

pub async fn fifty_at_once_get_no_more_than_the_limit(store: &Store) {
    let answers = all_at_once(50, || take(store, "x", hourly(7))).await;

    assert_eq!(answers.iter().filter(|answer| **answer == Allowance::Allowed).count(), 7);
}
