//! What the harness needs of the kernel and std does not offer, with a safe face. All unsafe code of the harness is here.
#![expect(
    unsafe_code,
    reason = "system calls of libc: batches of datagrams, affinity, namespaces, TUN devices"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "sizes of C's structures and the kernel's constants, in the types that C gives them"
)]

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::time::Duration;

/// Datagrams that go through the kernel together.
pub(crate) struct Batch {
    octets: Vec<u8>,
    lens: Vec<usize>,
    peers: Vec<libc::sockaddr_in>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

/// The room for one datagram: classic DNS here is far shorter.
const SLOT: usize = 2048;

/// Whether receiving waits for the first datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until one is there, or the socket's time-out.
    ForOne,
    /// Not at all.
    Never,
}

impl Batch {
    pub(crate) fn new(len: usize) -> Self {
        // SAFETY: both are plain structures of C, for which all zeros is a value.
        let (peer, header) = unsafe { (zeroed::<libc::sockaddr_in>(), zeroed::<libc::mmsghdr>()) };
        let empty = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        Self {
            octets: vec![0; len * SLOT],
            lens: vec![0; len],
            peers: vec![peer; len],
            iovecs: vec![empty; len],
            headers: vec![header; len],
        }
    }

    pub(crate) fn datagram(&self, index: usize) -> &[u8] {
        &self.octets[index * SLOT..][..self.lens[index]]
    }

    pub(crate) fn datagram_mut(&mut self, index: usize) -> &mut [u8] {
        &mut self.octets[index * SLOT..][..self.lens[index]]
    }

    /// The whole room of a datagram, to write one; `set_len` then says how long it became.
    pub(crate) fn room(&mut self, index: usize) -> &mut [u8] {
        &mut self.octets[index * SLOT..][..SLOT]
    }

    pub(crate) fn set_len(&mut self, index: usize, len: usize) {
        self.lens[index] = len.min(SLOT);
    }

    /// Who sent this datagram.
    pub(crate) fn peer(&self, index: usize) -> SocketAddrV4 {
        let peer = &self.peers[index];
        SocketAddrV4::new(
            Ipv4Addr::from(u32::from_be(peer.sin_addr.s_addr)),
            u16::from_be(peer.sin_port),
        )
    }

    /// To whom this datagram goes.
    pub(crate) fn set_peer(&mut self, index: usize, to: SocketAddrV4) {
        let peer = &mut self.peers[index];
        peer.sin_family = libc::AF_INET as libc::sa_family_t;
        peer.sin_addr.s_addr = u32::from(*to.ip()).to_be();
        peer.sin_port = to.port().to_be();
    }

    /// Points the headers at the buffers, which never move.
    fn prepare(&mut self, named: bool, room: bool) {
        let octets = self.octets.as_mut_ptr();
        let iovecs = self.iovecs.as_mut_ptr();
        let peers = self.peers.as_mut_ptr();
        for (index, header) in self.headers.iter_mut().enumerate() {
            let header = &mut header.msg_hdr;
            let iov_len = if room { SLOT } else { self.lens[index] };
            // SAFETY: each vector has as many entries as there are headers, `octets` SLOT for each.
            unsafe {
                let iov_base = octets.add(index * SLOT).cast();
                iovecs.add(index).write(libc::iovec { iov_base, iov_len });
                header.msg_iov = iovecs.add(index);
                header.msg_iovlen = 1;
                if named {
                    header.msg_name = peers.add(index).cast();
                    header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
                }
            }
        }
    }

    /// Receives what is there, at most `max`; with the senders' addresses if `named` (a connected socket needs none).
    pub(crate) fn receive(&mut self, fd: BorrowedFd<'_>, max: usize, named: bool, wait: Wait) -> io::Result<usize> {
        self.prepare(named, true);
        let max = max.min(self.headers.len());
        let flags = match wait {
            Wait::ForOne => libc::MSG_WAITFORONE,
            Wait::Never => libc::MSG_DONTWAIT,
        };
        // SAFETY: `max` headers are there, each with one buffer of SLOT octets and one address that outlive the call.
        let got = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                max as libc::c_uint,
                flags,
                ptr::null_mut(),
            )
        };
        let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        for (len, header) in self.lens.iter_mut().zip(&self.headers).take(got) {
            *len = header.msg_len as usize;
        }
        Ok(got)
    }

    /// Sends the first `count` datagrams, going on after a part of them went; gives how many went.
    pub(crate) fn send(&mut self, fd: BorrowedFd<'_>, count: usize, named: bool) -> io::Result<usize> {
        self.prepare(named, false);
        let count = count.min(self.headers.len());
        let mut sent = 0;
        while sent < count {
            // SAFETY: the headers from `sent` to `count` are there, their buffers and addresses outlive the call.
            let went = unsafe {
                let first = self.headers.as_mut_ptr().add(sent);
                libc::sendmmsg(fd.as_raw_fd(), first, (count - sent) as libc::c_uint, 0)
            };
            match usize::try_from(went) {
                Ok(went) if went > 0 => sent += went,
                _ if sent > 0 => break,
                _ => return Err(io::Error::last_os_error()),
            }
        }
        Ok(sent)
    }
}

