//! Where every option comes from: flags beat environment, environment beats the file, the file beats defaults.
//!
//! The one place of the client that reads the environment.

mod security;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use om_api::places;
use om_api::socket::{Address, Security};
use serde::Deserialize;

use crate::args::{Format, Global};
use crate::failure::{Failure, Result};
use crate::timeout::parse_timeout;

/// The manager that is asked when nobody says which.
pub(crate) const DEFAULT_NAME: &str = "service";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The options of every command, resolved.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Whom to ask, or why that cannot be told: some commands ask nobody.
    pub(crate) target: Result<Target>,
    /// How TCP is spoken, or why that cannot be told.
    pub(crate) security: Result<Security>,
    /// How to print; `None`: nobody said.
    pub(crate) output: Option<Format>,
    /// For everything that ends by itself.
    pub(crate) timeout: Duration,
    /// Whether `--timeout` was given as a flag: then it ends streams too.
    pub(crate) timeout_given: bool,
    /// Whether to go to the leader when a follower answers.
    pub(crate) redirect: bool,
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Given as URLs, at least one.
    Endpoints(Vec<Address>),
    /// A socket in a directory.
    Named {
        /// The manager's name.
        name: String,
        /// The plugins directory.
        directory: PathBuf,
    },
}

impl Target {
    /// Where to ask, in order.
    pub(crate) fn endpoints(&self) -> Vec<Address> {
        match self {
            Self::Endpoints(addresses) => addresses.clone(),
            Self::Named { name, directory } => vec![Address::Unix(places::socket(directory, name))],
        }
    }
}

/// What a file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    name: Option<String>,
    endpoint: Option<OneOrMore>,
    output: Option<Format>,
    timeout: Option<String>,
    #[serde(alias = "no_redirect")]
    no_redirect: Option<bool>,
    #[serde(alias = "plugins_dir")]
    plugins_dir: Option<PathBuf>,
    #[serde(alias = "tls_ca")]
    tls_ca: Option<PathBuf>,
    #[serde(alias = "tls_cert")]
    tls_cert: Option<PathBuf>,
    #[serde(alias = "tls_key")]
    tls_key: Option<PathBuf>,
    insecure: Option<bool>,
    #[serde(flatten)]
    unknown: BTreeMap<String, toml::Value>,
}

/// A text, with commas or not, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

