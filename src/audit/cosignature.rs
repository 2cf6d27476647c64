//! Cosignatures of witnesses (C2SP tlog-cosignature v1.0.1, Ed25519, type 0x04).
//!
//! A witness says by it: "at this time, this was the largest tree of this log that I had seen, and it continues all
//! that I saw before". Cosignatures are further signature lines of a checkpoint.

use std::{fmt, str::FromStr};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    CheckpointSigner,
    note::{Note, SIGNATURE_PREFIX, SignatureLine, is_name, key_id, read_vkey, write_vkey},
};
use crate::error::{Error, Reason, Result};

/// The algorithm byte of a timestamped Ed25519 cosignature.
const COSIGNATURE_TYPE: u8 = 0x04;

/// The public key of a witness. Its text form is the C2SP `vkey`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    public: [u8; 32],
}

impl WitnessKey {
    /// The key that verifies what `signer` cosigns; its name is the signer's.
    pub fn of(signer: &dyn CheckpointSigner) -> Result<Self> {
        let name = signer.origin().to_owned();
        if !is_name(&name) {
            return Err(Error::invalid("witness", "a name is not empty and has no white space and no `+`"));
        }
        Ok(Self { name, public: signer.public_key() })
    }

    /// The witness's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The good cosignature of this witness among the signatures of a note; none if there is none.
    ///
    /// Fails if there is one of this key that is not of the note's text.
    pub fn find(&self, note: &Note<'_>) -> Result<Option<Cosignature>> {
        let id = key_id(&self.name, COSIGNATURE_TYPE, &self.public);
        let mut found = None;
        for line in note.signatures.iter().filter(|line| line.name == self.name && line.key_id == id) {
            found = Some(self.check(note.text, line)?);
        }
        Ok(found)
    }

    fn check(&self, text: &str, line: &SignatureLine<'_>) -> Result<Cosignature> {
        let refused =
            || Error::new(Reason::SignatureInvalid).with("detail", "the cosignature is not that of this text");
        let (time, signature) = line.signature.split_first_chunk::<8>().ok_or_else(refused)?;
        let time = u64::from_be_bytes(*time);
        let public = UnparsedPublicKey::new(&ED25519, self.public);
        public.verify(message(time, text).as_bytes(), signature).map_err(|_| refused())?;
        let bytes = [&line.key_id[..], &line.signature].concat();
        Ok(Cosignature { time, line: signature_line(&self.name, &bytes) })
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_vkey(f, &self.name, COSIGNATURE_TYPE, &self.public)
    }
}

impl FromStr for WitnessKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        read_vkey(text, COSIGNATURE_TYPE).map(|(name, public)| Self { name, public })
    }
}

/// A cosignature that has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// When the witness signed, in seconds since 1970.
    pub time: u64,
    /// Its signature line with its newline, to be added to the note.
    pub line: String,
}

/// Cosigns the checkpoint in `note`, of which the signature must have been verified, at this time in seconds.
pub fn cosign(note: &Note<'_>, time: u64, signer: &dyn CheckpointSigner) -> Result<Cosignature> {
    let key = WitnessKey::of(signer)?;
    let mut bytes = key_id(&key.name, COSIGNATURE_TYPE, &key.public).to_vec();
    bytes.extend(time.to_be_bytes());
    bytes.extend(signer.sign(message(time, note.text).as_bytes())?);
    Ok(Cosignature { time, line: signature_line(&key.name, &bytes) })
}

/// A note with further signature lines.
pub fn add_cosignatures<'a>(note: &str, lines: impl IntoIterator<Item = &'a str>) -> String {
    lines.into_iter().fold(note.to_owned(), |note, line| note + line)
}

fn message(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

fn signature_line(name: &str, bytes: &[u8]) -> String {
    format!("{SIGNATURE_PREFIX}{name} {}\n", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Checkpoint, Frontier, VerifierKey, leaf_hash, testing::TestSigner};

    fn note(origin: &str) -> String {
        let frontier = Frontier::from_leaf_hashes(&[leaf_hash(b"a")]);
        Checkpoint::of(origin, &frontier).sign(&TestSigner::new(origin)).unwrap()
    }

    #[test]
    fn a_cosigned_checkpoint_verifies_with_the_keys_of_log_and_witness() {
        let (text, witness) = (note("hub.example/audit"), TestSigner::new("witness.example"));
        let cosignature = cosign(&Note::parse(&text).unwrap(), 1_795_505_400, &witness).unwrap();
        let cosigned = add_cosignatures(&text, [cosignature.line.as_str()]);
        let log = VerifierKey::of(&TestSigner::new("hub.example/audit")).unwrap();
        assert_eq!(Checkpoint::verify(&cosigned, &log).unwrap().size, 1);
        let key = WitnessKey::of(&witness).unwrap();
        assert_eq!(key.to_string().parse::<WitnessKey>().unwrap(), key);
        let parsed = Note::parse(&cosigned).unwrap();
        assert_eq!(key.find(&parsed).unwrap(), Some(cosignature));
        assert_eq!(key.find(&Note::parse(&text).unwrap()).unwrap(), None);
        let stranger = WitnessKey::of(&TestSigner::new("other.example")).unwrap();
        assert_eq!(stranger.find(&parsed).unwrap(), None);
    }

    #[test]
    fn a_cosignature_of_another_text_or_time_is_refused() {
        let witness = TestSigner::new("witness.example");
        let key = WitnessKey::of(&witness).unwrap();
        let elsewhere = note("other.example");
        let line = cosign(&Note::parse(&elsewhere).unwrap(), 7, &witness).unwrap().line;
        let moved = add_cosignatures(&note("hub.example/audit"), [line.as_str()]);
        assert!(key.find(&Note::parse(&moved).unwrap()).is_err());
        let signature = SignatureLine::parse(line.trim_end()).unwrap();
        let mut bytes = [&signature.key_id[..], &signature.signature].concat();
        bytes[11] ^= 1;
        let later = add_cosignatures(&elsewhere, [signature_line("witness.example", &bytes).as_str()]);
        assert!(key.find(&Note::parse(&later).unwrap()).is_err());
    }

    #[test]
    fn the_key_of_a_log_is_not_that_of_a_witness() {
        let log = VerifierKey::of(&TestSigner::new("hub.example/audit")).unwrap().to_string();
        assert!(log.parse::<WitnessKey>().is_err());
        let witness = WitnessKey::of(&TestSigner::new("hub.example/audit")).unwrap().to_string();
        assert!(witness.parse::<VerifierKey>().is_err());
    }

    /// The key of the example in C2SP tlog-cosignature's test vectors is of this form: name, hash, 0x04 and the key.
    #[test]
    fn a_key_has_its_type_in_it() {
        let key = WitnessKey::of(&TestSigner::new("witness.example")).unwrap().to_string();
        let encoded = key.splitn(3, '+').nth(2).unwrap();
        assert_eq!(STANDARD.decode(encoded).unwrap()[0], 4);
    }
}
