use super::*;

const WORD: Form<String> = Form {
    read: |text| if text == "bad" { Err("is bad") } else { Ok(text.to_owned()) },
    mend: "Write a word.",
};
const SECRET: Form<String> = Form { read: |text| Ok(text.to_owned()), mend: "Write a secret." };

fn read<T>(
    file: &str,
    variables: &[(&str, &str)],
    read: impl FnOnce(&mut Section<'_, '_>) -> T,
) -> (T, Vec<String>) {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let read_file = |path: &Path| match path.to_str() {
        Some("there") => Ok("from the file\r\n".to_owned()),
        _ => Err(ErrorKind::NotFound.into()),
    };
    let (value, notes) =
        read_all(file.parse().unwrap(), variables, &read_file, Secrets::Needed, read);
    (value, notes.faults.iter().map(ToString::to_string).collect())
}

#[test]
fn a_variable_goes_before_the_file() {
    let (word, faults) = read(
        "[a]\nword = 'file'",
        &[("VESTIBULE__A__WORD", "variable"), ("HOME", "/root")],
        |root| root.within("a", |a| a.required("word", &WORD)),
    );

    assert_eq!(word.unwrap(), "variable");
    assert_eq!(faults, [""; 0]);
}

#[test]
fn a_fault_says_which_variable_it_came_from() {
    let (word, faults) =
        read("", &[("VESTIBULE__WORD", "bad")], |root| root.required("word", &WORD));

    assert_eq!(word, None);
    assert_eq!(faults, ["word (VESTIBULE__WORD) is bad. Write a word."]);
}

#[test]
fn what_nobody_asked_for_is_refused_with_the_nearest_name() {
    let ((), faults) = read(
        "wrod = 1\n[far.away]\nx = 1",
        &[("VESTIBULE__WROD", "x"), ("VESTIBULE__word", "x"), ("VESTIBULE__FAR", "x")],
        |root| {
            root.optional("word", &WORD, String::new());
        },
    );

    assert_eq!(
        faults,
        [
            "far is not a key of this version. Remove it; vestibule.example.toml lists every key.",
            "wrod is not a key of this version. Did you mean word?",
            "VESTIBULE__FAR is the variable of no key. Remove it; vestibule.example.toml lists every key.",
            "VESTIBULE__WROD is the variable of no key. Did you mean VESTIBULE__WORD?",
            "VESTIBULE__word is the variable of no key. Did you mean VESTIBULE__WORD?",
        ]
    );
}

#[test]
fn a_list_of_tables_is_as_long_as_the_variables_make_it() {
    let (words, faults) = read(
        "[[a]]\nword = 'first'",
        &[("VESTIBULE__A__1__WORD", "second"), ("VESTIBULE__A__7__WORD", "far")],
        |root| root.each("a", |a| a.required("word", &WORD)),
    );

    assert_eq!(words.unwrap(), ["first", "second"]);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].starts_with("VESTIBULE__A__7__WORD is the variable of no key."),
        "{faults:?}"
    );
}

#[test]
fn a_list_comes_from_a_variable_in_two_ways() {
    for text in ["one, two,", "['one', \"two\"]"] {
        let (words, faults) = read("words = []", &[("VESTIBULE__WORDS", text)], |root| {
            root.list("words", &WORD, &["three"])
        });

        assert_eq!(words.unwrap(), ["one", "two"], "{faults:?}");
    }
    let (words, _) = read("", &[], |root| root.list("words", &WORD, &["three"]));
    assert_eq!(words.unwrap(), ["three"]);
}

#[test]
fn every_item_of_a_list_is_looked_at() {
    let (words, faults) =
        read("words = ['bad', 'good', 3, 'bad']", &[], |root| root.list("words", &WORD, &[]));

    assert_eq!(words, None);
    assert_eq!(
        faults,
        [
            "words[0] is bad. Write a word.",
            "words[2] is not a string. Write a word.",
            "words[3] is bad. Write a word.",
        ]
    );
}

#[test]
fn a_switch_is_true_or_false_and_nothing_like_it() {
    for (variable, expected) in
        [("true", Some(true)), ("false", Some(false)), ("yes", None), ("", None)]
    {
        let (value, faults) =
            read("on = true", &[("VESTIBULE__ON", variable)], |root| root.switch("on", true));

        assert_eq!(
            (value, faults.len()),
            (expected, usize::from(expected.is_none())),
            "{variable}"
        );
    }
    assert_eq!(read("on = 'true'", &[], |root| root.switch("on", true)).0, None);
}

#[test]
fn a_secret_from_a_file_loses_its_last_line_end() {
    let (secret, faults) = read("key_file = 'there'", &[], |root| root.secret("key", &SECRET));

    assert_eq!(secret.unwrap().unwrap(), "from the file", "{faults:?}");
}

#[test]
fn a_secret_stands_in_one_place() {
    let (_, both) =
        read("key = 'x'", &[("VESTIBULE__KEY_FILE", "there")], |root| root.secret("key", &SECRET));
    let (_, away) = read("key_file = 'away'", &[], |root| root.secret("key", &SECRET));
    let (_, missing) = read("", &[], |root| root.required_secret("key", &SECRET));

    assert_eq!(both, ["key is set beside the same key with _file. Keep one of the two."]);
    assert_eq!(away, [format!("key_file names a file that is not there. {}", FILE.mend)]);
    assert_eq!(missing, ["key is missing. Write a secret."]);
}

#[test]
fn keys_of_a_table_that_is_none_are_not_missing_besides() {
    let (word, faults) = read("a = 3", &[], |root| root.within("a", |a| a.required("word", &WORD)));

    assert_eq!(word, None);
    assert_eq!(
        faults,
        ["a is not a table. Open it with its name in brackets on a line of its own."]
    );
}
