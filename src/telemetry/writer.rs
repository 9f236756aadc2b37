//! Lines of the log on their way to standard error: callers leave them in a buffer, one thread writes them out.
//!
//! Owns the buffer, the thread, and what happens when nobody reads. Does not own what a line looks like. tracing-appender either
//! drops lines or waits for ever, writes and allocates each by itself, and can be flushed only by ending it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How many bytes may wait: some 15,000 lines. More, and a stop of the reader costs more memory; less, and a shorter one makes
/// callers wait.
const CAPACITY: usize = 4 * 1024 * 1024;

/// How many bytes are written at once: what a Linux pipe holds.
const BATCH: usize = 64 * 1024;

/// How long the thread lets lines gather after it has written all that there were. The first line after a silence does not
/// wait; without the pause, each line of a busy service would wake the thread, which costs more than writing it.
const PAUSE: Duration = Duration::from_millis(10);

/// How long a caller waits for room, and a flush for the reader.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long until what could not be written (a full disk, a reader that is gone) is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Takes lines and has them written in the order in which they came. Clones share the buffer.
#[derive(Clone)]
pub struct Writer {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// The thread has something to do.
    work: Condvar,
    /// The thread has taken or written something.
    progress: Condvar,
    /// Lines that were lost since the start.
    lost: AtomicU64,
    capacity: usize,
    patience: Duration,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<u8>,
    /// Lines that were lost behind those that wait, and that the log does not tell of yet. While there are any, every line is
    /// lost, so that the gap has one place.
    lost: u64,
    /// Whether the thread sleeps until there is work.
    idle: bool,
    /// Whether somebody waits for the thread: it makes no pause.
    hurry: bool,
    /// Bytes ever taken in and ever written.
    taken_in: u64,
    written: u64,
}

impl Writer {
    /// A writer on `out`. `tell` makes the line that stands where so many lines were lost.
    ///
    /// # Errors
    ///
    /// The system's, when it has no thread to give.
    pub fn start(
        out: impl Write + Send + 'static,
        tell: fn(lost: u64) -> Vec<u8>,
    ) -> io::Result<Self> {
        Self::start_with(out, tell, CAPACITY, PATIENCE)
    }

