//! The hub's keys in a directory of their own: made once by `init`, opened at every start.
//!
//! The directory is made whole or not at all (written beside its place, then renamed), so a crash leaves no half
//! of a hub's identity. A file that others could read is refused rather than repaired: it may have been read.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use secrecy::SecretBox;
use zeroize::Zeroizing;

use super::{CertificateAuthority, IssuedCertificate, P256Key, Tokens, p256::pem_block};
use crate::{
    audit::CheckpointSigner,
    domain::{Clock, Timestamp},
    error::{Error, Reason, Result},
};

const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const SERVER_KEY: &str = "server.key";
const LOG_KEY: &str = "log.key";
const GRANT_KEY: &str = "grant.key";
const TOKEN_KEY: &str = "token.key";
const MASK_SECRET: &str = "mask.secret";
const PAGE_SECRET: &str = "page.secret";
/// More than any of the files needs.
const MAX_FILE_BYTES: u64 = 64 * 1_024;

/// All keys of a hub. Private halves are wiped from memory when it is dropped.
pub struct KeyStore {
    authority: Arc<CertificateAuthority>,
    server: P256Key,
    log: Arc<LogSigner>,
    tokens: Arc<Tokens>,
    mask: SecretBox<[u8; 32]>,
    page: SecretBox<[u8; 32]>,
}

impl KeyStore {
    /// Makes all keys of a new hub in `dir`, which must not exist or be empty.
    ///
    /// `hub_id` is at most 64 of `[a-z0-9._-]` and starts with a letter or digit: a SPIFFE trust domain that fits
    /// the common name of a certificate.
    pub fn init(dir: &Path, hub_id: &str, clock: &dyn Clock) -> Result<Self> {
        check_hub_id(hub_id)?;
        let ca_key = P256Key::generate()?;
        let ca_key_pem = ca_key.to_pem();
        let authority = CertificateAuthority::create(hub_id, ca_key, clock.now())?;
        let log = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8());
        let log = log.map_err(|_| Error::internal("an Ed25519 key could not be generated"))?;

        let staging = Staging::beside(dir)?;
        staging.write(CA_CERTIFICATE, authority.certificate_pem().as_bytes())?;
        staging.write(CA_KEY, ca_key_pem.as_bytes())?;
        staging.write(LOG_KEY, pem_block("PRIVATE KEY", log.as_ref()).as_bytes())?;
        for name in [SERVER_KEY, GRANT_KEY, TOKEN_KEY] {
            staging.write(name, P256Key::generate()?.to_pem().as_bytes())?;
        }
        for name in [MASK_SECRET, PAGE_SECRET] {
            staging.write(name, Zeroizing::new(super::random::<32>()?).as_slice())?;
        }
        staging.publish(dir)?;
        Self::open(dir)
    }

    /// Opens the keys in `dir`. Refuses if one is missing, damaged, or accessible to others than its owner.
    pub fn open(dir: &Path) -> Result<Self> {
        let metadata = fs::metadata(dir).map_err(|e| unusable("the key directory", &read_detail(&e)))?;
        require_private("the key directory", &metadata, "chmod 700")?;
        let key = |name: &'static str| P256Key::from_pem(&read_text(dir, name)?).map_err(|e| unusable(name, &e));
        let authority = CertificateAuthority::open(&read_text(dir, CA_CERTIFICATE)?, key(CA_KEY)?)?;
        check_hub_id(authority.hub_id())?;
        let log = LogSigner::from_pem(authority.hub_id(), &read_text(dir, LOG_KEY)?)?;
        let tokens = Tokens::new(authority.hub_id(), &key(GRANT_KEY)?, &key(TOKEN_KEY)?)?;
        Ok(Self {
            server: key(SERVER_KEY)?,
            log: Arc::new(log),
            tokens: Arc::new(tokens),
            mask: read_secret(dir, MASK_SECRET)?,
            page: read_secret(dir, PAGE_SECRET)?,
            authority: Arc::new(authority),
        })
    }

    /// The hub's id, fixed at `init`.
    pub fn hub_id(&self) -> &str {
        self.authority.hub_id()
    }

    /// The certificate authority.
    pub const fn authority(&self) -> &Arc<CertificateAuthority> {
        &self.authority
    }

    /// Signs checkpoints of the audit log.
    pub const fn log_signer(&self) -> &Arc<LogSigner> {
        &self.log
    }

    /// Signs grants and access tokens, and verifies the latter.
    pub const fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }

    /// The key of masked values (HMAC-SHA-256), 32 bytes.
    pub const fn mask_secret(&self) -> &SecretBox<[u8; 32]> {
        &self.mask
    }

    /// The key of page tokens (authenticated encryption), 32 bytes.
    pub const fn page_secret(&self) -> &SecretBox<[u8; 32]> {
        &self.page
    }

    /// A certificate for the hub's listeners, over the stored server key.
    pub fn server_certificate(&self, names: &[String], now: Timestamp) -> Result<IssuedCertificate> {
        self.authority.issue_server(&self.server, names, now)
    }

    /// The private key of the listeners as PEM.
    pub fn server_key_pem(&self) -> Zeroizing<String> {
        self.server.to_pem()
    }
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStore").field("hub_id", &self.hub_id()).finish_non_exhaustive()
    }
}

