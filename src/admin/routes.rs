//! What is answered to which request. Pure but for the snapshot it asks for.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::guard::{self, Refusal};
use super::metrics::{self, Format};
use super::snapshot::Snapshot;
use super::{Admin, page, protection};

/// Answers a request. Its body, if it has one, is never read.
pub(super) fn answer<B>(request: &Request<B>, admin: &Admin) -> Response<Full<Bytes>> {
    if let Err(refusal) = guard::check(request.uri(), request.headers(), admin.listen) {
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
    let figures = || (admin.snapshot)();
    match request.uri().path() {
        "/" => index(request.headers()),
        "/stats" => stats(&figures()),
        "/history" => json(&*admin.history()),
        "/metrics" => exposition(request.headers(), &figures()),
        "/healthz" if figures().is_healthy() => text(StatusCode::OK, "ok\n"),
        "/healthz" => text(StatusCode::SERVICE_UNAVAILABLE, "no upstream works\n"),
        path => match page::part(path) {
            Some((content_type, body)) => response(StatusCode::OK, content_type, Bytes::from_static(body.as_bytes())),
            None => text(StatusCode::NOT_FOUND, INDEX),
        },
    }
}

/// The page for a browser, a list of what there is for others.
fn index(headers: &HeaderMap) -> Response<Full<Bytes>> {
    let mut accepted = headers.get_all(header::ACCEPT).iter();
    let is_browser = accepted.any(|value| value.to_str().is_ok_and(|value| value.contains("text/html")));
    let mut response = if is_browser {
        response(
            StatusCode::OK,
            "text/html; charset=utf-8",
            Bytes::from_static(page::PAGE.as_bytes()),
        )
    } else {
        text(StatusCode::OK, INDEX)
    };
    vary_by_accept(&mut response);
    response
}

fn vary_by_accept(response: &mut Response<Full<Bytes>>) {
    response
        .headers_mut()
        .insert(header::VARY, HeaderValue::from_static("accept"));
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

fn stats(figures: &Snapshot) -> Response<Full<Bytes>> {
    #[derive(serde::Serialize)]
    struct Stats<'a> {
        protection: protection::Protection,
        #[serde(flatten)]
        figures: &'a Snapshot,
    }
    json(&Stats {
        protection: protection::of(figures),
        figures,
    })
}

fn json(what: &impl serde::Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(what) {
        Ok(json) => response(StatusCode::OK, "application/json", json.into()),
        Err(_) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the figures cannot be written as JSON\n",
        ),
    }
}

fn exposition(headers: &HeaderMap, figures: &Snapshot) -> Response<Full<Bytes>> {
    let format = Format::wanted(
        headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok()),
    );
    let mut response = response(
        StatusCode::OK,
        format.content_type(),
        metrics::write(figures, format).into(),
    );
    vary_by_accept(&mut response);
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

/          this list; for a browser a page
/stats     figures as JSON, and whether the promise holds
/history   the last hour as JSON, every ten seconds, and what happened
/metrics   figures for Prometheus (0.0.4, OpenMetrics 1.0.0 when asked)
/healthz   200 while an upstream works, else 503
";
