//! SIREN: the nine-digit number of a French legal unit.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Reason};

/// A SIREN whose Luhn check digit (ISO/IEC 7812-1) is right. Spaces are accepted on input, not kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Siren(String);

impl Siren {
    /// The nine digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Siren {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digits: String = text.chars().filter(|c| *c != ' ').collect();
        let is_number = digits.len() == 9 && digits.bytes().all(|b| b.is_ascii_digit());
        if is_number && digits != "000000000" && luhn_holds(&digits) {
            Ok(Self(digits))
        } else {
            let shown: String = text.chars().take(40).collect();
            Err(Error::new(Reason::SirenInvalid).with("siren", shown.escape_debug()))
        }
    }
}

fn luhn_holds(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(position, byte)| {
            let digit = u32::from(byte - b'0');
            match (position % 2, digit * 2) {
                (0, _) => digit,
                (_, doubled) if doubled > 9 => doubled - 9,
                (_, doubled) => doubled,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

impl TryFrom<String> for Siren {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Siren> for String {
    fn from(siren: Siren) -> Self {
        siren.0
    }
}

impl fmt::Display for Siren {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_numbers_pass_and_each_single_changed_digit_fails() {
        for real in ["210900015", "200053791", "732 829 320"] {
            let siren: Siren = real.parse().unwrap();
            for position in 0..9 {
                let mut digits = siren.as_str().as_bytes().to_vec();
                digits[position] = b'0' + (digits[position] - b'0' + 1) % 10;
                assert!(String::from_utf8(digits).unwrap().parse::<Siren>().is_err());
            }
        }
    }

    #[test]
    fn what_is_no_number_of_nine_digits_fails() {
        for bad in ["", "12345678", "1234567890", "12345678a", "000000000", "٢١٠٩٠٠٠١٥"] {
            assert!(bad.parse::<Siren>().is_err(), "{bad}");
        }
    }
}