/// Waits until one of the descriptors can be read (or the time is over); says of each whether it can.
pub(crate) fn wait_readable<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    longest: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled = fds.map(|fd| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    let longest = longest.map(|longest| libc::timespec {
        tv_sec: longest.as_secs().cast_signed(),
        tv_nsec: i64::from(longest.subsec_nanos()),
    });
    let longest = longest.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `polled` has N entries and `longest` is null or a time on this stack.
    let got = unsafe { libc::ppoll(polled.as_mut_ptr(), N as libc::nfds_t, longest, ptr::null()) };
    if got < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(polled.map(|one| one.revents != 0))
}

/// Lets a thread run on these cores only; 0 is the calling thread. New threads and processes inherit it.
pub(crate) fn pin(thread: u32, cores: &[usize]) -> io::Result<()> {
    // SAFETY: a set of bits; all zeros is the empty one, and CPU_SET checks the bounds.
    let mut set = unsafe { zeroed::<libc::cpu_set_t>() };
    for core in cores {
        // SAFETY: as above.
        unsafe { libc::CPU_SET(*core, &mut set) };
    }
    // SAFETY: the set outlives the call.
    done(unsafe { libc::sched_setaffinity(thread.cast_signed(), size_of::<libc::cpu_set_t>(), &raw const set) })
}

/// Has the calling thread run as soon as it can, before all ordinary ones. It must sleep most of the time.
pub(crate) fn run_first() -> io::Result<()> {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: the structure outlives the call.
    done(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) })
}

/// Sends a signal to one process, by its id.
pub(crate) fn signal(pid: u32, number: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    done(unsafe { libc::kill(pid.cast_signed(), number) })
}

/// The child is killed when the thread that starts it ends, whatever ends it: no server outlives the harness.
pub(crate) fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe and touches no memory.
    unsafe {
        command.pre_exec(|| done(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)));
    }
}

/// The child starts in this network namespace.
pub(crate) fn start_inside(command: &mut Command, namespace: File) {
    // SAFETY: setns is a system call and nothing else; the descriptor is open as long as the command is there.
    unsafe {
        command.pre_exec(move || done(libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET)));
    }
}

/// A receive buffer that holds a burst; beyond the system's limit if we may.
pub(crate) fn receive_buffer(fd: BorrowedFd<'_>, octets: i32) {
    for option in [libc::SO_RCVBUFFORCE, libc::SO_RCVBUF] {
        // SAFETY: the option is an int, which outlives the call.
        let outcome = unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const octets).cast(),
                size_of::<i32>() as libc::socklen_t,
            )
        };
        if outcome == 0 {
            return;
        }
    }
}

/// As many open files as the hard limit gives, for us and for what we start.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure outlives both calls.
    unsafe {
        done(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit))?;
        limit.rlim_cur = limit.rlim_max;
        done(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))?;
    }
    Ok(limit.rlim_cur)
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    // SAFETY: it cannot fail and touches no memory.
    unsafe { libc::geteuid() == 0 }
}

/// Moves the calling thread, and no other, into a network namespace.
pub(crate) fn enter_namespace(namespace: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    done(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })
}

/// A TUN device in the namespace of the calling thread: reading takes a packet, writing brings one in.
pub(crate) fn open_tun(name: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Reading takes what is there and no more.
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    let file = options.open("/dev/net/tun")?;
    // SAFETY: a plain structure of C.
    let mut request = unsafe { zeroed::<libc::ifreq>() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which outlives the call.
    done(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    Ok(file)
}

fn done(outcome: libc::c_int) -> io::Result<()> {
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