    fn start_with(
        out: impl Write + Send + 'static,
        tell: fn(lost: u64) -> Vec<u8>,
        capacity: usize,
        patience: Duration,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
            lost: AtomicU64::new(0),
            capacity,
            patience,
        });
        let writer = Self { shared: shared.clone() };
        thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_out(out, tell))?;
        Ok(writer)
    }

    /// Takes one line, its end included. When the buffer is full the caller waits, since a reader that is slow shall slow us
    /// down rather than miss something. When a caller has found no room for a second, lines are lost from then on until the
    /// reader takes some: counted, and told of in their place. A line bigger than the buffer is taken when nothing else waits.
    pub fn push(&self, line: &[u8]) {
        let Shared { work, progress, capacity, patience, .. } = &*self.shared;
        let full = |state: &State| {
            !state.waiting.is_empty() && state.waiting.len() + line.len() > *capacity
        };
        let mut state = self.shared.lock();
        if full(&state) {
            state.hurry = true;
            work.notify_one();
            let waits = |state: &mut State| state.lost == 0 && full(state);
            let woken = progress.wait_timeout_while(state, *patience, waits);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.lost > 0 || full(&state) {
            state.lost += 1;
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            // Nobody who waits needs to find out for himself.
            progress.notify_all();
            return;
        }
        state.waiting.extend(line);
        state.taken_in += line.len() as u64;
        if std::mem::take(&mut state.idle) {
            drop(state);
            work.notify_one();
        }
    }

    /// Returns when every line taken so far is written, or when the reader has left some for a second.
    pub fn flush(&self) {
        let mut state = self.shared.lock();
        let goal = state.taken_in;
        state.hurry = true;
        self.shared.work.notify_one();
        let waits = |state: &mut State| state.written < goal;
        let _written_or_late =
            self.shared.progress.wait_timeout_while(state, self.shared.patience, waits);
    }

    /// How many lines were lost since the start.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change of the state is whole, so that one who panics leaves it good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread does, as long as the process lives.
    fn write_out(&self, mut out: impl Write, tell: fn(u64) -> Vec<u8>) {
        let mut batch = vec![0; BATCH];
        loop {
            let mut state = self.lock();
            while state.waiting.is_empty() {
                state.idle = true;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.idle = false;
            let size = state.waiting.read(&mut batch).unwrap_or_default();
            if state.lost > 0 {
                let line = tell(std::mem::take(&mut state.lost));
                state.waiting.extend(&line);
                state.taken_in += line.len() as u64;
            }
            drop(state);
            self.progress.notify_all();
            write_whole(&mut out, &batch[..size]);

            let mut state = self.lock();
            state.written += size as u64;
            self.progress.notify_all();
            if state.waiting.is_empty() {
                let paused = self.work.wait_timeout_while(state, PAUSE, |state| !state.hurry);
                paused.unwrap_or_else(PoisonError::into_inner).0.hurry = false;
            }
        }
    }
}

/// Writes all of `bytes`, however long it takes.
fn write_whole(out: &mut impl Write, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => thread::sleep(RETRY),
            Ok(size) => bytes = &bytes[size..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // To the caller it is the same as a reader that takes nothing.
            Err(_) => thread::sleep(RETRY),
        }
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = &'a Writer;

    fn make_writer(&'a self) -> &'a Writer {
        self
    }
}

/// One write, one line: that is how tracing-subscriber's own formats come.
impl Write for &Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::PipeReader;
    use std::time::Instant;

    use super::*;

    /// What was written, to be looked at.
    #[derive(Clone, Default)]
    pub(in super::super) struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        pub(in super::super) fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const SHORT: Duration = Duration::from_millis(50);

    fn tell(lost: u64) -> Vec<u8> {
        format!("lost {lost}\n").into_bytes()
    }

    /// A writer on a pipe, with room for two batches, and who could read it.
    fn piped(patience: Duration) -> (Writer, PipeReader) {
        let (reader, out) = io::pipe().unwrap();
        (Writer::start_with(out, tell, 2 * BATCH, patience).unwrap(), reader)
    }

    /// The numbered lines that were kept, until one was not.
    fn fill(writer: &Writer) -> u64 {
        let mut kept = 0;
        loop {
            writer.push(format!("{kept:099}\n").as_bytes());
            if writer.lost() > 0 {
                return kept;
            }
            kept += 1;
        }
    }

    fn read(reader: &mut PipeReader, bytes: usize) -> String {
        let mut text = vec![0; bytes];
        reader.read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_of_many_threads_come_whole_and_each_threads_in_order() {
        let kept = Kept::default();
        let writer = Writer::start_with(kept.clone(), tell, 4096, Duration::from_mins(1)).unwrap();

        thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let writer = &writer;
                scope.spawn(move || {
                    for number in 0..5000 {
                        writer.push(format!("{name} {number}\n").as_bytes());
                    }
                });
            }
        });
        writer.flush();

        let text = kept.text();
        for name in ["a ", "b ", "c ", "d "] {
            let lines = text.lines().filter_map(|line| line.strip_prefix(name));
            assert!(lines.eq((0..5000).map(|number| number.to_string())), "{name}");
        }
        assert_eq!((text.lines().count(), writer.lost()), (20_000, 0));
    }

    #[test]
    fn a_line_after_a_silence_is_written_without_a_flush() {
        let (writer, mut reader) = piped(SHORT);
        thread::sleep(3 * PAUSE);

        writer.push(b"hello\n");

        assert_eq!(read(&mut reader, 6), "hello\n");
    }

    #[test]
    fn a_line_soon_after_another_is_written_without_a_flush() {
        let (writer, mut reader) = piped(SHORT);

        writer.push(b"hello\n");
        thread::sleep(PAUSE / 3);
        writer.push(b"again\n");

        assert_eq!(read(&mut reader, 12), "hello\nagain\n");
    }

    #[test]
    fn a_flush_does_not_wait_for_the_pause() {
        let kept = Kept::default();
        let writer = Writer::start(kept.clone(), tell).unwrap();

        for number in 0..100 {
            writer.push(format!("{number}\n").as_bytes());
            let begun = Instant::now();
            writer.flush();
            assert!(begun.elapsed() < PATIENCE, "it gave up");
            assert_eq!(kept.text().lines().count(), number + 1);
        }
    }

    #[test]
    fn a_reader_that_stops_costs_one_wait_and_the_gap_is_told_in_its_place() {
        let (writer, mut reader) = piped(SHORT);

        let begun = Instant::now();
        let kept = fill(&writer);
        let full = begun.elapsed();
        for _ in 0..1000 {
            writer.push(b"nobody hears this\n");
        }

        assert!(full >= SHORT, "it did not wait");
        assert!(begun.elapsed() < full + 200 * SHORT, "it waited for each");
        assert_eq!(writer.lost(), 1001);
        let told = "lost 1001\n";
        let text = read(&mut reader, usize::try_from(kept).unwrap() * 100 + told.len());
        let (lines, end) = text.split_at(text.len() - told.len());
        assert_eq!(end, told);
        assert!(lines.lines().eq((0..kept).map(|number| format!("{number:099}"))));
        writer.push(b"here again\n");
        assert_eq!(read(&mut reader, 11), "here again\n");
        assert_eq!(writer.lost(), 1001);
    }

    #[test]
    fn a_slow_reader_makes_callers_wait_and_loses_nothing() {
        let (writer, mut reader) = piped(Duration::from_mins(1));
        let read = thread::spawn(move || {
            let (mut part, mut bytes) = (vec![0; BATCH / 2], 0);
            while bytes < 10_000 * 100 {
                thread::sleep(Duration::from_millis(1));
                bytes += reader.read(&mut part).unwrap();
            }
            bytes
        });

        for number in 0..10_000 {
            writer.push(format!("{number:099}\n").as_bytes());
        }

        assert_eq!(writer.lost(), 0);
        assert_eq!(read.join().unwrap(), 10_000 * 100);
    }

    #[test]
    fn what_cannot_be_written_is_tried_again() {
        /// A disk that is full, then not.
        struct Full(Kept, u32);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1 += 1;
                match self.1 {
                    1 => Err(ErrorKind::Interrupted.into()),
                    2 => Err(ErrorKind::StorageFull.into()),
                    _ => self.0.write(&bytes[..1]),
                }
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let kept = Kept::default();
        let writer = Writer::start(Full(kept.clone(), 0), tell).unwrap();

        writer.push(b"hello\n");
        writer.flush();

        assert_eq!(kept.text(), "hello\n");
    }

    #[test]
    fn a_line_bigger_than_the_buffer_is_taken_when_nothing_waits() {
        let (writer, mut reader) = piped(Duration::from_secs(10));
        let long = "x".repeat(5 * BATCH) + "\n";
        let length = long.len();
        let text = thread::spawn(move || read(&mut reader, length + 6));

        writer.push(long.as_bytes());
        writer.push(b"short\n");

        assert_eq!(writer.lost(), 0);
        assert_eq!(text.join().unwrap(), long + "short\n");
    }
}
