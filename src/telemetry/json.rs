//! An event as one line of JSON, as tracing-subscriber's flattened JSON has it, in a sixth of the time (`benches/pieces.rs`):
//! nothing is allocated nor serialized by way of traits, and the date is made once a second.

use std::cell::Cell;
use std::fmt::{self, Debug, Write as _};
#[cfg(feature = "inside")]
use std::io;
use std::io::Write;

use chrono::DateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::writer::Writer;

/// Writes each event as a line: `timestamp` and `level`, the event's own fields in their order, `target`. Spans are left out: none
/// of what we run opens one.
pub struct JsonLines {
    writer: Writer,
}

impl JsonLines {
    /// Lines on `out`.
    ///
    /// # Errors
    ///
    /// The system's, when it has no thread to give.
    #[cfg(feature = "inside")]
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        Ok(Self::new(Writer::start(out, lost)?))
    }

    pub(super) fn new(writer: Writer) -> Self {
        Self { writer }
    }
}

/// The line that stands where so many were lost.
pub(super) fn lost(lines: u64) -> Vec<u8> {
    let mut line = Line::default();
    line.begin("WARN");
    line.record_str_as("message", super::LOST);
    line.name("lines");
    line.number(&lines);
    line.end("vestibule::telemetry");
    line.bytes
}

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        thread_local! {
            // Taken while it is in use: a value that logs while it is written finds, and makes, another.
            static LINE: Cell<Line> = Cell::default();
        }
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        line.begin(event.metadata().level().as_str());
        event.record(&mut line);
        line.end(event.metadata().target());
        self.writer.push(&line.bytes);
        if line.bytes.capacity() <= Line::KEPT {
            let _thread_ends = LINE.try_with(|kept| kept.set(line));
        }
    }
}

/// A line as it grows. Used again, it keeps its beginning for as long as the second lasts.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    second: u64,
}

impl Line {
    /// The largest line, in bytes, whose memory a thread keeps.
    const KEPT: usize = 16 * 1024;

    /// What the lines of one second have in common: `{"timestamp":"2026-11-24T12:00:00`.
    const COMMON: usize = 33;

    fn begin(&mut self, level: &str) {
        let now = super::since_epoch();
        if self.second == now.as_secs() && self.bytes.len() > Self::COMMON {
            self.bytes.truncate(Self::COMMON);
        } else {
            self.second = now.as_secs();
            self.bytes.clear();
            let date = i64::try_from(self.second).ok().and_then(|s| DateTime::from_timestamp(s, 0));
            let date = date.unwrap_or_default().format("%Y-%m-%dT%H:%M:%S");
            let _infallible = write!(&mut self.bytes, "{{\"timestamp\":\"{date}");
        }
        let mut fraction = *b".000000Z";
        let mut micros = now.subsec_micros();
        for digit in fraction[1..7].iter_mut().rev() {
            *digit += (micros % 10) as u8;
            micros /= 10;
        }
        self.bytes.extend_from_slice(&fraction);
        self.bytes.extend_from_slice(b"\",\"level\":\"");
        self.bytes.extend_from_slice(level.as_bytes());
        self.bytes.push(b'"');
    }

    fn name(&mut self, name: &str) {
        self.bytes.extend_from_slice(b",\"");
        self.escape(name);
        self.bytes.extend_from_slice(b"\":");
    }

    fn record_str_as(&mut self, name: &str, value: &str) {
        self.name(name);
        self.bytes.push(b'"');
        self.escape(value);
        self.bytes.push(b'"');
    }

    /// A number or a bool; `null` for what JSON has no number for.
    fn number(&mut self, value: &impl serde::Serialize) {
        let _infallible = serde_json::to_writer(&mut self.bytes, value);
    }

    fn end(&mut self, target: &str) {
        self.record_str_as("target", target);
        self.bytes.extend_from_slice(b"}\n");
    }

    /// The inside of a JSON string (RFC 8259 §7).
    fn escape(&mut self, text: &str) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut plain = text.as_bytes();
        while let Some(at) =
            plain.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'))
        {
            self.bytes.extend_from_slice(&plain[..at]);
            let byte = plain[at];
            let short = match byte {
                b'"' | b'\\' => byte,
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x08 => b'b',
                0x0c => b'f',
                _ => b'u',
            };
            self.bytes.extend_from_slice(&[b'\\', short]);
            if short == b'u' {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                self.bytes.extend_from_slice(&[b'0', b'0', high, low]);
            }
            plain = &plain[at + 1..];
        }
        self.bytes.extend_from_slice(plain);
    }
}

