//! `vestibule plan-guests`: how many guests visits need, for people, for programs and as a picture.

use serde_json::{Value, json};

use crate::support::operator::{Operator, configuration};

/// Three who come one after the other while the guest of the one before cools, and one when all is over; in two months.
const VISITS: &str = "arrival,stay\n\
    2026-11-30T23:45:00Z,90\n\
    2026-11-30T23:50:00Z,1m\n\
    2026-11-30T23:58:00Z,12m\n\
    2026-12-01T09:00:00Z,0\n";

fn operator() -> Operator {
    let operator = Operator::with_nothing();
    operator.write("visits.csv", VISITS);
    operator
}

/// A configuration with this at its end, whose secrets are elsewhere.
fn configured(guests: &str) -> String {
    let provider = "[[provider]]\nname = \"corp\"\ntitle = \"Corp\"\nissuer = \"https://id.example.com\"\n\
        client_id = \"vestibule\"\nclient_secret_file = \"/nowhere/secret\"\n[provider.policy]\nallow = \"true\"\n";
    configuration("", "redis://127.0.0.1:1", &format!("{provider}{guests}"))
}

fn json_of(operator: &Operator, exit: i32, arguments: &[&str]) -> Value {
    let arguments = [&["plan-guests", "--json"], arguments].concat();
    serde_json::from_str(&operator.run(&arguments).with_exit(exit)).unwrap()
}

#[test]
fn people_get_a_table_and_advice() {
    let said = operator().run(&["plan-guests", "visits.csv"]).with_exit(0);

    insta::assert_snapshot!(said);
}

#[test]
fn programs_get_one_document() {
    let operator = operator();

    let document = json_of(&operator, 0, &["visits.csv", "--sizes", "3,1,3"]);

    insta::assert_json_snapshot!(document);
    operator.write("nothing-else.csv", &VISITS.replace('\n', "\r\n"));
    let said =
        operator.run_on("nothing-else.csv", &["plan-guests", "--json", "-", "--sizes", "1,3"]);
    assert_eq!(serde_json::from_str::<Value>(&said.with_exit(0)).unwrap(), document);
}

#[test]
fn settings_change_how_long_a_guest_is_held() {
    let operator = operator();
    let need = |further: &[&str]| {
        let arguments = [&["--rate", "600/h", "--stay", "12m", "--for", "2d"], further].concat();
        json_of(&operator, 0, &arguments)["need"].as_u64().unwrap()
    };

    let [usual, leased, rested] =
        [need(&[]), need(&["--lease", "10m", "--token-ttl", "10m"]), need(&["--cooldown", "1h"])];

    // By Little's law: 600 an hour, and for each about 40, 27 and 90 minutes; and what chance adds.
    assert!((400..520).contains(&usual), "{usual}");
    assert!((270..380).contains(&leased), "{leased}");
    assert!((900..1050).contains(&rested), "{rested}");
}

#[test]
fn the_settings_are_those_of_the_configuration() {
    let operator = operator();
    let settings = |further: &[&str]| {
        let arguments = [&["visits.csv"], further].concat();
        json_of(&operator, 0, &arguments)["settings"].clone()
    };
    let but_for_whose = |mut settings: Value| {
        settings["of"].take();
        settings
    };

    let none = settings(&[]);
    operator.write("vestibule.toml", &configured(""));
    let without_guests = settings(&[]);
    operator.write("vestibule.toml", &configured("[guests]\nsize = 5\n"));
    let default = settings(&[]);
    let times = "first_token_ttl = \"2m\"\ntoken_ttl = \"20m\"\nlease = \"25m\"\nmax_stay = \"2h\"\ncooldown = \"1m\"\n";
    operator.write("other.toml", &configured(&format!("[guests]\nsize = 5\n{times}")));
    let other = settings(&["--config", "other.toml", "--cooldown", "3m"]);

    assert_eq!(none["of"], "defaults");
    assert_eq!(without_guests["of"], "defaults, as ./vestibule.toml has no [guests]");
    assert_eq!(default["of"], "./vestibule.toml");
    let expected = json!({
        "of": "other.toml and options", "first_token_ttl": "2m", "token_ttl": "20m", "lease": "25m", "max_stay": "2h",
        "cooldown": "3m",
    });
    assert_eq!(other, expected);
    assert_eq!(but_for_whose(without_guests), but_for_whose(none.clone()));
    assert_eq!(but_for_whose(default), but_for_whose(none));
}

#[test]
fn a_bad_configuration_is_told() {
    let operator = operator();
    operator.write("none.toml", &configured(""));
    operator.write("vestibule.toml", &configured("[guests]\nsize = 0\nlease = \"x\"\n"));
    let told = |further: &[&str]| {
        let said = operator.run(&[&["plan-guests", "visits.csv"], further].concat());
        assert_eq!((said.exit, said.out.as_str()), (Some(2), ""), "{said:#?}");
        said.err
    };

    let faults = told(&[]);

    assert!(faults.starts_with("vestibule: the configuration has 2 faults:\n"), "{faults}");
    assert_eq!(told(&["--config", "none.toml"]), "vestibule: none.toml has no [guests]\n");
    assert!(told(&["--config", "nowhere.toml"]).contains("nowhere.toml is not there"));
}

