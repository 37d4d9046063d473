//! On a terminal: colours, widths, questions.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use om_api::v1::{DestroyResponse, Phase};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::support::fake::directory;
use crate::support::program::{until, wait};
use crate::support::{Fake, Om, described, summary};

/// A program on a terminal of its own.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Terminal {
    fn run(om: &Om, columns: u16) -> Self {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&slave, size).unwrap();
        let stdio = || Stdio::from(slave.as_fd().try_clone_to_owned().unwrap());
        let mut command = om.command();
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        let child = command.spawn().unwrap();
        drop(command);
        drop(slave);
        let keyboard = File::from(master);
        let mut output = keyboard.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = screen.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The terminal's end reads as an error once nobody has its other side any more.
            while let Ok(count) = output.read(&mut bytes) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
                if count == 0 {
                    break;
                }
            }
        });
        Self { child, keyboard, screen, reader: Some(reader) }
    }

    fn shows(&self, text: &str) -> bool {
        self.screen.lock().unwrap().contains(text)
    }

    fn kind(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Exit code, and all that was shown.
    fn end(mut self) -> (Option<i32>, String) {
        let status = wait(&mut self.child);
        self.reader.take().unwrap().join().unwrap();
        let shown = self.screen.lock().unwrap().replace("\r\n", "\n");
        (status.code(), shown)
    }
}

#[test]
fn phases_are_coloured_on_a_terminal_only() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().services = vec![summary("db", 1, Phase::Failed, "no"), summary("web", 1, Phase::Ready, "")];
    let om = Om::within(dir.path()).args(["ls"]);
    let (code, shown) = Terminal::run(&om, 80).end();
    assert_eq!(code, Some(0));
    assert!(
        shown.contains("\u{1b}[32mready\u{1b}[0m") && shown.contains("\u{1b}[31mfailed\u{1b}[0m"),
        "{shown:?}"
    );
    for plain in [om.clone().env("NO_COLOR", "1"), om.clone().env("TERM", "dumb")] {
        let (_, shown) = Terminal::run(&plain, 80).end();
        assert!(shown.contains("ready") && !shown.contains('\u{1b}'), "{shown:?}");
    }
    assert!(!om.run(["-o", "table"]).fine().stdout.contains('\u{1b}'));
    let (_, shown) = Terminal::run(&om.args(["-o", "json"]), 80).end();
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn a_table_is_as_wide_as_the_terminal() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().services = vec![summary("web", 1, Phase::Degraded, &"word ".repeat(40))];
    let om = Om::within(dir.path()).env("NO_COLOR", "1").args(["ls"]);
    let (_, shown) = Terminal::run(&om, 70).end();
    assert!(shown.lines().count() > 4 && shown.lines().all(|line| line.len() <= 70), "{shown}");
    let piped = om.run::<&str>([]).fine().stdout;
    assert_eq!(piped.lines().count(), 2, "{piped}");
}

#[test]
fn nothing_from_a_service_commands_the_terminal() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().services = vec![summary("web", 1, Phase::Ready, "\u{1b}[2J\u{2061}gotcha\u{7}")];
    let om = Om::within(dir.path()).env("NO_COLOR", "1").args(["ls"]);
    let (_, shown) = Terminal::run(&om, 80).end();
    assert!(shown.contains("gotcha") && !shown.contains(['\u{1b}', '\u{7}']), "{shown:?}");
}

#[test]
fn destroying_asks_on_a_terminal() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().destroy_answer = DestroyResponse { revision: 2, done: true, ..Default::default() };
    let om = Om::within(dir.path()).args(["destroy", "web", "db"]);
    for (answer, code, count) in [("n\n", 1, 0), ("\n", 1, 0), ("y\n", 0, 2)] {
        let mut terminal = Terminal::run(&om, 80);
        until("it asks", || terminal.shows("Destroy web, db, with all that belongs to it? [y/N] "));
        terminal.kind(answer);
        let (ended, shown) = terminal.end();
        assert_eq!(ended, Some(code), "{shown}");
        assert_eq!(fake.calls("destroy").len(), count, "{shown}");
    }
}

#[test]
fn ctrl_c_at_the_question_ends_quietly() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let terminal = Terminal::run(&Om::within(dir.path()).args(["destroy", "web"]), 80);
    until("it asks", || terminal.shows("[y/N] "));
    let pid = rustix::process::Pid::from_child(&terminal.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(130), "{shown}");
    assert_eq!(fake.calls("destroy"), []);
}

#[test]
fn waiting_updates_a_line_a_service() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let path = dir.path().join("web.yaml");
    std::fs::write(&path, "kind: process\nname: web\n").unwrap();
    fake.script().describe.insert(
        "web".to_owned(),
        [
            Some(described("web", 10, Phase::Pending, "starting")),
            Some(described("web", 10, Phase::Ready, "")),
        ]
        .into(),
    );
    let om = Om::within(dir.path()).args(["commit".as_ref(), "--wait".as_ref(), path.as_os_str()]);
    let (code, shown) = Terminal::run(&om, 80).end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("web  \u{1b}[33mpending"), "{shown:?}");
    assert!(shown.contains("\u{1b}[1A\u{1b}[J"), "the line is drawn anew: {shown:?}");
    let table = shown.rsplit("\u{1b}[J").next().unwrap();
    assert!(table.starts_with("NAME   REVISION"), "the table stands alone at the end: {table:?}");
}

#[test]
fn an_error_is_red_on_a_terminal() {
    let dir = directory();
    let (code, shown) = Terminal::run(&Om::within(dir.path()).args(["ls"]), 80).end();
    assert_eq!(code, Some(6));
    assert!(shown.starts_with("\u{1b}[1;31merror:\u{1b}[0m no manager"), "{shown:?}");
}
