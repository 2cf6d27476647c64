//! Signed notes (C2SP signed-note v1.0.0): a text and one signature line for each of its signers.
//!
//! A verifier has one Ed25519 key. It ignores signature lines of other keys, which makes key rotation and the
//! cosignatures of witnesses (type 0x04) possible, and insists that every line of its own key is good.

use std::{fmt, str::FromStr};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{CheckpointSigner, tree::sha256};
use crate::error::{Error, Reason, Result};

/// The algorithm byte of an Ed25519 note signature.
const ED25519_TYPE: u8 = 0x01;
/// What a signature line starts with: an em dash and a space.
pub(super) const SIGNATURE_PREFIX: &str = "\u{2014} ";
const BAD_NAME: &str = "a name is not empty and has no white space and no `+`";
/// More lines than any real note has; bounds the work that a hostile one can ask for.
const MAX_SIGNATURES: usize = 100;

/// The public key that a note must be signed with: a name and an Ed25519 key. Its text form is the C2SP `vkey`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

impl VerifierKey {
    /// The key called `name`. A name has no white space and no `+`.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self> {
        if is_name(name) {
            Ok(Self { name: name.to_owned(), public })
        } else {
            Err(Error::invalid("verifier key", BAD_NAME))
        }
    }

    /// The key that verifies what `signer` signs.
    pub fn of(signer: &dyn CheckpointSigner) -> Result<Self> {
        Self::new(signer.origin(), signer.public_key())
    }

    /// The name; of a log its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The raw Ed25519 public key.
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.public
    }

    /// The key id, a hint that stands before each signature: SHA-256 of name, newline, 0x01 and key, cut to 4 bytes.
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, ED25519_TYPE, &self.public)
    }
}

/// SHA-256 of name, newline, algorithm and key, cut to 4 bytes.
pub(super) fn key_id(name: &str, algorithm: u8, public: &[u8; 32]) -> [u8; 4] {
    let [a, b, c, d, ..] = sha256(&[name.as_bytes(), b"\n", &[algorithm], public]);
    [a, b, c, d]
}

/// The C2SP `vkey` of a key: `name+hash+base64`.
pub(super) fn write_vkey(f: &mut fmt::Formatter<'_>, name: &str, algorithm: u8, public: &[u8; 32]) -> fmt::Result {
    let mut typed = [algorithm; 33];
    typed[1..].copy_from_slice(public);
    let id = u32::from_be_bytes(key_id(name, algorithm, public));
    write!(f, "{name}+{id:08x}+{}", STANDARD.encode(typed))
}

/// Name and key of a `vkey` of this algorithm, whose hash must be theirs; one newline at the end is accepted.
pub(super) fn read_vkey(text: &str, algorithm: u8) -> Result<(String, [u8; 32])> {
    let malformed = |detail: &str| Error::invalid("verifier key", detail);
    let text = text.strip_suffix('\n').unwrap_or(text);
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(malformed("not of the form name+hash+key"));
    };
    let typed = STANDARD.decode(key).map_err(|_| malformed("the key is not base64"))?;
    let public = match typed.split_first() {
        Some((kind, public)) if *kind == algorithm => public,
        _ => return Err(malformed("not a key of the kind that is expected here")),
    };
    let public = public.try_into().map_err(|_| malformed("an Ed25519 key has 32 bytes"))?;
    if !is_name(name) {
        return Err(malformed(BAD_NAME));
    }
    if format!("{:08x}", u32::from_be_bytes(key_id(name, algorithm, &public))) == id {
        Ok((name.to_owned(), public))
    } else {
        Err(malformed("the hash is not that of this name and key"))
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_vkey(f, &self.name, ED25519_TYPE, &self.public)
    }
}

impl FromStr for VerifierKey {
    type Err = Error;

    /// `name+hash+base64`, where the hash must be that of name and key; one newline at the end is accepted.
    fn from_str(text: &str) -> Result<Self> {
        read_vkey(text, ED25519_TYPE).map(|(name, public)| Self { name, public })
    }
}

/// A note that has been taken apart; nothing about it is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    /// What is signed, with its last newline.
    pub text: &'a str,
    /// The signature lines, in order.
    pub signatures: Vec<SignatureLine<'a>>,
}

/// One signature line of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureLine<'a> {
    /// The name of the key that made it.
    pub name: &'a str,
    /// The id of that key.
    pub key_id: [u8; 4],
    /// The signature; its form depends on the key.
    pub signature: Vec<u8>,
}

/// Signs `text`, which ends in a newline and has no other control characters, and returns the note.
pub(super) fn sign(text: &str, signer: &dyn CheckpointSigner) -> Result<String> {
    let key = VerifierKey::of(signer)?;
    if !is_note_text(text) || !text.ends_with('\n') {
        return Err(Error::internal("a note's text must end in a newline and have no control characters"));
    }
    let mut signature = key.id().to_vec();
    signature.extend(signer.sign(text.as_bytes())?);
    Ok(format!("{text}\n{SIGNATURE_PREFIX}{} {}\n", key.name, STANDARD.encode(signature)))
}