#[test]
fn an_hour_in_which_more_come_than_can_be_taken_into_rooms_is_warned_of() {
    let operator = operator();
    let visits = |count: usize| format!("arrival,stay\n{}", "0,5\n".repeat(count));
    let plan = |rooms: usize, visits: &str| {
        let rooms = (0..rooms).map(|room| format!("\"room-{room}\"")).collect::<Vec<_>>();
        let guests = format!("[guests]\nsize = 5\nconversations = [{}]\n", rooms.join(","));
        operator.write("vestibule.toml", &configured(&guests));
        json_of(&operator, 0, &[visits])
    };
    operator.write("at-the-limit.csv", &visits(2_812));
    operator.write("beyond.csv", &visits(2_813));

    let [no_room, one_room] = [0, 1].map(|rooms| plan(rooms, "beyond.csv"));
    let [quiet, busy] = ["at-the-limit.csv", "beyond.csv"].map(|visits| plan(16, visits));

    for (document, limit) in
        [(no_room, Value::Null), (one_room, 45_000.into()), (quiet, 2_812.into())]
    {
        assert_eq!((&document["hourly_limit"], &document["warning"]), (&limit, &Value::Null));
    }
    assert_eq!((&busy["hourly_limit"], &busy["busiest_hour"]), (&json!(2_812), &json!(2_813)));
    let warning = busy["warning"].as_str().unwrap();
    assert!(
        warning.contains(
            "2,813 come in the busiest, and with 16 in guests.conversations 2,812 guests"
        ),
        "{warning}"
    );
    let told = operator.run(&["plan-guests", "beyond.csv"]).with_exit(0);
    assert!(told.lines().any(|line| line == warning), "{told}");
}

#[test]
fn documents_tell_how_many_an_hour_one_room_allows() {
    let help = operator().run(&["plan-guests", "--help"]).with_exit(0);

    for text in [&help, include_str!("../../docs/GUESTS.md")] {
        assert!(text.contains("45,000 guests an hour"), "{text}");
        assert!(text.contains("25 writes a second"), "{text}");
    }
}

#[test]
fn the_same_rate_gives_the_same_answer() {
    let operator = operator();
    let arguments = ["--rate", "200/h", "--stay", "12m", "--sizes", "40,100,200"];

    let document = json_of(&operator, 0, &arguments);

    assert_eq!(json_of(&operator, 0, &arguments), document);
    let visits = document["visits"].as_u64().unwrap();
    assert!(visits.abs_diff(200 * 24 * 30) < 2_000, "{visits}");
    let [small, _, large] = document["pools"].as_array().unwrap().as_slice() else {
        panic!("{document:#}")
    };
    assert!(small["refused"].as_u64().unwrap() > visits / 2);
    assert_eq!((&large["refused"], &large["longest_wait_seconds"]), (&json!(0), &json!(0)));
    assert_eq!(large["months"][0]["billed"], document["need"]);
    assert_eq!(large["months"], document["least"]);
    assert_eq!(document["one_each_visitor"][0]["billed"], visits);
}

#[test]
fn when_each_pool_refuses_somebody_the_answer_is_no() {
    let operator = operator();

    let said = operator.run(&["plan-guests", "visits.csv", "--sizes", "1,2"]).with_exit(1);

    assert!(
        said.contains(
            "The largest of these pools, 2, refuses 1 of 4 visitors; 3 guests would refuse nobody."
        ),
        "{said}"
    );
}

#[test]
fn a_pool_can_be_as_large_as_the_configuration_allows() {
    let operator = operator();

    let document = json_of(&operator, 0, &["visits.csv", "--sizes", "10000000"]);

    assert_eq!(document["pools"][0]["guests"], 10_000_000);
}

#[test]
fn a_chart_is_a_picture_with_its_figures() {
    let operator = operator();
    let arguments = ["--rate", "1000/d", "--stay", "12m", "--sizes", "20,100"];
    let document = json_of(&operator, 0, &[&arguments[..], &["--chart", "pools.svg"]].concat());

    let svg = operator.read("pools.svg");

    let texts = texts_of_well_formed(&svg);
    let need = &document["need"];
    let each = "One identity each visitor: 29,887 billed, $1,372.42.";
    for text in [
        &format!("{need} refuse nobody"),
        &format!("From {need} guests on: {need} billed, $0.00."),
        each,
        "Guests in the pool",
        "Visitors refused, in %",
        "Guests billed in the dearest month",
        &format!("100 guests: {need}"),
        "100 guests: 0",
        "20 guests: 20",
        document["advice"].as_str().unwrap(),
    ] {
        assert!(texts.iter().any(|found| found == text), "{text} in {texts:#?}");
    }
}

