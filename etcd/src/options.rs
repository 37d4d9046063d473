//! How a cluster is reached, checked once.

use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};

/// How a cluster is reached.
#[derive(Clone)]
pub struct EtcdOptions {
    /// The members' client URLs: `http://host:port`, `https://host:port`, or `host:port`, which means https where `tls`
    /// is given and http otherwise.
    pub endpoints: Vec<String>,
    /// For https.
    pub tls: Option<Tls>,
    /// User and password.
    pub user: Option<(String, String)>,
    /// How long one attempt may take before the next endpoint is tried; failed attempts make the next ones longer.
    pub attempt: Duration,
    /// How long a watch may hear nothing before it asks whether its member still lives, and again before it goes to the
    /// next one.
    pub silence: Duration,
}

/// Certificates, all as PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// The certificates of the authorities that sign etcd's.
    pub ca: Vec<u8>,
    /// The own certificate and its key, where etcd wants one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The name in etcd's certificate, if it is not the endpoint's host.
    pub domain: Option<String>,
}

/// Options that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// There is no endpoint.
    #[error("no etcd endpoint is given: give the members' client URLs, such as http://10.0.0.1:2379")]
    NoEndpoint,
    /// An endpoint is no URL of a member.
    #[error("etcd endpoint {url:?}: {why}; wanted: http://HOST:PORT, https://HOST:PORT or HOST:PORT")]
    Endpoint {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate or a key cannot be used.
    #[error("the certificates for etcd cannot be used: {0}")]
    Tls(String),
    /// A duration cannot be used.
    #[error("{0} must be longer than nothing")]
    Duration(&'static str),
}

/// The ping that keeps a connection, and tells a dead one. etcd closes connections that ping more often than every 5 s.
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(2);

impl EtcdOptions {
    /// The options for these endpoints, and else the defaults: attempts of 100 ms, no TLS, no user.
    #[must_use]
    pub fn new<S: Into<String>>(endpoints: impl IntoIterator<Item = S>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            tls: None,
            user: None,
            attempt: Duration::from_millis(100),
            silence: Duration::from_secs(3),
        }
    }

    /// The URLs, whole and checked, and how to connect.
    pub(crate) fn check(&self) -> Result<(Vec<String>, ConnectOptions), OptionsError> {
        if self.endpoints.is_empty() {
            return Err(OptionsError::NoEndpoint);
        }
        for (duration, name) in [(self.attempt, "an attempt"), (self.silence, "the silence of a watch")] {
            if duration.is_zero() {
                return Err(OptionsError::Duration(name));
            }
        }
        let urls = self.endpoints.iter().map(|url| self.url(url)).collect::<Result<Vec<_>, _>>()?;
        let mut connect = ConnectOptions::new()
            .with_keep_alive(PING, PONG)
            .with_connect_timeout(CONNECT)
            .with_tcp_keepalive(PING);
        if let Some(tls) = &self.tls {
            let tls = tls.options();
            for url in urls.iter().filter(|url| url.starts_with("https://")) {
                tonic::transport::Endpoint::from_shared(url.clone())
                    .and_then(|endpoint| endpoint.tls_config(tls.clone()))
                    .map_err(|error| OptionsError::Tls(chain(&error)))?;
            }
            connect = connect.with_tls(tls);
        }
        Ok((urls, connect))
    }

    fn url(&self, given: &str) -> Result<String, OptionsError> {
        let bad = |why: &str| OptionsError::Endpoint { url: given.to_owned(), why: why.to_owned() };
        let trimmed = given.trim().trim_end_matches('/');
        let (scheme, rest) = match trimmed.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None if self.tls.is_some() => ("https", trimmed),
            None => ("http", trimmed),
        };
        match (scheme, &self.tls) {
            ("http", None) | ("https", Some(_)) => {}
            ("http", Some(_)) => return Err(bad("certificates are given, but http uses none: say https")),
            ("https", None) => {
                return Err(bad("https needs the certificate of the authority that signed etcd's"));
            }
            _ => return Err(bad("neither http nor https")),
        }
        if rest.contains(['/', '?', '#', '@']) {
            return Err(bad("there is more than a host and a port"));
        }
        let uri: tonic::codegen::http::Uri =
            format!("{scheme}://{rest}").parse().map_err(|error| bad(&format!("{error}")))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(bad("there is no host"));
        }
        if uri.port_u16().is_none_or(|port| port == 0) {
            return Err(bad("there is no port"));
        }
        Ok(format!("{scheme}://{rest}"))
    }
}

impl Tls {
    fn options(&self) -> TlsOptions {
        let mut options = TlsOptions::new().ca_certificate(Certificate::from_pem(&self.ca));
        if let Some((certificate, key)) = &self.identity {
            options = options.identity(Identity::from_pem(certificate, key));
        }
        if let Some(domain) = &self.domain {
            options = options.domain_name(domain);
        }
        options
    }
}

/// An error with its causes, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(given: &[&str], tls: bool) -> Result<Vec<String>, OptionsError> {
        let mut options = EtcdOptions::new(given.iter().copied());
        options.tls = tls.then(Tls::default);
        given.iter().map(|url| options.url(url)).collect()
    }

    #[test]
    fn a_host_and_port_is_a_url_of_the_scheme_that_the_certificates_call_for() {
        assert_eq!(
            urls(&["a:1", " http://b:2/ ", "[::1]:3"], false).unwrap(),
            ["http://a:1", "http://b:2", "http://[::1]:3"]
        );
        assert_eq!(urls(&["a:1", "https://b:2"], true).unwrap(), ["https://a:1", "https://b:2"]);
    }

    #[test]
    fn a_bad_endpoint_is_told_with_what_is_wrong() {
        for (url, tls, why) in [
            ("ftp://a:1", false, "neither"),
            ("http://a", false, "no port"),
            ("http://:1", false, ""),
            ("http://a:1/v3", false, "more than"),
            ("https://a:1", false, "authority"),
            ("http://a:1", true, "say https"),
            ("a b:1", false, ""),
        ] {
            let error = urls(&[url], tls).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(url) && error.contains("HOST:PORT"), "{error}");
        }
        assert_eq!(EtcdOptions::new([""; 0]).check().err(), Some(OptionsError::NoEndpoint));
    }

    #[test]
    fn a_bad_certificate_is_told_before_anything_is_connected() {
        let mut options = EtcdOptions::new(["https://a:1"]);
        let no_pem = || b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n".to_vec();
        options.tls = Some(Tls { ca: no_pem(), identity: Some((no_pem(), no_pem())), domain: None });
        let error = options.check().err().unwrap().to_string();
        assert!(error.contains("certificates"), "{error}");
    }
}
