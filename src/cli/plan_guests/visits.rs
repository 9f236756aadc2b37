//! Whence visits come: a file of them, or a rate at which they arrive.

use std::io::{self, BufRead, Read};
use std::time::Duration;

use chrono::DateTime;

use super::super::terminal::{escaped, shortened};
use super::numbers::Numbers;
use super::pool::Visit;
use super::price::grouped;
use super::terms::Terms;
use crate::clock::Timestamp;
use crate::config::duration;

/// The most visits that are looked at: half a gigabyte of memory, and up to 850 MB when all come at once.
pub(super) const MOST: usize = 10_000_000;

/// How many faults of a file are told.
const MOST_FAULTS: usize = 10;

/// The longest line without its end, in bytes.
const LONGEST_LINE: u64 = 1024;

/// When visits of a rate begin: with a month of 31 days.
const BEGINNING: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// When the last may arrive: at the end of the year 2200. Milliseconds since 1970 taken for seconds are later than that.
const LATEST: Timestamp = Timestamp::from_millis(7_289_654_400_000 - 1);

/// Visits in the order of their arrival.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Visits {
    pub(super) all: Vec<Visit>,
    /// How many of them would have stayed for longer than anybody may.
    pub(super) cut: u64,
}

impl Visits {
    fn add(&mut self, arrival: Timestamp, stay: Duration, terms: &Terms) {
        self.all.push(terms.visit(arrival, stay));
        self.cut += u64::from(stay > terms.max_stay);
    }

    /// The most who arrive within one hour, wherever it begins.
    pub(super) fn busiest_hour(&self) -> u64 {
        const HOUR_MS: u64 = 60 * 60 * 1000;
        let mut first = 0;
        let within_an_hour = |(last, visit): (usize, &Visit)| {
            while visit.from - self.all[first].from >= HOUR_MS {
                first += 1;
            }
            last - first + 1
        };
        self.all.iter().enumerate().map(within_an_hour).max().unwrap_or_default() as u64
    }

    fn sorted(mut self) -> Self {
        if !self.all.is_sorted_by_key(|visit| visit.from) {
            self.all.sort_unstable_by_key(|visit| (visit.from, visit.ready));
        }
        self
    }
}

/// How often somebody arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
}

impl Rate {
    /// Reads `200/h`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rate = || {
            let (count, unit) = text.split_once('/')?;
            let digits = count.bytes().all(|byte| byte.is_ascii_digit());
            let count = count.parse().ok().filter(|count| digits && *count > 0)?;
            let per = duration(&format!("1{unit}")).filter(|_| unit.len() == 1)?;
            Some(Self { count, per })
        };
        rate().ok_or_else(|| "write it like 200/h; the units are s, m, h and d".to_owned())
    }
}

/// Visitors who come independently of each other at a rate and stay for an exponentially distributed time with this mean; the
/// same in each run.
///
/// # Errors
///
/// When they are too many, or come too late.
pub(super) fn at_rate(
    rate: Rate,
    mean: Duration,
    during: Duration,
    terms: &Terms,
) -> Result<Visits, String> {
    let expected = during.as_secs_f64() / rate.per.as_secs_f64() * f64::from(rate.count);
    if expected > f64::from(u32::try_from(MOST).unwrap_or(u32::MAX)) {
        return Err(format!(
            "about {expected:.0} visits are more than {}: ask for a shorter time",
            grouped(MOST as u64)
        ));
    }
    if BEGINNING.plus(during) > LATEST {
        return Err("that ends after the year 2200: ask for a shorter time".to_owned());
    }
    let mut numbers = Numbers::new(1);
    let mut visits = Visits::default();
    let mut after = Duration::ZERO;
    loop {
        after += rate.per.mul_f64(numbers.exponential() / f64::from(rate.count));
        if after >= during {
            return Ok(visits);
        }
        // A fraction of a longer stay than 30 days is one as well.
        let stay = mean.min(Duration::from_hours(30 * 24)).mul_f64(numbers.exponential());
        visits.add(BEGINNING.plus(after), stay, terms);
    }
}

/// Reads visits as CSV, with the header `arrival,stay`, line by line.
///
/// # Errors
///
/// What is wrong with it, each with its line; ten at most.
pub(super) fn read(mut input: impl BufRead, terms: &Terms) -> Result<Visits, Vec<String>> {
    let mut visits = Visits::default();
    let mut faults = Vec::new();
    let mut has_header = false;
    let mut line = Vec::new();
    for number in 1_u64.. {
        match next_line(&mut input, &mut line) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                faults.push(format!("line {number} cannot be read: {error}"));
                break;
            }
        }
        let fields = match fields(&line) {
            Ok(None) => continue,
            Ok(Some(fields)) => Ok(fields),
            Err(problem) => Err(problem),
        };
        let read = if has_header {
            fields.and_then(|fields| one(fields, &mut visits, terms))
        } else {
            has_header = true;
            fields.and_then(header)
        };
        if let Err(problem) = read {
            faults.push(format!("line {number} {problem}"));
        }
        if faults.len() == MOST_FAULTS {
            break;
        }
    }
    if visits.all.is_empty() && faults.is_empty() {
        faults
            .push("holds no visit: below the header arrival,stay each visit is a line".to_owned());
    }
    if faults.is_empty() { Ok(visits.sorted()) } else { Err(faults) }
}

