//! DNS over TLS of our own upstream: queries are answered in their order, all that are there in one write.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use crate::source::{Breaker, Fault, Faults, Shared};

/// An answer and when it goes out.
type Due = (Instant, Vec<u8>);

/// Serves one connection to its end.
pub(crate) async fn serve(stream: TlsStream<TcpStream>, shared: Arc<Shared>, mut faults: Faults, breaker: Breaker) {
    let (reading, writing) = tokio::io::split(stream);
    let (answers, due) = mpsc::unbounded_channel();
    let work = async {
        tokio::join!(read(reading, shared, answers), write(writing, due));
    };
    tokio::pin!(work);
    loop {
        tokio::select! {
            () = &mut work => return,
            changed = faults.changed() => {
                let fault = faults.borrow_and_update().1;
                if changed.is_err() || fault == Fault::Reset {
                    return breaker.arm();
                }
                if fault == Fault::Silence {
                    // Held open and never looked at again; as long as the upstream is there.
                    while faults.changed().await.is_ok() {}
                    return breaker.arm();
                }
            }
        }
    }
}

async fn read(mut stream: ReadHalf<TlsStream<TcpStream>>, shared: Arc<Shared>, answers: mpsc::UnboundedSender<Due>) {
    let mut pending = Vec::new();
    loop {
        match stream.read_buf(&mut pending).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let mut used = 0;
        while let Some((len, rest)) = pending[used..].split_first_chunk::<2>() {
            let len = usize::from(u16::from_be_bytes(*len));
            let Some(query) = rest.get(..len) else { break };
            used += 2 + len;
            let Some((response, delay)) = shared.answer(query) else {
                return;
            };
            if answers.send((Instant::now() + delay, response)).is_err() {
                return;
            }
        }
        pending.drain(..used);
    }
}

async fn write(mut stream: WriteHalf<TlsStream<TcpStream>>, mut due: mpsc::UnboundedReceiver<Due>) {
    let mut out = Vec::new();
    let mut next = due.recv().await;
    while let Some((at, response)) = next {
        tokio::time::sleep_until(at).await;
        frame(&mut out, &response);
        // Those that are due as well go along, and not a single one of the others: all would seem faster than they are.
        let now = Instant::now();
        loop {
            next = due.try_recv().ok();
            match &next {
                Some((at, response)) if *at <= now => frame(&mut out, response),
                _ => break,
            }
        }
        if stream.write_all(&out).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        out.clear();
        if next.is_none() {
            next = due.recv().await;
        }
    }
}

fn frame(out: &mut Vec<u8>, response: &[u8]) {
    out.extend_from_slice(
        &u16::try_from(response.len())
            .expect("our own answers are short")
            .to_be_bytes(),
    );
    out.extend_from_slice(response);
}
