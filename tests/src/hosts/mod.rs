//! Hosts of one machine: network namespaces, joined by a switch.
//!
//! Every [`Net`] is a world of its own: its hosts reach each other and nobody else, and two nets may use the same
//! addresses side by side. What runs in a host shares everything with the machine but the network: files, unix sockets,
//! clocks. So tests reach a program by its socket however badly its host is cut off, and records of all hosts have one
//! clock.
//!
//! A fault is silence, as of a dead switch or a lost cable: nobody's interface goes down, and no error comes back.
//! Neighbours are entered by hand, so that after [`Net::heal`] the very next packet arrives.

mod leftovers;

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use om_api::clock::since_boot;

// A link address that is nobody's: what goes there is heard by nobody.
const NOBODY: &str = "02:77:00:00:00:ff";

static NETS: AtomicU32 = AtomicU32::new(0);

/// A switch and the hosts on it. Gone when the last handle is: the net, its hosts, the beds and clusters on them.
#[derive(Clone)]
pub struct Net(Arc<Namespaces>);

/// One host.
#[derive(Clone)]
pub struct Host {
    net: Net,
    number: usize,
}

struct Namespaces {
    name: String,
    hosts: usize,
}

impl Net {
    /// Whether this process may make network namespaces: it is root, and `ip` is there.
    #[must_use]
    pub fn possible() -> bool {
        static POSSIBLE: OnceLock<bool> = OnceLock::new();
        *POSSIBLE.get_or_init(|| {
            let name = format!("{}probe", leftovers::prefix());
            let made = Command::new("ip").args(["netns", "add", &name]).output();
            let _ = Command::new("ip").args(["netns", "delete", &name]).output();
            made.is_ok_and(|output| output.status.success())
        })
    }

    /// A switch with so many hosts, numbered from 0.
    ///
    /// # Panics
    /// If the machine does not let us, or there are more than 200.
    #[must_use]
    pub fn new(hosts: usize) -> Self {
        assert!(hosts <= 200, "the addresses are not made for {hosts} hosts");
        leftovers::sweep();
        let name = format!("{}{}", leftovers::prefix(), NETS.fetch_add(1, Ordering::SeqCst));
        let net = Self(Arc::new(Namespaces { name, hosts }));
        net.build();
        net
    }

    /// A host.
    ///
    /// # Panics
    /// If there is none of this number.
    #[must_use]
    pub fn host(&self, number: usize) -> Host {
        assert!(number < self.0.hosts, "there are only {} hosts", self.0.hosts);
        Host { net: self.clone(), number }
    }

    /// All hosts.
    #[must_use]
    pub fn hosts(&self) -> Vec<Host> {
        (0..self.0.hosts).map(|number| self.host(number)).collect()
    }

    /// Cuts a host off from all others. Gives the moment before, in the clock of records.
    ///
    /// # Panics
    /// If that fails.
    pub fn cut_off(&self, host: usize) -> Duration {
        let before = since_boot();
        ip(&["-n", &self.switch(), "link", "set", &port(host), "nomaster"]);
        before
    }

    /// Cuts two hosts off from each other; all others still reach both. Gives the moment before.
    ///
    /// # Panics
    /// If that fails.
    pub fn cut(&self, one: usize, other: usize) -> Duration {
        let before = self.cut_one_way(one, other);
        self.cut_one_way(other, one);
        before
    }

    /// Loses what one host sends to another, and nothing of what comes back. Gives the moment before.
    ///
    /// # Panics
    /// If that fails.
    pub fn cut_one_way(&self, from: usize, to: usize) -> Duration {
        let before = since_boot();
        self.batch(&self.namespace(from), &[neighbour(to, NOBODY)]);
        before
    }

    /// Mends everything. Gives the moment after.
    ///
    /// # Panics
    /// If that fails.
    pub fn heal(&self) -> Duration {
        let ports: Vec<String> =
            (0..self.0.hosts).map(|host| format!("link set {} master switch", port(host))).collect();
        self.batch(&self.switch(), &ports);
        for host in 0..self.0.hosts {
            self.batch(&self.namespace(host), &self.neighbours(host));
        }
        since_boot()
    }

    fn build(&self) {
        ip(&["netns", "add", &self.switch()]);
        let mut switch =
            vec!["link add switch type bridge forward_delay 0".to_owned(), "link set switch up".to_owned()];
        for host in 0..self.0.hosts {
            let (port, namespace) = (port(host), self.namespace(host));
            ip(&["netns", "add", &namespace]);
            switch.push(format!("link add {port} type veth peer name eth0 netns {namespace}"));
            switch.push(format!("link set {port} master switch up"));
        }
        self.batch(&self.switch(), &switch);
        for host in 0..self.0.hosts {
            let mut lines = vec![
                "link set lo up".to_owned(),
                format!("link set eth0 address {}", link_address(host)),
                format!("address add {}/24 dev eth0", address(host)),
                "link set eth0 up".to_owned(),
            ];
            lines.extend(self.neighbours(host));
            self.batch(&self.namespace(host), &lines);
        }
    }

    fn neighbours(&self, of: usize) -> Vec<String> {
        let others = (0..self.0.hosts).filter(|host| *host != of);
        others.map(|host| neighbour(host, &link_address(host))).collect()
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.0.name)
    }

    fn namespace(&self, host: usize) -> String {
        format!("{}-{host}", self.0.name)
    }

    // Many changes by one run: it is several times as fast.
    fn batch(&self, namespace: &str, lines: &[String]) {
        let mut command = Command::new("ip");
        command.args(["-n", namespace, "-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("ip");
        let mut input = child.stdin.take().expect("its input");
        input.write_all((lines.join("\n") + "\n").as_bytes()).expect("its input");
        drop(input);
        let output = child.wait_with_output().expect("ip");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip in {namespace}: {said}\n{lines:#?}");
    }
}

impl Host {
    /// Its number.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// The net that it is on.
    #[must_use]
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Where the other hosts reach it.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        address(self.number)
    }

    /// A command that runs this program in the host, as a process whose pid is the program's own.
    #[must_use]
    pub fn command(&self, program: impl Into<PathBuf>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.net.namespace(self.number)));
        command.arg("--").arg(program.into());
        command
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in (0..self.hosts).map(|host| host.to_string()).chain(["switch".to_owned()]) {
            // Nothing more can be done about one that cannot be removed: the next test process tries again.
            let _ = Command::new("ip").args(["netns", "delete", &format!("{}-{name}", self.name)]).output();
        }
    }
}

fn port(host: usize) -> String {
    format!("port{host}")
}

fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(host + 1).expect("at most 200 hosts"))
}

fn link_address(host: usize) -> String {
    format!("02:77:00:00:00:{:02x}", host + 1)
}

fn neighbour(host: usize, link_address: &str) -> String {
    format!("neighbour replace {} lladdr {link_address} dev eth0 nud permanent", address(host))
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("ip");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {args:?}: {said}");
}
