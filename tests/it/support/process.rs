//! A program that runs beside the tests and never outlives them.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Starts a program in the background, and removes its scratch folder and kills the whole process group when its own input
/// ends: when the [`Process`] is dropped, and also when the test binary dies without dropping anything, since the kernel
/// then closes the pipe.
const GUARD: &str = r#"scratch=$1; shift
"$@" 2>&1 &
exec >/dev/null 2>&1
read -r _
[ -z "$scratch" ] || rm -rf "$scratch"
kill -KILL 0"#;

/// A running program; dropping it kills the program and its children.
pub struct Process {
    name: String,
    guard: Child,
    lines: UnboundedReceiver<String>,
    seen: Vec<String>,
}

impl Process {
    /// Starts the program.
    ///
    /// # Panics
    ///
    /// When it is not installed, with how to install it.
    pub fn start(command: &Command) -> Self {
        Self::start_in("", command)
    }

    /// Like [`Process::start`]; the folder `scratch` is removed when the program ends.
    pub fn start_in(scratch: impl AsRef<OsStr>, command: &Command) -> Self {
        let program = Path::new(command.get_program());
        let found = if program.components().count() > 1 {
            program.exists()
        } else {
            on_path(program).is_some()
        };
        assert!(
            found,
            "{} is missing: run ./tests/run once, it installs what the tests need",
            program.display()
        );

        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(scratch).arg(program).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => guard.env(name, value),
                None => guard.env_remove(name),
            };
        }
        guard.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);

        let mut guard = guard.spawn().expect("sh starts");
        let lines = read_lines(guard.stdout.take().expect("its output is a pipe"));
        Self { name: program.display().to_string(), guard, lines, seen: Vec::new() }
    }

    /// The first line of output, from now on, that `pick` makes something of.
    ///
    /// # Panics
    ///
    /// When the program ends or stays silent for `patience`, with all that it said.
    pub async fn wait_for<T>(&mut self, patience: Duration, pick: impl Fn(&str) -> Option<T>) -> T {
        let waiting = async {
            while let Some(line) = self.lines.recv().await {
                let picked = pick(&line);
                self.seen.push(line);
                if picked.is_some() {
                    return picked;
                }
            }
            None
        };
        let found = tokio::time::timeout(patience, waiting).await;
        let what = if found.is_err() { "said nothing useful in time" } else { "ended early" };
        found
            .ok()
            .flatten()
            .unwrap_or_else(|| panic!("{} {what}; it said:\n{}", self.name, self.seen.join("\n")))
    }

    /// What it has said, up to the line that was last waited for.
    pub fn said(&self) -> &[String] {
        &self.seen
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// A file of the end-to-end tests' npm project and Keycloak's.
pub fn e2e(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e").join(path)
}

/// What `./tests/run` unpacked.
pub fn tools(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools").join(path)
}

fn on_path(program: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.exists())
}

// A thread, not a task: a program that many tests share outlives the runtime of the test that started it.
fn read_lines(output: ChildStdout) -> UnboundedReceiver<String> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
