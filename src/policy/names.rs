//! The names that a rule can use, and what was meant by another.

pub(super) const VARIABLES: [&str; 3] = ["claims", "now", "provider"];
pub(super) const TYPES: [&str; 10] = [
    "bool",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
    "optional_type",
];

/// Global functions with the fewest and the most arguments that they take.
pub(super) const GLOBALS: &[(&str, usize, usize)] = &[
    ("bool", 1, 1),
    ("domain", 1, 1),
    ("double", 1, 1),
    ("duration", 1, 1),
    ("dyn", 1, 1),
    ("has", 1, 1),
    ("int", 1, 1),
    ("lower", 1, 1),
    ("matches", 2, 2),
    ("sha256", 1, 1),
    ("size", 1, 1),
    ("string", 1, 1),
    ("timestamp", 1, 1),
    ("type", 1, 1),
    ("uint", 1, 1),
    ("uuid5", 2, 2),
];

/// Those that are called on something.
pub(super) const MEMBERS: &[(&str, usize, usize)] = &[
    ("all", 2, 2),
    ("contains", 1, 1),
    ("endsWith", 1, 1),
    ("exists", 2, 2),
    ("exists_one", 2, 2),
    ("filter", 2, 2),
    ("getDate", 0, 1),
    ("getDayOfMonth", 0, 1),
    ("getDayOfWeek", 0, 1),
    ("getDayOfYear", 0, 1),
    ("getFullYear", 0, 1),
    ("getHours", 0, 1),
    ("getMilliseconds", 0, 1),
    ("getMinutes", 0, 1),
    ("getMonth", 0, 1),
    ("getSeconds", 0, 1),
    ("hasValue", 0, 0),
    ("join", 0, 1),
    ("lowerAscii", 0, 0),
    ("map", 2, 3),
    ("matches", 1, 1),
    ("or", 1, 1),
    ("orValue", 1, 1),
    ("replace", 2, 2),
    ("size", 0, 0),
    ("split", 1, 1),
    ("startsWith", 1, 1),
    ("substring", 1, 2),
    ("trim", 0, 0),
    ("value", 0, 0),
];

/// Those of the namespace `optional`.
pub(super) const OPTIONALS: &[(&str, usize, usize)] =
    &[("none", 0, 0), ("of", 1, 1), ("ofNonZeroValue", 1, 1)];

/// Whether `name` stands in `table`.
pub(super) fn is_known(table: &[(&str, usize, usize)], name: &str) -> bool {
    table.iter().any(|(known, ..)| *known == name)
}

/// What other languages call otherwise.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    match name {
        "any" | "some" => Some("exists"),
        "every" => Some("all"),
        "select" | "where" => Some("filter"),
        "collect" => Some("map"),
        "includes" | "has" => Some("contains"),
        "len" | "length" | "count" => Some("size"),
        "toLowerCase" | "toLower" | "lowercase" | "downcase" => Some("lowerAscii"),
        "strip" => Some("trim"),
        "substr" | "slice" => Some("substring"),
        "test" | "match" | "regex" => Some("matches"),
        "str" | "toString" => Some("string"),
        _ => None,
    }
}

/// The known name that `unknown` is probably a slip of.
pub(super) fn nearest<'k>(unknown: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let far = (unknown.chars().count() / 3).max(1);
    let distance =
        |known: &str| strsim::osa_distance(&unknown.to_lowercase(), &known.to_lowercase());
    let known =
        known.map(|known| (distance(known), known)).filter(|(distance, _)| *distance <= far);
    known.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}
