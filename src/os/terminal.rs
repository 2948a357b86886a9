//! The terminal that a command is typed at.

/// Throws away what was typed and not read yet. Nothing if there is no terminal.
#[cfg(unix)]
pub fn forget_typed() {
    #[allow(unsafe_code, reason = "std has no termios")]
    // SAFETY: takes two numbers and no pointer.
    unsafe {
        libc::tcflush(libc::STDIN_FILENO, libc::TCIFLUSH)
    };
}

/// Throws away what was typed and not read yet. Nothing on this system.
#[cfg(not(unix))]
pub fn forget_typed() {}
