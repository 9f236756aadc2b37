//! The floor plan is a wall: a room uses only the rooms that this table lists, and none above itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Room, its floor, and the rooms that it may use; from the top down.
const ROOMS: &[(&str, u8, &[&str])] = &[
    ("lib", 9, &["cli", "config", "service"]),
    (
        "cli",
        9,
        &[
            "clock",
            "config",
            "demo",
            "denials",
            "ids",
            "login",
            "mint",
            "oidc",
            "ops",
            "policy",
            "service",
            "store",
            "telemetry",
        ],
    ),
    ("demo", 8, &["config", "service"]),
    (
        "service",
        8,
        &[
            "config",
            "denials",
            "guests",
            "http",
            "identity",
            "limits",
            "login",
            "mint",
            "oidc",
            "ops",
            "seal",
            "sessions",
            "store",
            "telemetry",
            "token",
            "twilio",
        ],
    ),
    (
        "config",
        7,
        &[
            "denials",
            "guests",
            "http",
            "ids",
            "limits",
            "login",
            "mint",
            "oidc",
            "ops",
            "policy",
            "seal",
            "sessions",
            "store",
            "telemetry",
            "token",
            "twilio",
        ],
    ),
    (
        "http",
        6,
        &[
            "clock",
            "guests",
            "ids",
            "limits",
            "login",
            "mint",
            "oidc",
            "sessions",
            "store",
            "telemetry",
        ],
    ),
    (
        "ops",
        6,
        &[
            "clock",
            "denials",
            "identity",
            "ids",
            "mint",
            "oidc",
            "sessions",
            "store",
            "telemetry",
            "twilio",
        ],
    ),
    (
        "mint",
        5,
        &[
            "clock",
            "denials",
            "guests",
            "identity",
            "ids",
            "login",
            "oidc",
            "policy",
            "sessions",
            "store",
            "telemetry",
            "token",
        ],
    ),
    ("login", 4, &["clock", "ids", "limits", "oidc", "policy", "store"]),
    ("sessions", 4, &["clock", "ids", "oidc", "seal", "store"]),
    ("guests", 4, &["clock", "ids", "limits", "oidc", "store", "telemetry", "twilio"]),
    ("denials", 3, &["ids", "policy", "store"]),
    ("identity", 3, &["ids", "store", "telemetry"]),
    ("limits", 3, &["ids", "store"]),
    ("policy", 3, &["clock", "ids"]),
    ("token", 3, &["clock", "ids"]),
    ("store", 2, &["clock", "ids", "telemetry"]),
    ("twilio", 2, &["clock", "ids", "store", "telemetry"]),
    ("oidc", 2, &["clock", "ids", "telemetry"]),
    ("seal", 1, &[]),
    ("ids", 1, &[]),
    ("clock", 1, &[]),
    ("telemetry", 1, &[]),
];

#[test]
fn a_room_uses_only_the_rooms_that_the_plan_lists() {
    let used = arrows();

    for (room, targets) in &used {
        let (_, _, may) = ROOMS
            .iter()
            .find(|(name, ..)| name == room)
            .unwrap_or_else(|| panic!("{room} is in no plan"));
        for target in targets {
            assert!(
                may.contains(&target.as_str()),
                "{room} uses {target}, which the plan does not list"
            );
        }
    }
}

#[test]
fn the_plan_lists_nothing_that_no_room_uses() {
    let used = arrows();

    for (room, _, may) in ROOMS {
        for target in *may {
            assert!(
                used.get(*room).is_some_and(|used| used.contains(*target)),
                "{room} does not use {target}"
            );
        }
    }
}

#[test]
fn no_arrow_in_the_plan_points_up_and_none_leads_back() {
    let floor = |room: &str| {
        ROOMS.iter().find(|(name, ..)| *name == room).map(|(_, floor, _)| *floor).unwrap()
    };

    for (room, own, may) in ROOMS {
        for target in *may {
            assert!(floor(target) <= *own, "{room} → {target} points up");
            assert!(!reaches(target, room), "{target}, which {room} uses, leads back to it");
        }
    }
}

/// Whether the plan leads from one room to another, however many rooms there are between. It ends because no arrow points up, and
/// those of one floor are few.
fn reaches(from: &str, to: &str) -> bool {
    let (_, _, may) = ROOMS.iter().find(|(name, ..)| *name == from).unwrap();
    may.iter().any(|next| *next == to || reaches(next, to))
}

/// What each room uses, read from the sources.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut arrows = BTreeMap::<String, BTreeSet<String>>::new();
    for file in files(&source) {
        let within = file.strip_prefix(&source).unwrap();
        let room =
            within.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if room == "main" {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n");
        // What `inside` shows to benches is no arrow of the house.
        let code = code.split("pub mod inside").next().unwrap();
        let mut targets = named_after(code, if room == "lib" { "pub use " } else { "crate::" });
        if within.iter().count() == 1 {
            // A room of one file could also reach its neighbours this way.
            targets.extend(named_after(code, "super::"));
        }
        arrows
            .entry(room.clone())
            .or_default()
            .extend(targets.into_iter().filter(|target| *target != room));
    }
    arrows
}

/// The names that follow `marker`, one or a group in braces. Only those that are rooms or look like one count.
fn named_after(code: &str, marker: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(marker) {
        let rest = &code[at + marker.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => names.extend(first_word(&std::mem::take(&mut item))),
                    c if depth == 0 => item.push(c),
                    _ => {}
                }
            }
            names.extend(first_word(&item));
        } else {
            names.extend(first_word(rest));
        }
    }
    names
}

fn first_word(text: &str) -> Option<String> {
    let word: String =
        text.trim_start().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
    (!word.is_empty() && word != "inside").then_some(word)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