/// Reads the next line without its end, or the first of it when it is too long; `false` when there is none.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let length = input.take(LONGEST_LINE + 1).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if length as u64 > LONGEST_LINE {
        input.skip_until(b'\n')?;
    }
    Ok(length > 0)
}

/// The two fields of a line; `None` when it is empty.
fn fields(line: &[u8]) -> Result<Option<[&str; 2]>, String> {
    if line.len() as u64 > LONGEST_LINE {
        return Err(format!("is longer than {LONGEST_LINE} bytes"));
    }
    let line = str::from_utf8(line).map_err(|_| "is not UTF-8 text".to_owned())?;
    // Some spreadsheets write a mark before the first line.
    let line = line.trim_start_matches('\u{feff}').trim();
    if line.is_empty() {
        return Ok(None);
    }
    let mut fields = line.split(',').map(|field| {
        let field = field.trim();
        field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(field)
    });
    match (fields.next(), fields.next(), fields.next()) {
        (Some(arrival), Some(stay), None) => Ok(Some([arrival, stay])),
        _ => Err(format!("is {}: not an arrival and a stay with a comma between", quoted(line))),
    }
}

fn header(fields: [&str; 2]) -> Result<(), String> {
    match fields {
        ["arrival", "stay"] => Ok(()),
        [first, second] => {
            Err(format!("is {}: not the header arrival,stay", quoted(&format!("{first},{second}"))))
        }
    }
}

fn one([arrival, stay]: [&str; 2], visits: &mut Visits, terms: &Terms) -> Result<(), String> {
    if visits.all.len() == MOST {
        return Err(format!(
            "is one too many: more than {} visits are not looked at",
            grouped(MOST as u64)
        ));
    }
    let moment = moment(arrival).ok_or_else(|| {
        format!(
            "has the arrival {}: neither a time like 2026-11-24T12:00:00Z, from 1970 on, nor seconds since then",
            quoted(arrival)
        )
    })?;
    let length = seconds(stay).or_else(|| duration(stay)).ok_or_else(|| {
        format!("has the stay {}: neither a duration like 12m or 1h30m nor seconds", quoted(stay))
    })?;
    if moment > LATEST {
        let cause = match seconds(arrival) {
            Some(_) => ": as seconds since 1970, and these are probably milliseconds",
            None => "",
        };
        return Err(format!("has the arrival {}, after the year 2200{cause}", quoted(arrival)));
    }
    visits.add(moment, length, terms);
    Ok(())
}

fn moment(text: &str) -> Option<Timestamp> {
    let millis = match seconds(text) {
        Some(seconds) => u64::try_from(seconds.as_millis()).ok()?,
        None => u64::try_from(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis()).ok()?,
    };
    Some(Timestamp::from_millis(millis))
}