impl<'a> Note<'a> {
    /// Takes a note apart. The last empty line separates the text from the signatures.
    pub fn parse(note: &'a str) -> Result<Self> {
        if !is_note_text(note) {
            return Err(malformed("it has control characters"));
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or_else(|| malformed("it has no signatures"))?;
        let text = note.get(..=text.len()).unwrap_or_default();
        let lines = lines.strip_suffix('\n').ok_or_else(|| malformed("it does not end in a newline"))?;
        let signatures: Vec<_> =
            lines.split('\n').take(MAX_SIGNATURES + 1).map(SignatureLine::parse).collect::<Result<_>>()?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(malformed("it has too many signatures"));
        }
        Ok(Self { text, signatures })
    }

    /// Checks that `key` has signed the note: there is a signature of this key, and each one is good.
    pub fn verify(&self, key: &VerifierKey) -> Result<()> {
        let refused = |detail: &str| Error::new(Reason::SignatureInvalid).with("detail", detail);
        let id = key.id();
        let public = UnparsedPublicKey::new(&ED25519, key.public);
        let mut own = self.signatures.iter().filter(|line| line.name == key.name && line.key_id == id).peekable();
        if own.peek().is_none() {
            return Err(refused("the note is not signed with the expected key"));
        }
        if own.all(|line| public.verify(self.text.as_bytes(), &line.signature).is_ok()) {
            Ok(())
        } else {
            Err(refused("the note's signature is not that of its text"))
        }
    }
}

impl<'a> SignatureLine<'a> {
    /// Takes one signature line apart, without its newline.
    pub fn parse(line: &'a str) -> Result<Self> {
        let parts = line.strip_prefix(SIGNATURE_PREFIX).and_then(|rest| rest.split_once(' '));
        let (name, encoded) = parts.ok_or_else(|| malformed("a signature line is not `\u{2014} name signature`"))?;
        let bytes = STANDARD.decode(encoded).map_err(|_| malformed("a signature is not base64"))?;
        match bytes.split_first_chunk::<4>() {
            Some((key_id, signature)) if is_name(name) && !signature.is_empty() => {
                Ok(Self { name, key_id: *key_id, signature: signature.to_vec() })
            }
            _ => Err(malformed("a signature line lacks its name, key id or signature")),
        }
    }
}

fn malformed(detail: &str) -> Error {
    Error::invalid("note", detail)
}

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// Newline is the only control character of ASCII that a note may have.
fn is_note_text(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\n')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::testing::TestSigner;

    /// The example of Go's `golang.org/x/mod/sumdb/note`, which we did not write.
    const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\
        \n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn a_note_made_by_another_implementation_verifies() {
        let key: VerifierKey = GO_KEY.parse().unwrap();
        assert_eq!(key.to_string(), GO_KEY);
        Note::parse(GO_NOTE).unwrap().verify(&key).unwrap();
        let altered = GO_NOTE.replace("your problem", "our problem");
        let error = Note::parse(&altered).unwrap().verify(&key).unwrap_err();
        assert_eq!(error.reason(), Reason::SignatureInvalid);
    }

    #[test]
    fn a_signed_note_verifies_with_the_key_of_its_signer_only() {
        let signer = TestSigner::new("hub.example/audit");
        let key = VerifierKey::of(&signer).unwrap();
        let note = sign("a\n\nb\n", &signer).unwrap();
        let parsed = Note::parse(&note).unwrap();
        assert_eq!(parsed.text, "a\n\nb\n");
        parsed.verify(&key).unwrap();
        let other = VerifierKey::of(&TestSigner::new("other.example/audit")).unwrap();
        assert!(parsed.verify(&other).is_err());
        assert!(sign("no newline", &signer).is_err());
        assert!(sign("a\tb\n", &signer).is_err());
    }

    #[test]
    fn signatures_of_unknown_keys_are_ignored_and_a_bad_one_of_ours_is_not() {
        let signer = TestSigner::new("hub.example/audit");
        let key = VerifierKey::of(&signer).unwrap();
        let note = sign("text\n", &signer).unwrap();
        let witness = format!("\u{2014} witness.example {}\n", STANDARD.encode([4; 76]));
        let cosigned = format!("{note}{witness}");
        let parsed = Note::parse(&cosigned).unwrap();
        parsed.verify(&key).unwrap();
        assert_eq!((parsed.signatures.len(), parsed.signatures[1].signature.len()), (2, 72));
        let only_witness = format!("text\n\n{witness}");
        assert!(Note::parse(&only_witness).unwrap().verify(&key).is_err());
        let bad = STANDARD.encode([&key.id()[..], &[9; 64]].concat());
        let doubled = format!("{note}\u{2014} hub.example/audit {bad}\n");
        assert!(Note::parse(&doubled).unwrap().verify(&key).is_err());
    }

    #[test]
    fn malformed_keys_and_notes_are_refused() {
        for bad in [
            "",
            "PeterNeumann+c74f20a3",
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+Ahpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+ARpc",
        ] {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
        }
        for bad in
            ["", "\n", "text\n", "text\n\n", "text\n\n- a AAAAAAA=\n", "t\n\n\u{2014} a AAAA\n", "t\n\n\u{2014} a !\n"]
        {
            assert!(Note::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Note::parse(GO_NOTE.trim_end()).is_err());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "(\\PC|\n|\u{2014}| ){0,80}") {
            let _ = Note::parse(&text);
            let _ = text.parse::<VerifierKey>();
        }
    }
}
