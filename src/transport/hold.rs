//! A connection and its way, if it may speak on that one alone.
//!
//! TCP repeats what nobody acknowledged, and says goodbye, wherever the routes lead by then: a question in clear text would be repeated to
//! another router than the one it was meant for. So a connection that may go by one router only is silenced when that is not the way any
//! more. One that is bound to an interface needs none of this: it cannot leave elsewhere.

use std::io;

use tokio::net::TcpStream;

use super::way::Way;
use crate::os::socket::Silencer;

/// See the module. Lives at least as long as its connection.
#[derive(Debug)]
pub(super) struct Hold {
    way: Way,
    silencer: Option<Silencer>,
}

impl Hold {
    /// On this connection, which was begun on `way`.
    pub(super) fn new(way: Way, stream: &TcpStream) -> io::Result<Self> {
        let silencer = way.is_by_router().then(|| Silencer::of(stream)).transpose()?;
        Ok(Self { way, silencer })
    }

    /// The way on which it was begun.
    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    /// [`Way::is_lost`]. If it is, nothing of the connection leaves this host any more.
    pub(super) fn is_lost(&self) -> bool {
        let is_lost = self.way.is_lost();
        if let (true, Some(silencer)) = (is_lost, &self.silencer) {
            silencer.silence();
        }
        is_lost
    }
}

/// Whatever ended it: its last words go by its way or nowhere.
impl Drop for Hold {
    fn drop(&mut self) {
        if self.silencer.is_some() {
            self.is_lost();
        }
    }
}