impl From<OneOrMore> for Vec<String> {
    fn from(given: OneOrMore) -> Self {
        match given {
            OneOrMore::One(text) => split(&text),
            OneOrMore::More(texts) => texts,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place of the client that reads the environment")]
fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?;
    Some(value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
}

/// Whether the environment asks for no colours (no-color.org), or the terminal has none.
pub(crate) fn colours_unwanted() -> bool {
    variable("NO_COLOR").is_some() || variable("TERM").as_deref() == Some("dumb")
}

/// What `OM_OUTPUT` says: to print an error before the command line is understood.
pub(crate) fn output_of_environment() -> Option<Format> {
    variable("OM_OUTPUT").and_then(|text| format(&text))
}

fn format(text: &str) -> Option<Format> {
    <Format as clap::ValueEnum>::from_str(text, false).ok()
}

/// Resolves the options.
pub(crate) fn resolve(flags: &Global) -> Result<Settings> {
    let file = match (&flags.config, variable("OM_CONFIG")) {
        (Some(path), _) => read(path, true)?,
        // The manager reads this variable too: its keys are none of ours.
        (None, Some(path)) => read(Path::new(&path), false)?,
        (None, None) => File::default(),
    };
    let output = match (flags.output, variable("OM_OUTPUT")) {
        (Some(given), _) => Some(given),
        (None, Some(text)) => Some(format(&text).ok_or_else(|| {
            Failure::usage(format!("OM_OUTPUT={text} is no output format")).hint("table, json or yaml")
        })?),
        (None, None) => file.output,
    };
    let timeout = match (&flags.timeout, variable("OM_TIMEOUT"), file.timeout) {
        (Some(text), _, _) => parse_timeout(text)?,
        (None, Some(text), _) => parse_timeout(&text).map_err(|failure| failure.about("OM_TIMEOUT"))?,
        (None, None, Some(text)) => parse_timeout(&text)?,
        (None, None, None) => DEFAULT_TIMEOUT,
    };
    let no_redirect = flags.no_redirect
        || variable("OM_NO_REDIRECT").map(|text| text != "0" && text != "false").or(file.no_redirect)
            == Some(true);

    let in_file = security::Said {
        ca: file.tls_ca,
        cert: file.tls_cert,
        key: file.tls_key,
        insecure: file.insecure == Some(true),
    };
    let security = security::resolve([security::Said::by_flags(flags), security_of_environment(), in_file]);
    let target = target(flags, file.name, file.endpoint.map(Vec::from), file.plugins_dir);
    let timeout_given = flags.timeout.is_some();
    Ok(Settings { target, security, output, timeout, timeout_given, redirect: !no_redirect })
}

fn security_of_environment() -> security::Said {
    let file = |name| variable(name).map(PathBuf::from);
    security::Said {
        ca: file("OM_TLS_CA"),
        cert: file("OM_TLS_CERT"),
        key: file("OM_TLS_KEY"),
        insecure: variable("OM_INSECURE").is_some_and(|text| text != "0" && text != "false"),
    }
}

/// Name and endpoint are one question: whichever stands at the stronger place answers it.
fn target(
    flags: &Global,
    file_name: Option<String>,
    file_endpoint: Option<Vec<String>>,
    file_directory: Option<PathBuf>,
) -> Result<Target> {
    let at = |name: Option<String>, endpoints: Option<Vec<String>>| match (endpoints, name) {
        (Some(urls), _) => Some(Whom::Endpoints(urls)),
        (None, Some(name)) => Some(Whom::Name(name)),
        (None, None) => None,
    };
    let given = Some(flags.endpoint.clone()).filter(|given| !given.is_empty());
    if flags.name.is_some() && given.is_some() {
        return Err(
            Failure::usage("--name and --endpoint are both given").hint("one of them names the manager")
        );
    }
    // Whoever gives a directory wants a socket in it.
    let elsewhere = |endpoints: Option<Vec<String>>| endpoints.filter(|_| flags.plugins_dir.is_none());
    let in_environment = variable("OM_ENDPOINT").map(|text| split(&text));
    let whom = at(flags.name.clone(), given)
        .or_else(|| at(variable("OM_NAME"), elsewhere(in_environment)))
        .or_else(|| at(file_name, elsewhere(file_endpoint)))
        .unwrap_or_else(|| Whom::Name(DEFAULT_NAME.to_owned()));
    match whom {
        Whom::Endpoints(urls) => {
            let addresses = urls.iter().map(|url| url.parse::<Address>()).collect::<Result<Vec<_>, _>>();
            let addresses = addresses.map_err(|cause| Failure::usage(cause.to_string()))?;
            if addresses.is_empty() {
                return Err(Failure::usage("no endpoint is given").hint("unix:///path or tcp://host:port"));
            }
            Ok(Target::Endpoints(addresses))
        }
        Whom::Name(name) => {
            om_api::names::check_socket(&name).map_err(Failure::usage)?;
            let said = flags.plugins_dir.clone().or_else(|| variable("OM_PLUGINS_DIR").map(PathBuf::from));
            let directory = match said.or(file_directory) {
                Some(directory) => std::path::absolute(directory)
                    .map_err(|cause| Failure::usage(format!("the plugins directory: {cause}")))?,
                None => places::plugins_dir(&places::Env::from_process()).map_err(Failure::usage)?,
            };
            Ok(Target::Named { name, directory })
        }
    }
}

enum Whom {
    Endpoints(Vec<String>),
    Name(String),
}

fn read(path: &Path, strict: bool) -> Result<File> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|cause| Failure::usage(format!("cannot read the configuration {shown}: {cause}")))?;
    let file: File = toml::from_str(&text).map_err(|cause| {
        let (line, column) = cause.span().map_or((1, 1), |span| position(&text, span.start));
        Failure::usage(format!("{shown}:{line}:{column}: {}", cause.message()))
    })?;
    match file.unknown.keys().next() {
        Some(key) if strict => Err(Failure::usage(format!("{shown}: unknown key {key:?}"))
            .hint(
                "it may have: name, endpoint, output, timeout, no-redirect, plugins-dir, tls-ca, tls-cert, tls-key, insecure",
            )),
        _ => Ok(file),
    }
}

/// Line and column, from 1, of a byte.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
