//! DNS over HTTPS of our own upstream: HTTP/2, POST and GET, every path.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::source::{Breaker, Fault, Faults, Shared};

/// Serves one connection to its end.
pub(crate) async fn serve(stream: TlsStream<TcpStream>, shared: Arc<Shared>, mut faults: Faults, breaker: Breaker) {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(1000);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                tokio::spawn(answer(request, respond, Arc::clone(&shared)));
            }
            changed = faults.changed() => {
                let fault = faults.borrow_and_update().1;
                match fault {
                    _ if changed.is_err() => return breaker.arm(),
                    Fault::Reset => return breaker.arm(),
                    Fault::GoAway => connection.graceful_shutdown(),
                    Fault::Silence => {
                        // Held open and never looked at again; as long as the upstream is there.
                        while faults.changed().await.is_ok() {}
                        return breaker.arm();
                    }
                    Fault::Nothing => {}
                }
            }
        }
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, shared: Arc<Shared>) {
    let Some(query) = query(request).await else { return };
    let Some((response, delay)) = shared.answer(&query) else {
        return;
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let head = Response::builder()
        .header("content-type", "application/dns-message")
        .header("cache-control", "max-age=86400")
        .body(())
        .expect("a constant head");
    if let Ok(mut stream) = respond.send_response(head, false) {
        let _ = stream.send_data(response.into(), true);
    }
}

async fn query(request: Request<RecvStream>) -> Option<Vec<u8>> {
    if request.method() == http::Method::GET {
        let parameter = request.uri().query()?.strip_prefix("dns=")?;
        return BASE64URL_NOPAD.decode(parameter.as_bytes()).ok();
    }
    let mut body = request.into_body();
    let mut query = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.ok()?;
        let _ = body.flow_control().release_capacity(part.len());
        query.extend_from_slice(&part);
        if query.len() > 4096 {
            return None;
        }
    }
    Some(query)
}
