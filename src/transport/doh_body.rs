//! What of an HTTP response is DNS, and reading it within limits.
//!
//! Only success with `application/dns-message` is looked at (RFC 8484 section 4.2.1): a captive portal's page is
//! never parsed.

use std::time::Duration;

use h2::RecvStream;
use http::header::{AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use super::doh::DNS_MESSAGE;
use super::doh_connection::ask_error;
use super::link::AskError;
use super::{ExchangeError, Response};
use crate::wire::frame::MAX_MESSAGE_LEN;
use crate::wire::question::same_question;

/// Decides by status and headers; gives the seconds of the `Age` header if the body is DNS.
///
/// # Errors
/// `Busy` for 429 and 503, `Network` for everything else that is not DNS.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap) -> Result<u32, ExchangeError> {
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        let detail = format!("the server answered http status {}", status.as_u16());
        return Err(ExchangeError::busy(detail, retry_after(headers)));
    }
    // 206 is a part of something and 204, 205 are empty by definition.
    if !matches!(status.as_u16(), 200..=203 | 207..=299) {
        return Err(ExchangeError::network(format!(
            "the server answered http status {}",
            status.as_u16()
        )));
    }
    if !is_dns_message(headers) {
        return Err(ExchangeError::network(
            "the server's answer is not application/dns-message",
        ));
    }
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(ExchangeError::network(
            "the server encoded its answer, which nobody asked for",
        ));
    }
    let claimed = number(headers, &CONTENT_LENGTH);
    if claimed.is_some_and(|len| len > MAX_MESSAGE_LEN as u64) {
        return Err(too_long());
    }
    // RFC 9111 section 1.2.2: what does not fit counts as 2^31; section 5.1: what cannot be read is ignored.
    let age = number(headers, &AGE).unwrap_or(0).min(MAX_AGE);
    Ok(u32::try_from(age).expect("MAX_AGE fits"))
}

/// Reads the body and checks that it answers `query`: ID 0, QR=1, same question.
pub(super) async fn read(body: &mut RecvStream, age: u32, query: &[u8]) -> Result<Response, AskError> {
    let mut octets = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(|error| ask_error(&error))?;
        if octets.len() + chunk.len() > MAX_MESSAGE_LEN {
            return Err(AskError::Failed(too_long()));
        }
        octets.extend_from_slice(&chunk);
        // The window is ours to give back; an error means that the stream is closed, which the next read tells better.
        let _ = body.flow_control().release_capacity(chunk.len());
    }
    if octets.len() < 12 || octets[..2] != [0, 0] || octets[2] & 0x80 == 0 || !same_question(query, &octets) {
        return Err(AskError::Failed(ExchangeError::garbage(
            "the server's answer is not to our question",
        )));
    }
    Ok(Response { octets, age })
}

fn too_long() -> ExchangeError {
    ExchangeError::network("the server's answer is longer than a dns message can be")
}

/// One content type, compared without case; it has no parameters of its own, and unknown ones are to be ignored (RFC
/// 2046 section 1).
fn is_dns_message(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(value) = value.to_str() else { return false };
    let media_type = value.split_once(';').map_or(value, |(media_type, _)| media_type);
    media_type.trim().eq_ignore_ascii_case(DNS_MESSAGE)
}

/// Only the form in seconds: for a date the two clocks would have to agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    number(headers, &RETRY_AFTER).map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// A header that is digits and nothing else; more digits than fit are the largest number.
fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let digits = headers.get(name)?.to_str().ok()?.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// What RFC 9111 section 1.2.2 has a cache take for an age that overflows.
const MAX_AGE: u64 = 1 << 31;

/// A server cannot send us away for longer (R8484-8): a wrong header would cost a resolver for days.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ExchangeErrorKind;

    fn check(status: u16, headers: &[(&'static str, &'static str)], expected: Result<u32, ExchangeErrorKind>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let judged = judge(StatusCode::from_u16(status).unwrap(), &map).map_err(|error| error.kind);
        assert_eq!(judged, expected, "{status} {headers:?}");
    }

    const DNS: (&str, &str) = ("content-type", DNS_MESSAGE);
    const NETWORK: Result<u32, ExchangeErrorKind> = Err(ExchangeErrorKind::Network);

    fn busy(seconds: Option<u64>) -> Result<u32, ExchangeErrorKind> {
        Err(ExchangeErrorKind::Busy {
            retry_after: seconds.map(Duration::from_secs),
        })
    }

    #[test]
    fn r8484_3_only_success_with_the_right_type_is_dns() {
        check(200, &[DNS], Ok(0));
        check(203, &[DNS], Ok(0));
        check(
            200,
            &[("content-type", "Application/DNS-Message; charset=utf-8")],
            Ok(0),
        );
        for status in [
            204, 205, 206, 300, 301, 302, 307, 308, 400, 401, 404, 413, 415, 500, 502,
        ] {
            check(status, &[DNS], NETWORK);
        }
        check(200, &[], NETWORK);
        check(200, &[DNS, DNS], NETWORK);
        for other in [
            "text/html",
            "application/dns-json",
            "application/dns-messages",
            "application/dns-message, text/html",
        ] {
            check(200, &[("content-type", other)], NETWORK);
        }
    }

    #[test]
    fn r8484_4_age_is_read_and_capped() {
        check(200, &[DNS, ("age", "17")], Ok(17));
        check(200, &[DNS, ("age", "99999999999999999999999")], Ok(1 << 31));
        check(200, &[DNS, ("age", "4294967296")], Ok(1 << 31));
        for wrong in ["", "-5", "+5", "1.5", "x"] {
            check(200, &[DNS, ("age", wrong)], Ok(0));
        }
    }

    #[test]
    fn r8484_5_encodings_and_lengths_are_refused_before_reading() {
        check(200, &[DNS, ("content-encoding", "gzip")], NETWORK);
        check(200, &[DNS, ("content-encoding", "identity")], NETWORK);
        check(200, &[DNS, ("content-length", "65535")], Ok(0));
        check(200, &[DNS, ("content-length", "65536")], NETWORK);
    }

    #[test]
    fn r8484_8_retry_after_in_seconds_is_heeded_up_to_a_minute() {
        check(429, &[("retry-after", "7")], busy(Some(7)));
        check(503, &[("retry-after", "86400")], busy(Some(60)));
        check(503, &[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], busy(None));
        check(429, &[], busy(None));
    }
}