/// The log's Ed25519 key (C2SP signed-note); the origin is `<hub_id>/audit`.
pub struct LogSigner {
    origin: String,
    pair: Ed25519KeyPair,
    public_key: [u8; 32],
}

impl LogSigner {
    fn from_pem(hub_id: &str, pem: &str) -> Result<Self> {
        let damaged = || unusable(LOG_KEY, &"not an Ed25519 key in PKCS#8 PEM");
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| damaged())?;
        let pair = Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| damaged())?;
        let public_key = pair.public_key().as_ref().try_into().map_err(|_| damaged())?;
        Ok(Self { origin: format!("{hub_id}/audit"), pair, public_key })
    }
}

impl CheckpointSigner for LogSigner {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        let failed = || Error::internal("a checkpoint could not be signed");
        let signature = self.pair.try_sign(message).map_err(|_| failed())?;
        signature.as_ref().try_into().map_err(|_| failed())
    }
}

impl fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSigner").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// A directory that disappears unless it is published.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn beside(dir: &Path) -> Result<Self> {
        let name = dir.file_name().ok_or_else(|| unusable("the key directory", &"its path has no last part"))?;
        let mut staged = name.to_owned();
        staged.push(format!(".new-{}", super::hex(&super::random::<6>()?)));
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(|e| write_failed(&e))?;
        }
        let path = dir.with_file_name(staged);
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|e| write_failed(&e))?;
        Ok(Self { path })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let write = |mut file: File| file.write_all(bytes).and_then(|()| file.sync_all());
        options.open(self.path.join(name)).and_then(write).map_err(|e| write_failed(&e))
    }

    /// Takes the place of `dir` in one step; fails if something is there.
    fn publish(&self, dir: &Path) -> Result<()> {
        let sync = |path: &Path| File::open(path).and_then(|dir| dir.sync_all());
        sync(&self.path).map_err(|e| write_failed(&e))?;
        fs::rename(&self.path, dir).map_err(|e| match e.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                Error::new(Reason::AlreadyExists).with("object", "the key directory")
            }
            _ => write_failed(&e),
        })?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        sync(parent).map_err(|e| write_failed(&e))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Gone already if it was published; otherwise nothing of use is in it.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn check_hub_id(hub_id: &str) -> Result<()> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    let starts_well = hub_id.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if starts_well && hub_id.len() <= 64 && hub_id.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Error::invalid("hub_id", "at most 64 of a-z, 0-9, dot, dash and underscore, first a letter or digit"))
    }
}

