//! The deadline that a client asks for with `grpc-timeout`.

use std::time::Duration;

use http::HeaderMap;

/// How much earlier the hub ends a call than the client asked for: tonic, which stands around the hub's own layers,
/// ends it at the exact time, with another status.
const AHEAD: Duration = Duration::from_millis(5);

/// The time that the client gives the call (gRPC over HTTP/2: at most eight digits and a unit); none if it gives none.
pub(super) fn of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    let asked = match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    };
    Some(asked.saturating_sub(AHEAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadline(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        of(&headers)
    }

    #[test]
    fn a_timeout_is_read_in_each_unit() {
        assert_eq!(deadline("1H"), Some(Duration::from_millis(3_600_000 - 5)));
        assert_eq!(deadline("300m"), Some(Duration::from_millis(295)));
        assert_eq!(deadline("99999999S"), Some(Duration::from_millis(99_999_999_000 - 5)));
        assert_eq!(deadline("1n"), Some(Duration::ZERO));
        for bad in ["", "S", "1", "1x", "-1S", "123456789S"] {
            assert_eq!(deadline(bad), None, "{bad}");
        }
    }
}
