//! Options of outgoing TCP connections that not every system has.

use std::time::Duration;

use tokio::net::TcpStream;

/// Has the kernel acknowledge the next segments at once instead of up to 40 ms later (TCP_QUICKACK; tcp(7)). Not lasting:
/// the kernel goes back to delaying when it likes. Best effort, and nothing on systems without it.
pub fn acknowledge_at_once(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_quickack(true);
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// Has the kernel end the connection when what was sent stays unacknowledged for `time` (TCP_USER_TIMEOUT; RFC 5482). Otherwise it
/// tries for a quarter of an hour. Best effort, and nothing on systems without it.
pub fn limit_unacknowledged(stream: &TcpStream, time: Duration) {
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(time));
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, time);
}
