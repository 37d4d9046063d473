//! Where the engine is, by flags and by the conventions of the `docker` command.

use std::path::{Path, PathBuf};

use bollard::{API_DEFAULT_VERSION, Docker};
use clap::Args;
use om_api::places;

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// Flags of this plugin.
#[derive(Args, Clone, Debug, Default)]
pub struct DockerFlags {
    /// The engine: unix:///PATH or tcp://HOST:PORT [default: unix:///var/run/docker.sock]
    #[arg(long, env = "DOCKER_HOST", value_name = "URL")]
    pub docker_host: Option<String>,
    /// Speak TLS to a tcp:// engine, with certificates both ways; anything but empty means yes
    #[arg(long, env = "DOCKER_TLS_VERIFY", value_name = "1", num_args = 0..=1, default_missing_value = "1")]
    pub docker_tls_verify: Option<String>,
    /// Directory with ca.pem, cert.pem and key.pem [default: ~/.docker]
    #[arg(long, env = "DOCKER_CERT_PATH", value_name = "DIR")]
    pub docker_cert_path: Option<PathBuf>,
}

/// An engine, and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerHost {
    url: String,
    way: Way,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    Unix,
    Tcp,
    Tls(PathBuf),
}

impl DockerFlags {
    /// The engine that they name.
    ///
    /// # Errors
    /// What is wrong with them, and what would be right.
    pub fn resolve(self) -> Result<DockerHost, String> {
        let url = self.docker_host.filter(|url| !url.is_empty()).unwrap_or_else(|| DEFAULT_HOST.to_owned());
        let tls = self.docker_tls_verify.is_some_and(|yes| !yes.is_empty());
        let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
        let way = match scheme {
            "unix" if rest.starts_with('/') => Way::Unix,
            "tcp" | "https" if !rest.is_empty() && (tls || scheme == "https") => {
                let given = self.docker_cert_path.filter(|path| !path.as_os_str().is_empty());
                let home = || Some(places::Env::from_process().home?.join(".docker"));
                let dir = given.or_else(home).ok_or(
                    "TLS to the engine needs certificates: --docker-cert-path DIR, with ca.pem, cert.pem and key.pem",
                )?;
                if let Some(missing) = FILES.iter().map(|name| dir.join(name)).find(|path| !path.is_file()) {
                    return Err(format!(
                        "{} is missing: TLS to the engine needs {} in --docker-cert-path",
                        missing.display(),
                        FILES.join(", ")
                    ));
                }
                Way::Tls(dir)
            }
            "tcp" | "http" if !rest.is_empty() => Way::Tcp,
            _ => {
                return Err(format!(
                    "--docker-host {url}: an engine is unix:///PATH or tcp://HOST:PORT (with --docker-tls-verify: by TLS)"
                ));
            }
        };
        Ok(DockerHost { url, way })
    }
}

const FILES: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

impl DockerHost {
    /// As it was given.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is on this host for certain.
    pub(crate) fn is_local(&self) -> bool {
        self.way == Way::Unix
    }

    /// A client; a unix socket must be there. Nothing is sent yet. `timeout`: seconds, for the beginning of an answer.
    pub(crate) fn client(&self, timeout: u64) -> Result<Docker, bollard::errors::Error> {
        match &self.way {
            Way::Unix => Docker::connect_with_unix(&self.url, timeout, API_DEFAULT_VERSION),
            Way::Tcp => Docker::connect_with_http(&self.url, timeout, API_DEFAULT_VERSION),
            Way::Tls(dir) => {
                let [ca, cert, key] = FILES.map(|name| dir.join(name));
                let (ca, cert, key): (&Path, &Path, &Path) = (&ca, &cert, &key);
                Docker::connect_with_ssl(&self.url, key, cert, ca, timeout, API_DEFAULT_VERSION)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(host: &str, tls: &str, certs: &Path) -> Result<DockerHost, String> {
        let flags = DockerFlags {
            docker_host: Some(host.to_owned()),
            docker_tls_verify: Some(tls.to_owned()),
            docker_cert_path: Some(certs.to_owned()),
        };
        flags.resolve()
    }

    #[test]
    fn an_engine_is_found_as_the_docker_command_finds_it() {
        let dir = tempfile::tempdir().unwrap();
        let way = |host: &str, tls: &str| resolve(host, tls, dir.path()).map(|host| host.way);
        assert_eq!(DockerFlags::default().resolve().unwrap().url(), DEFAULT_HOST);
        assert_eq!(way("", ""), Ok(Way::Unix));
        assert_eq!(way("unix:///tmp/s", "1"), Ok(Way::Unix));
        assert_eq!(way("tcp://engine:2375", ""), Ok(Way::Tcp));
        assert!(way("tcp://engine:2376", "1").unwrap_err().contains("ca.pem is missing"));
        for name in FILES {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(way("tcp://engine:2376", "1"), Ok(Way::Tls(dir.path().to_owned())));
        for bad in ["engine:2375", "unix://relative", "ssh://engine", "tcp://"] {
            assert!(way(bad, "").unwrap_err().contains("unix:///PATH"), "{bad}");
        }
    }
}
