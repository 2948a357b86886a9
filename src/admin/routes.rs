//! What is answered to which request. Pure but for the snapshot it asks for.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::SnapshotSource;
use super::guard::{self, Refusal};
use super::metrics::{self, Format};

/// Answers a request that came in at `local`. Its body, if it has one, is never read.
pub(super) fn answer<B>(request: &Request<B>, local: SocketAddr, snapshot: &SnapshotSource) -> Response<Full<Bytes>> {
    if let Err(refusal) = guard::check(request.uri(), request.headers(), local) {
        return refuse(refusal);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD: nothing can be changed here\n",
        );
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/" => text(StatusCode::OK, INDEX),
        "/stats" => stats(snapshot),
        "/metrics" => exposition(request.headers(), snapshot),
        "/healthz" if snapshot().is_healthy() => text(StatusCode::OK, "ok\n"),
        "/healthz" => text(StatusCode::SERVICE_UNAVAILABLE, "no upstream works\n"),
        _ => text(StatusCode::NOT_FOUND, INDEX),
    }
}

fn refuse(refusal: Refusal) -> Response<Full<Bytes>> {
    match refusal {
        Refusal::NoHost => text(StatusCode::BAD_REQUEST, "one Host header is needed\n"),
        Refusal::ForeignHost => text(
            StatusCode::MISDIRECTED_REQUEST,
            "use http://127.0.0.1 or http://localhost with the port\n",
        ),
        Refusal::ForeignPage => text(StatusCode::FORBIDDEN, "not for pages of other origins\n"),
    }
}

fn stats(snapshot: &SnapshotSource) -> Response<Full<Bytes>> {
    match serde_json::to_vec(&snapshot()) {
        Ok(json) => response(StatusCode::OK, "application/json", json.into()),
        Err(_) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the figures cannot be written as JSON\n",
        ),
    }
}

fn exposition(headers: &HeaderMap, snapshot: &SnapshotSource) -> Response<Full<Bytes>> {
    let format = Format::wanted(
        headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok()),
    );
    let mut response = response(
        StatusCode::OK,
        format.content_type(),
        metrics::write(&snapshot(), format).into(),
    );
    response
        .headers_mut()
        .insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", Bytes::from_static(body.as_bytes()))
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        // Figures are of the moment, and no copy of them should lie around.
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; frame-ancestors 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

const INDEX: &str = "\
tacenda

/stats     figures as JSON
/metrics   figures for Prometheus (0.0.4, OpenMetrics 1.0.0 when asked)
/healthz   200 while an upstream works, else 503
";
