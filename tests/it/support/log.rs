//! What the services of this test process log: everything of ours, and of libraries what the default filter lets through.

use std::io::Write;
use std::sync::{LazyLock, Mutex, Once};

static LINES: LazyLock<Mutex<String>> = LazyLock::new(Mutex::default);

struct Buffer;

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Starts to listen, once for the process.
pub fn start() {
    static START: Once = Once::new();
    START.call_once(|| {
        let filter = tracing_subscriber::EnvFilter::new("vestibule=trace,info");
        tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_env_filter(filter)
            .with_writer(|| Buffer)
            .init();
    });
}

/// The log lines that hold `text`.
pub fn lines_with(text: &str) -> Vec<String> {
    LINES.lock().unwrap().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}
