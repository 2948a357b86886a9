//! Where there is no nftables.

/// See the Linux one.
pub(super) mod flows {
    use std::io;

    pub(in crate::os::guard) fn forget() -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// See the Linux one.
pub(super) mod table {
    use std::io;

    #[derive(Debug)]
    pub(in crate::os::guard) struct Owner(());

    impl Owner {
        pub(in crate::os::guard) fn of_table() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    pub(in crate::os::guard) fn make(_may_be_held: bool) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "only Linux has these packet rules",
        ))
    }
}

/// See the Linux one.
pub(super) mod changes {
    use std::future::pending;
    use std::io;

    #[derive(Debug)]
    pub(in crate::os::guard) struct Source(());

    impl Source {
        pub(in crate::os::guard) fn new() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(in crate::os::guard) async fn next(&mut self) {
            pending::<()>().await;
        }
    }
}
