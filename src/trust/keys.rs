//! The hub's keys in a directory of their own: made once by `init`, opened at every start.
//!
//! The directory is made whole or not at all (written beside its place, then renamed), so a crash leaves no half
//! of a hub's identity. A file that others could read is refused rather than repaired: it may have been read.

use std::{fmt, path::Path, sync::Arc};

use aws_lc_rs::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretBox};
use zeroize::Zeroizing;

use super::{
    CertificateAuthority, IssuedCertificate, P256Key, Tokens,
    key_files::{Staging, read_secret, read_text, require_private_directory, unusable},
    p256::pem_block,
};
use crate::{
    audit::CheckpointSigner,
    domain::{Clock, ParticipantId, PurposeSlug, Timestamp},
    error::{Error, Result},
};

const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const SERVER_KEY: &str = "server.key";
const LOG_KEY: &str = "log.key";
const GRANT_KEY: &str = "grant.key";
const TOKEN_KEY: &str = "token.key";
const MASK_SECRET: &str = "mask.secret";
const PAGE_SECRET: &str = "page.secret";

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
        require_private_directory(dir)?;
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

    /// The key of the pseudonyms that a grantee sees in masked columns: HMAC-SHA-256 of the mask secret over grantee
    /// and purpose, so that two grantees, or one for two purposes, cannot join what they obtained.
    pub fn mask_key(&self, grantee: &ParticipantId, purpose: &PurposeSlug) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.mask_secret().expose_secret());
        let mut context = hmac::Context::with_key(&key);
        for part in ["odh/mask/v1", grantee.as_str(), purpose.as_str()] {
            context.update(part.as_bytes());
            context.update(&[0x1f]);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
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

fn check_hub_id(hub_id: &str) -> Result<()> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    let starts_well = hub_id.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if starts_well && hub_id.len() <= 64 && hub_id.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Error::invalid("hub_id", "at most 64 of a-z, 0-9, dot, dash and underscore, first a letter or digit"))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::{domain::ManualClock, error::Reason};

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
            fs::write(dir.join(name), &good).unwrap();
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600)).unwrap();
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
