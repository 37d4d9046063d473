//! The files of a replica: one certificate, which it serves by and dials others by, its key, and the CA of all.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

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
    ca: Arc<RwLock<Vec<u8>>>,
    client: ClientTls,
    server: ServerTls,
}

/// What one reading gives.
struct Read {
    ca: Vec<u8>,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Credentials {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// Which file cannot be used, and why: unreadable, no PEM, a key of another certificate, expired, not signed by the
    /// CA.
    pub fn read(files: CredentialFiles) -> Result<Self, CredentialsError> {
        let Read { ca, client, server } = read(&files)?;
        let (client, server) = (ClientTls::of(client), ServerTls::of(server));
        Ok(Self { files, ca: Arc::new(RwLock::new(ca)), client, server })
    }

    /// Reads the files again. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Credentials::read`]; then what was there before stays in use. Certificate and key are two files, so who
    /// renews them may be halfway: try again.
    pub fn renew(&self) -> Result<(), CredentialsError> {
        let Read { ca, client, server } = read(&self.files)?;
        *self.ca.write().unwrap_or_else(PoisonError::into_inner) = ca;
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

    /// The certificates of the CA, PEM: for who is to trust the same without having the file.
    #[must_use]
    pub fn ca_pem(&self) -> Vec<u8> {
        self.ca.read().unwrap_or_else(PoisonError::into_inner).clone()
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

fn read(files: &CredentialFiles) -> Result<Read, CredentialsError> {
    let ca = Pem::read("the CA certificate", &files.ca)?;
    let identity = Identity::read(&files.cert, &files.key)?;
    let (client, server) = (client_config(&ca, Some(&identity))?, server_config(&ca, &identity)?);
    Ok(Read { ca: ca.into_bytes(), client, server })
}
