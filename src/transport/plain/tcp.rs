//! One question over TCP, on a connection of its own.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::reply::response_to;
use super::{MAX_MISMATCHES, Plain, Protocol};
use crate::os::socket::{limit_unacknowledged, stream_to};
use crate::transport::ExchangeError;
use crate::transport::dial::CONNECT_LIMIT;
use crate::transport::hold::Hold;
use crate::transport::way::Way;
use crate::wire::frame::write_frame;

/// Why a connection brought no answer.
enum Ended {
    /// It closed too early, or its way is another now: once more on a new one (RFC 7766 section 6.2.4).
    Early(ExchangeError),
    Failed(ExchangeError),
}

impl From<ExchangeError> for Ended {
    fn from(error: ExchangeError) -> Self {
        Self::Failed(error)
    }
}

impl Plain {
    /// Asks over TCP; once more if the connection ends before the answer.
    pub(super) async fn over_tcp(&self, query: &[u8], deadline: Instant) -> Result<Vec<u8>, ExchangeError> {
        match self.try_tcp(query, deadline, true).await {
            Ok(octets) => Ok(octets),
            Err(Ended::Failed(error)) => Err(error),
            Err(Ended::Early(_)) => match self.try_tcp(query, deadline, false).await {
                Ok(octets) => Ok(octets),
                Err(Ended::Failed(error) | Ended::Early(error)) => Err(error),
            },
        }
    }

    async fn try_tcp(&self, query: &[u8], deadline: Instant, is_first: bool) -> Result<Vec<u8>, Ended> {
        let mut changes = self.changes.subscribe();
        let way = self.way(Protocol::Tcp)?;
        let conversation = async {
            let (mut stream, hold) = self.connect(&way, deadline).await?;
            // A round trip has passed since the look.
            if way.is_wanted() && hold.is_lost() {
                return Err(Ended::Early(ExchangeError::network("the network changed")));
            }
            match timeout_at(deadline, self.converse(&mut stream, query, is_first)).await {
                Ok(ended) => ended,
                Err(_) => Err(ExchangeError::silent("no answer in time").into()),
            }
        };
        tokio::select! {
            ended = conversation => ended,
            moved = self.moved(&way, &mut changes) => {
                moved?;
                Err(Ended::Early(ExchangeError::network("the network changed")))
            }
        }
    }

    async fn connect(&self, way: &Way, deadline: Instant) -> Result<(TcpStream, Hold), ExchangeError> {
        let connecting = stream_to(self.target.server, self.target.exit.interface.as_ref());
        let connected = match timeout_at(deadline, connecting).await {
            Ok(connected) => connected.and_then(|stream| {
                stream.set_nodelay(true)?;
                let hold = Hold::new(way.clone(), &stream)?;
                Ok((stream, hold))
            }),
            Err(_) => Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer")),
        };
        connected
            .inspect(|(stream, _)| limit_unacknowledged(stream, CONNECT_LIMIT))
            .inspect_err(|_| self.stats.dial_failures.increment())
            .map_err(|error| self.failed("connect to", &error))
    }

    /// Sends the question in one write (R7766-9) and reads until its answer is whole.
    async fn converse(&self, stream: &mut TcpStream, query: &[u8], is_first: bool) -> Result<Vec<u8>, Ended> {
        let early = |error: std::io::Error| Ended::Early(self.failed("ask", &error));
        let (id, message) = self.sealed(query)?;
        let mut frame = Vec::new();
        write_frame(&message, &mut frame).ok_or_else(|| ExchangeError::network("the query cannot be sent"))?;
        stream.write_all(&frame).await.map_err(early)?;
        self.count_sent(query, is_first);
        for _ in 0..MAX_MISMATCHES {
            let mut message = read_message(stream).await.map_err(early)?;
            if response_to(query, id, &message).is_some() {
                message[..2].fill(0);
                return Ok(message);
            }
            self.stats.violations.increment();
        }
        Err(ExchangeError::garbage("the server sent messages that do not answer the question").into())
    }
}

/// One message of at most 65,535 octets; room is made as they come, not as they are announced.
async fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let len = usize::from(stream.read_u16().await?);
    let mut message = Vec::new();
    let read = stream.take(len as u64).read_to_end(&mut message).await?;
    if read < len {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(message)
}
