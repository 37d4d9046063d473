//! The files of a replica: one certificate, which it serves by and dials others by, its key, and the CA of all.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::{ClientConfig, ServerConfig};

use super::credentials::{
    ClientTls, CredentialsError, Identity, Pem, ServerTls, client_config, server_config,
};

/// Where the certificates are, PEM each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The own certificate, and what stands between it and the CA.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The CA of everybody else.
    pub ca: PathBuf,
}

/// What was read from them. Clones, and what was taken from it, share it: a renewal counts for every connection that is
/// made after it, and leaves those alone that stand.
#[derive(Clone, Debug)]
pub struct Credentials {
    files: CredentialFiles,
    client: ClientTls,
    server: ServerTls,
}

impl Credentials {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// Which file cannot be used, and why: unreadable, no PEM, a key of another certificate, expired, not signed by the
    /// CA.
    pub fn read(files: CredentialFiles) -> Result<Self, CredentialsError> {
        let (client, server) = configs(&files)?;
        Ok(Self { files, client: ClientTls::of(client), server: ServerTls::of(server) })
    }

    /// Reads the files again. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Credentials::read`]; then what was there before stays in use. Certificate and key are two files, so who
    /// renews them may be halfway: try again.
    pub fn renew(&self) -> Result<(), CredentialsError> {
        let (client, server) = configs(&self.files)?;
        self.client.replace(client);
        self.server.replace(server);
        Ok(())
    }

    /// Whether those who connect to `host` will take this certificate for it.
    ///
    /// # Errors
    /// Whom it is for instead, or why no server can use it.
    pub fn check_host(&self, host: &str) -> Result<(), CredentialsError> {
        let ca = Pem::read("the CA certificate", &self.files.ca)?;
        Identity::read(&self.files.cert, &self.files.key)?.check_host(&ca, host)
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &CredentialFiles {
        &self.files
    }

    /// For dialling others.
    #[must_use]
    pub fn client(&self) -> ClientTls {
        self.client.clone()
    }

    /// For serving.
    #[must_use]
    pub fn server(&self) -> ServerTls {
        self.server.clone()
    }
}

fn configs(files: &CredentialFiles) -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), CredentialsError> {
    let ca = Pem::read("the CA certificate", &files.ca)?;
    let identity = Identity::read(&files.cert, &files.key)?;
    Ok((client_config(&ca, Some(&identity))?, server_config(&ca, &identity)?))
}