/// Reads a file through the handle whose permissions were checked.
fn read(dir: &Path, name: &'static str) -> Result<Zeroizing<Vec<u8>>> {
    let failed = |e: io::Error| unusable(name, &read_detail(&e));
    let file = File::open(dir.join(name)).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    require_private(name, &metadata, "chmod 600")?;
    // Reserved at once: a growing buffer would leave copies behind that nothing wipes.
    let size = usize::try_from(metadata.len().min(MAX_FILE_BYTES)).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 64));
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn read_text(dir: &Path, name: &'static str) -> Result<Zeroizing<String>> {
    let bytes = read(dir, name)?;
    let text = str::from_utf8(&bytes).map_err(|_| unusable(name, &"not a PEM file"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn read_secret(dir: &Path, name: &'static str) -> Result<SecretBox<[u8; 32]>> {
    let bytes = read(dir, name)?;
    let secret: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| unusable(name, &"not 32 bytes"))?;
    Ok(SecretBox::init_with_mut(|inner: &mut [u8; 32]| inner.copy_from_slice(secret)))
}

fn require_private(name: &str, metadata: &fs::Metadata, remedy: &str) -> Result<()> {
    let mode = metadata.permissions().mode() & 0o777;
    let of_others = mode & 0o077;
    if of_others == 0 {
        Ok(())
    } else {
        Err(unusable(name, &format_args!("others may access it (mode {mode:04o}); if nobody has, run `{remedy}`")))
    }
}

fn read_detail(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist: run `odh init`, or restore it from the backup",
        io::ErrorKind::PermissionDenied => "this user may not read it",
        _ => "it cannot be read",
    }
}

fn write_failed(error: &io::Error) -> Error {
    Error::internal(format_args!("the keys could not be written: {error}"))
}

fn unusable(name: &str, detail: &dyn fmt::Display) -> Error {
    Error::invalid("keys", format_args!("{name}: {detail}"))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::domain::ManualClock;

    fn clock() -> ManualClock {
        ManualClock::new("2026-11-23".parse().unwrap())
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn keys_are_private_and_the_same_when_opened_again() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("deep/keys");
        let made = KeyStore::init(&dir, "hub.example", &clock()).unwrap();
        assert_eq!(mode(&dir), 0o700);
        let files: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 8);
        assert!(files.iter().all(|file| mode(file) == 0o600));

        let opened = KeyStore::open(&dir).unwrap();
        assert_eq!(opened.hub_id(), "hub.example");
        assert_eq!(opened.log_signer().public_key(), made.log_signer().public_key());
        assert_eq!(opened.tokens().jwks(), made.tokens().jwks());
        assert_eq!(opened.mask_secret().expose_secret(), made.mask_secret().expose_secret());
        assert_ne!(opened.mask_secret().expose_secret(), opened.page_secret().expose_secret());
        assert_ne!(opened.mask_secret().expose_secret(), &[0; 32]);
        assert_eq!(opened.server_key_pem(), made.server_key_pem());
        // Nothing but the published directory is left behind.
        assert_eq!(fs::read_dir(dir.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_or_directory_that_others_may_read_is_refused_by_name() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("keys");
        KeyStore::init(&dir, "hub.example", &clock()).unwrap();
        for name in [CA_KEY, SERVER_KEY, LOG_KEY, GRANT_KEY, TOKEN_KEY, MASK_SECRET, PAGE_SECRET] {
            let file = dir.join(name);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
            let error = KeyStore::open(&dir).unwrap_err();
            assert!(error.message_en().contains(name) && error.message_en().contains("0640"), "{error}");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(KeyStore::open(&dir).unwrap_err().message_en().contains("chmod 700"));
    }

    #[test]
    fn missing_and_damaged_files_are_named() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("keys");
        KeyStore::init(&dir, "hub.example", &clock()).unwrap();
        for name in [CA_CERTIFICATE, CA_KEY, SERVER_KEY, LOG_KEY, GRANT_KEY, TOKEN_KEY, MASK_SECRET, PAGE_SECRET] {
            let good = fs::read(dir.join(name)).unwrap();
            fs::write(dir.join(name), b"x").unwrap();
            assert!(KeyStore::open(&dir).unwrap_err().message_en().contains(name), "damaged {name}");
            fs::remove_file(dir.join(name)).unwrap();
            assert!(KeyStore::open(&dir).unwrap_err().message_en().contains(name), "missing {name}");
            let staging = Staging { path: dir.clone() };
            staging.write(name, &good).unwrap();
            std::mem::forget(staging);
        }
        KeyStore::open(&dir).unwrap();
    }

    #[test]
    fn keys_are_never_overwritten() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("keys");
        let first = KeyStore::init(&dir, "hub.example", &clock()).unwrap();
        let error = KeyStore::init(&dir, "hub.example", &clock()).unwrap_err();
        assert_eq!(error.reason(), Reason::AlreadyExists);
        let after = KeyStore::open(&dir).unwrap();
        assert_eq!(first.log_signer().public_key(), after.log_signer().public_key());
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_hub_id_is_a_trust_domain() {
        let temp = tempfile::tempdir().unwrap();
        for bad in ["", "Hub", "hub/x", "hub example", ".hub", "é", &"a".repeat(65)] {
            let error = KeyStore::init(&temp.path().join("keys"), bad, &clock()).unwrap_err();
            assert_eq!(error.reason(), Reason::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn checkpoints_are_signed_with_the_published_key() {
        let temp = tempfile::tempdir().unwrap();
        let keys = KeyStore::init(&temp.path().join("keys"), "hub.example", &clock()).unwrap();
        let signer: &dyn CheckpointSigner = keys.log_signer().as_ref();
        assert_eq!(signer.origin(), "hub.example/audit");
        let signature = signer.sign(b"checkpoint").unwrap();
        let public = UnparsedPublicKey::new(&ED25519, signer.public_key());
        public.verify(b"checkpoint", &signature).unwrap();
        public.verify(b"another", &signature).unwrap_err();
    }

    #[test]
    fn debug_shows_no_secret() {
        let temp = tempfile::tempdir().unwrap();
        let keys = KeyStore::init(&temp.path().join("keys"), "hub.example", &clock()).unwrap();
        assert_eq!(format!("{keys:?}"), r#"KeyStore { hub_id: "hub.example", .. }"#);
        assert!(!format!("{:?}", keys.tokens()).contains("content: ["));
    }
}