/// Writes the inside of a JSON string.
impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.escape(text);
        Ok(())
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.name(field.name());
        self.number(&value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.name(field.name());
        self.number(&value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field.name());
        self.number(&value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field.name());
        self.number(&value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_str_as(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.name(field.name());
        self.bytes.push(b'"');
        // A value that cannot say what it is leaves what it has said.
        let _cut_short = write!(self, "{value:?}");
        self.bytes.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use proptest::prelude::*;
    use serde_json::Value;
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt;

    use super::super::writer::tests::Kept;
    use super::*;

    /// Everything that a field can be.
    #[derive(Clone, Debug)]
    struct Fields {
        text: String,
        signed: i64,
        unsigned: u64,
        wide: i128,
        float: f64,
        flag: bool,
        bytes: Vec<u8>,
        present: Option<String>,
    }

    fn log(fields: &Fields) {
        let Fields { text, signed, unsigned, wide, float, flag, bytes, present } = fields;
        let error = io::Error::other(text.clone());
        tracing::info!(
            target: "vestibule::\u{7}test",
            event = "mint",
            text,
            display = %text,
            debug = ?text,
            dotted.name = signed,
            "odd \"name\"\n" = unsigned,
            r#type = wide,
            float,
            flag,
            bytes = bytes.as_slice(),
            present,
            absent = Option::<u64>::None,
            error = &error as &(dyn Error + 'static),
            empty = tracing::field::Empty,
            "a message with {text:?}"
        );
        tracing::warn!(text);
        tracing::error!("alone");
    }

    fn lines_of(log: impl FnOnce()) -> String {
        thread_local! {
            // One for all cases of a test, since a writer's thread lives as long as the process.
            static KEPT: (Kept, Writer) = {
                let kept = Kept::default();
                (kept.clone(), Writer::start(kept, lost).unwrap())
            };
        }
        let (kept, writer) = KEPT.with(Clone::clone);
        let layer = JsonLines::new(writer.clone());
        with_default(tracing_subscriber::registry().with(layer), log);
        writer.flush();
        kept.take()
    }

    fn stock_lines_of(log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let out = kept.clone();
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(move || out.clone());
        with_default(tracing_subscriber::registry().with(layer), log);
        kept.take()
    }

    /// Lines without the fraction of a second, and the second that each has.
    fn dated(lines: &str) -> Vec<(i64, String)> {
        let dated = lines.lines().map(|line| {
            let (begin, rest) = line.split_once("\"timestamp\":\"").unwrap();
            let (date, rest) = rest.split_at("2026-11-24T12:00:00.000000Z".len());
            (DateTime::parse_from_rfc3339(date).unwrap().timestamp(), format!("{begin}{rest}"))
        });
        dated.collect()
    }

    proptest! {
        #[test]
        fn a_line_is_the_one_that_the_stock_format_writes(
            text in any::<String>(),
            more in prop::collection::vec(any::<char>(), 0..8),
            (signed, unsigned, wide, float, flag) in any::<(i64, u64, i128, f64, bool)>(),
            bytes in any::<Vec<u8>>(),
            ascii in prop::collection::vec(0_u8..128, 0..160),
        ) {
            let text = text + &more.into_iter().collect::<String>();
            let present = Some(String::from_utf8(ascii).unwrap());
            let fields = Fields { text, signed, unsigned, wide, float, flag, bytes, present };

            let ours = lines_of(|| log(&fields));
            let stock = stock_lines_of(|| log(&fields));

            let (ours, stock) = (dated(&ours), dated(&stock));
            prop_assert_eq!(ours.len(), 3);
            for ((our_second, ours), (second, stock)) in ours.iter().zip(&stock) {
                prop_assert_eq!(ours, stock);
                prop_assert!(second - our_second < 5, "{} {}", our_second, second);
            }
        }

        #[test]
        fn any_text_can_be_read_back(text in any::<String>(), ascii in prop::collection::vec(0_u8..128, 0..64)) {
            let text = text + &String::from_utf8(ascii).unwrap();

            let line = lines_of(|| tracing::info!(text, shown = %text));

            let line: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(line["text"].as_str(), Some(text.as_str()));
            prop_assert_eq!(line["shown"].as_str(), Some(text.as_str()));
        }
    }

    #[test]
    fn numbers_that_json_has_not_are_null() {
        let line = lines_of(|| tracing::info!(nan = f64::NAN, infinite = f64::INFINITY));

        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["nan"], &line["infinite"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn each_second_has_its_own_date() {
        let mut line = Line::default();
        line.begin("INFO");
        let (first, now) = (line.bytes.clone(), line.second);

        // What stands there is of another second, as it is after a pause.
        line.second = now - 1;
        line.bytes[14..Line::COMMON].fill(b'?');
        line.begin("INFO");

        assert!(!line.bytes.contains(&b'?'), "{:?}", String::from_utf8_lossy(&line.bytes));
        assert!(line.second >= now);
        assert_eq!(line.bytes.len(), first.len());
    }

    #[test]
    fn a_value_that_logs_while_it_is_written_harms_nobody() {
        struct Talkative;
        impl Debug for Talkative {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                tracing::info!("inner");
                f.write_str("outer")
            }
        }

        let lines = lines_of(|| tracing::info!(value = ?Talkative));

        for line in lines.lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
        assert!(lines.contains(r#""value":"outer""#), "{lines}");
    }

    #[test]
    fn a_gap_is_told_in_a_line_like_any_other() {
        let line = String::from_utf8(lost(7)).unwrap();

        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["lines"], &line["level"]), (&7.into(), &"WARN".into()));
        assert_eq!(line["message"], super::super::LOST);
    }
}