#[test]
fn a_chart_of_one_visit_is_one_too() {
    let operator = operator();
    operator.write("one.csv", "arrival,stay\n5,5\n");

    let sizes = ["--sizes", "1,2,10000000"];
    let chart = ["plan-guests", "one.csv", "--chart", "one.svg"];
    operator.run(&[&chart[..], &sizes].concat()).with_exit(0);

    let texts = texts_of_well_formed(&operator.read("one.svg"));
    let count = |text: &str| texts.iter().filter(|found| *found == text).count();
    assert_eq!(count("1 visit, from 1970-01-01T00:00:05Z to 1970-01-01T00:00:05Z"), 1);
    assert_eq!(count("1 refuses nobody"), 1);
    assert_eq!(count("From 1 guest on: 1 billed, $0.00."), 1);
    assert_eq!(count("0.4"), 1, "guests are whole, only percentages are not: {texts:#?}");
    assert_eq!(count("10,000,000 guests: 1"), 0, "it is far beyond what is needed: {texts:#?}");
    assert_eq!(count("2 guests: 1"), 1, "{texts:#?}");
}

#[test]
fn a_bad_file_is_told_line_by_line() {
    let operator = operator();
    operator.write("bad.csv", "arrival,stay\nyesterday,5\n5,5\n5,long\n5,5,5\n");
    operator.write("worse.csv", &format!("arrival,stay\n{}", "x\n".repeat(1000)));
    operator.write("empty.csv", "");

    let told = |arguments: &[&str]| {
        let said = operator.run(&[&["plan-guests"], arguments].concat());
        assert_eq!((said.exit, said.out.as_str()), (Some(2), ""), "{said:#?}");
        said.err
    };

    assert_eq!(
        told(&["bad.csv"]),
        "vestibule: bad.csv:\n  \
         line 2 has the arrival \"yesterday\": neither a time like 2026-11-24T12:00:00Z, from 1970 on, nor seconds since then\n  \
         line 4 has the stay \"long\": neither a duration like 12m or 1h30m nor seconds\n  \
         line 5 is \"5,5,5\": not an arrival and a stay with a comma between\n"
    );
    assert_eq!(told(&["worse.csv"]).lines().count(), 1 + 10);
    assert_eq!(
        told(&["empty.csv"]),
        "vestibule: empty.csv:\n  holds no visit: below the header arrival,stay each visit is a line\n"
    );
    assert!(told(&["nowhere.csv"]).starts_with("vestibule: nowhere.csv cannot be read: "));
    assert!(told(&["."]).starts_with("vestibule: .:\n  line 1 cannot be read: "));
    let unwritten = told(&["visits.csv", "--chart", "nowhere/pools.svg"]);
    assert!(
        unwritten.starts_with("vestibule: nowhere/pools.svg cannot be written: "),
        "{unwritten}"
    );
}

#[test]
fn bad_usage_is_told() {
    let operator = operator();
    for (arguments, told) in [
        (&[][..], "required arguments were not provided"),
        (&["visits.csv", "--rate", "5/h", "--stay", "5m"], "cannot be used with"),
        (&["--rate", "5/h"], "--stay <12m>"),
        (&["visits.csv", "--stay", "5m"], "cannot be used with"),
        (&["visits.csv", "--for", "5d"], "cannot be used with"),
        (&["--stay", "5m"], "--rate <200/h>"),
        (&["--rate", "5", "--stay", "5m"], "write it like 200/h"),
        (&["--rate", "5/h", "--stay", "5"], "write it like 12m or 1h30m"),
        (&["--rate", "1/d", "--stay", "5m", "--for", "1s"], "nobody comes in that time"),
        (&["--rate", "5000/s", "--stay", "5m"], "visits are more than 10,000,000"),
        (&["visits.csv", "--sizes", "0"], "0 is not in 1..=10000000"),
        (&["visits.csv", "--sizes", "10000001"], "10000001 is not in 1..=10000000"),
        (&["visits.csv", "--sizes", "5,x"], "invalid value 'x'"),
        (&["visits.csv", "--lease", "10m"], "30m, a token's life, is longer than a lease, 10m"),
        (&["visits.csv", "--cooldown", "0s"], "0s, a cool-down, is not from 1s to 1d"),
    ] {
        let said = operator.run(&[&["plan-guests"], arguments].concat());
        assert_eq!((said.exit, said.out.as_str()), (Some(2), ""), "{said:#?}");
        assert!(said.err.contains(told), "{told} in {}", said.err);
    }
}

/// The texts of an XML document, once it is seen that each element is closed where it has to be, and nothing is bare.
fn texts_of_well_formed(xml: &str) -> Vec<String> {
    let mut open = Vec::new();
    let mut texts = Vec::new();
    let mut rest = xml.trim_end();
    while let Some(element) = rest.strip_prefix('<') {
        let (tag, after) = element.split_once('>').expect("a tag that ends");
        assert!(!tag.contains('<') && tag.matches('"').count() % 2 == 0, "<{tag}>");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "<{tag}>");
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap());
        }
        let (text, next) = after.split_at(after.find('<').unwrap_or(after.len()));
        assert!(!text.contains(['&', '>']), "{text}");
        texts.push(text.to_owned());
        rest = next;
    }
    assert!(open.is_empty() && rest.is_empty(), "{open:?} {rest}");
    texts
}