/// Digits, with others behind a point or without.
fn seconds(text: &str) -> Option<Duration> {
    if !text.starts_with(|first: char| first.is_ascii_digit())
        || !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return None;
    }
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(&shortened(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visits(text: &str) -> Result<Visits, Vec<String>> {
        read(text.as_bytes(), &Terms::default())
    }

    fn visit(arrival_ms: u64, stay: Duration) -> Visit {
        Terms::default().visit(Timestamp::from_millis(arrival_ms), stay)
    }

    #[test]
    fn each_line_is_a_visit_however_it_is_written() {
        let text = "\u{feff}arrival,stay\r\n\
            2026-11-24T12:00:00Z,12m\r\n\r\n\
            \"2026-11-24T13:00:00+01:00\", \"1h30m\"\n\
            1763985600.5,720\n\
            1763985599 , 0.25";

        let visits = visits(text).unwrap();

        let noon = 1_795_521_600_000;
        let expected = [
            visit(1_763_985_599_000, Duration::from_millis(250)),
            visit(1_763_985_600_500, Duration::from_mins(12)),
            visit(noon, Duration::from_mins(12)),
            visit(noon, Duration::from_mins(90)),
        ];
        assert_eq!(visits.all, expected);
        assert_eq!(visits.cut, 0);
    }

    #[test]
    fn a_stay_that_is_too_long_is_counted() {
        let visits = visits("arrival,stay\n0,12h\n1,12h1s\n2,999999d\n").unwrap();

        assert_eq!((visits.all.len(), visits.cut), (3, 2));
        assert_eq!(visits.all[1].ready - visits.all[1].from, (12 * 60 + 10) * 60 * 1000);
    }

    #[test]
    fn the_busiest_hour_begins_at_any_moment() {
        let visits = |text: &str| visits(&format!("arrival,stay\n{text}")).unwrap().busiest_hour();

        assert_eq!(visits("1000,5\n"), 1);
        assert_eq!(visits("0,5\n3600,5\n7200,5\n"), 1);
        assert_eq!(visits("0,5\n1800,5\n3599.999,5\n3600,5\n5399,5\n9000,5\n"), 4);
        assert_eq!(visits("7,5\n7,5\n7,5\n100000,5\n"), 3);
    }

    #[test]
    fn all_faults_are_told_with_their_lines() {
        let long = "9".repeat(2000);
        let text = format!(
            "when,stay\n2026-11-24,12m\n\n1,\n2,12 m\n3,4,5\nonly\n-1,5\n1960-01-01T00:00:00Z,5\n{long},5\n1795521600000,1\n1,1\n\u{1b}[2J,1"
        );

        let faults = visits(&text).unwrap_err();

        let neither =
            "neither a time like 2026-11-24T12:00:00Z, from 1970 on, nor seconds since then";
        let no_stay = "neither a duration like 12m or 1h30m nor seconds";
        assert_eq!(
            faults,
            [
                "line 1 is \"when,stay\": not the header arrival,stay".to_owned(),
                format!("line 2 has the arrival \"2026-11-24\": {neither}"),
                format!("line 4 has the stay \"\": {no_stay}"),
                format!("line 5 has the stay \"12 m\": {no_stay}"),
                "line 6 is \"3,4,5\": not an arrival and a stay with a comma between".to_owned(),
                "line 7 is \"only\": not an arrival and a stay with a comma between".to_owned(),
                format!("line 8 has the arrival \"-1\": {neither}"),
                format!("line 9 has the arrival \"1960-01-01T00:00:00Z\": {neither}"),
                "line 10 is longer than 1024 bytes".to_owned(),
                "line 11 has the arrival \"1795521600000\", after the year 2200: as seconds since 1970, and these are probably \
                 milliseconds"
                    .to_owned(),
            ]
        );
        assert_eq!(
            visits("arrival,stay\n\u{1b}[2J,1").unwrap_err(),
            [format!("line 2 has the arrival \"\\u{{1b}}[2J\": {neither}")]
        );
        for empty in ["", "\n\n", "arrival,stay\n"] {
            assert_eq!(visits(empty).unwrap_err().len(), 1, "{empty:?}");
        }
        assert_eq!(
            read(&b"arrival,stay\n\xff,1"[..], &Terms::default()).unwrap_err(),
            ["line 2 is not UTF-8 text"]
        );
    }

    #[test]
    fn nobody_arrives_after_the_year_2200() {
        let last = visits("arrival,stay\n2200-12-31T23:59:59Z,30d\n7289654399.9,5\n").unwrap();

        assert_eq!(last.all.len(), 2);
        let late = "has the arrival \"2201-01-01T00:00:00Z\", after the year 2200";
        assert_eq!(
            visits("arrival,stay\n2201-01-01T00:00:00Z,5\n").unwrap_err(),
            [format!("line 2 {late}")]
        );
        for millis in ["7289654400", "1795521600000", "1795521600000.5"] {
            let [fault] = &visits(&format!("arrival,stay\n{millis},5\n")).unwrap_err()[..] else {
                panic!("{millis}")
            };
            assert!(fault.contains("probably milliseconds"), "{fault}");
        }
        let daily = |during| {
            let daily = Rate::parse("1/d").unwrap();
            at_rate(daily, Duration::from_mins(1), during, &Terms::default())
        };
        let years = |years: u64| Duration::from_hours(years * 365 * 24);
        assert!(daily(years(175)).is_ok());
        assert!(daily(years(176)).unwrap_err().contains("after the year 2200"));
        assert!(daily(Duration::MAX).is_err());
    }

    #[test]
    fn the_longest_line_is_one_line() {
        let padded = |length: usize| format!("1,{:>1$}", 5, length - 2);

        for end in ["", "\n2,5\n"] {
            let visits = visits(&format!("arrival,stay\n{}{end}", padded(1024))).unwrap();
            assert_eq!(visits.all.len(), 1 + usize::from(!end.is_empty()));
        }
        for end in ["", "\nx\n"] {
            let faults = visits(&format!("arrival,stay\n{}{end}", padded(1025))).unwrap_err();
            assert_eq!(faults.len(), 1 + usize::from(!end.is_empty()), "{faults:?}");
        }
    }

    #[test]
    fn a_rate_gives_as_many_as_it_says_and_the_same_each_time() {
        let (minutes, days) = (Duration::from_mins, |days: u64| Duration::from_hours(24 * days));
        let rate = Rate::parse("1000/d").unwrap();

        let visits = || at_rate(rate, minutes(12), days(30), &Terms::default()).unwrap();

        let count = visits().all.len();
        assert!((29_500..30_500).contains(&count), "{count}");
        assert!(visits().all.is_sorted_by_key(|visit| visit.from));
        assert!(visits() == visits());
        for rate in ["", "5", "0/h", "-1/h", "1/", "1/w", "1/2h", "1.5/h", "+1/h", "/h"] {
            assert!(Rate::parse(rate).is_err(), "{rate}");
        }
        let often = Rate::parse("1000000/s").unwrap();
        assert!(at_rate(often, minutes(1), days(1), &Terms::default()).is_err());
    }
}
