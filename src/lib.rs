//! **tacenda**: an encrypted DNS stub resolver. It takes classic DNS on this host, answers from its cache, and asks a trusted
//! resolver over DNS over HTTPS or DNS over TLS for the rest. *The LAN router and the ISP never see a query name.*
//!
//! This page is the map; the code is in the rooms.
//!
//! # The road of one query
//! ```text
//! serve::udp, serve::tcp   a datagram or a frame comes in; one read of the clock a batch
//!  wire::query             Query::parse          malformed: an error or silence, and no more work
//!  serve::rate             allows                not for loopback; a network that asks too much over UDP is sent to TCP
//!  resolve::answer_now     cache::fresh          decided on under these very rules: copied and patched. A HIT ENDS HERE
//!                          policy::verdict       the user's own record, a name that stays home or is blocked: synthesized here; or it
//!                                                has a route, or a window is open for it
//!                          cache::get            fresh, but of a route or of older rules: looked at, then given
//!                                                ending: the same, sent, and then asked again behind it
//!                                                past its end: given if no upstream works, or as below
//! ---------------------------------------------------------------------------- a miss; tokio from here
//!  resolve::answer_later   inflight::join        the first asks, the others wait; who leaves cancels nobody
//!                                                after 1.8 s, or a failure, an answer past its end is given (RFC 8767)
//!   upstream::pool         ask                   select: in order, the fastest, or spread by domain; the next one when the first
//!                                                fails or takes long
//!    transport             exchange              DoT or DoH; id and question matched; a connection that closes or falls
//!                                                silent is succeeded by another, and its queries move there;
//!                                                or, for the zones of a route, classic DNS to the route's own server
//!   wire::answer           Answer::check         only what answers the question is kept; read and written anew, once
//!   policy::allows         rebind                a public name must not lead to a private place: withheld as NODATA
//!   cache::put             lifetime              RFC 2308, RFC 9520
//!  resolve::failure        RCODE and EDE         every failure, in one match
//! serve                    Settled::write, sent
//! ```
//!
//! # Start and stop
//! ```text
//!  cli::run                what the environment says of a service manager; the configuration
//!  os::socket::Inherited   sockets that were bound for us, which go on after us
//!  app::doors              every other socket bound, while there are the rights for it; no thread runs yet
//!  os::sandbox             files, ports, programs and rights that the configuration does not need are given up; then the first thread begins
//!  app::App::start         resolver, receiving threads, tasks
//!  os::notify              READY=1, and RELOADING=1, STOPPING=1 in their time
//!  app::life               the watchdog is fed while serve::Pulse says that every receiving thread goes round
//! ```
//!
//! # Who may import whom
//! ```text
//!  8  main -> cli -> app      compose; may import everything below
//!  7  config   admin          config: the types of the rooms' settings; admin: stats only
//!  6  serve                   wire, resolve, os::socket, stats
//!  5  resolve                 wire, policy, cache, upstream, stats
//!  4  upstream                wire, transport, stats
//!  3  transport               wire, os::socket, stats   (tokio, rustls, h2 first appear here)
//!  2  policy   cache          wire, stats           (siblings, never each other)
//!  1  wire                    std only
//!  0  stats  shutdown  os     leaves; os::link (the network changed) is for app and os::dns::events, os::dns (whom the host asks) for cli
//! ```
//!
//! # `tacenda system`: whom the host asks
//! ```text
//! os::dns (Machine)         the same on every system: each step is in the journal, with what stood there, before it is done
//!  linux, macos, windows    facts: what files, scutil or the registry say; changes nothing
//!                           plan: pure: which steps, or why it cannot be done
//!  table                    macos and windows: a step is some rows of a table, written and taken back whole
//! cli::system::verify       one fresh name, directly, through libc in a process of its own, through 127.0.0.53: policy::probe's
//!                           address each time, or everything is undone
//! os::dns::undo (restore)   backwards; only what is still ours; as often as it takes
//!  linux::roads             pure: of what networks wrote since, the newest whose link still leads to its server
//! os::dns (salvage)         the same without a journal that can be read: by our marks, and a copy of the file
//! os::dns::events (watch)   files, the network and the bus tell when to look whether it stands
//! ```
//!
//! # `tacenda guard`: what leaves this host
//! ```text
//! cli::guard::facts         the configuration's routes and exemptions, this host's interfaces, the user whom tacenda runs as
//! os::guard::ruleset        pure: the packet rules, as text, with a mark that tells them from others
//! os::guard (put, hold)     nft puts them in force in one transaction; the table is held, and outlives whoever holds it
//! cli::guard::watch         a process of root's: the rules are as os::guard::wish says, from before the network is up
//! cli::leaktest             canaries by every way a program could take, and a look at every link meanwhile
//! ```
//!
//! # `tacenda portal`: a hotel's sign-in page
//! ```text
//! app::portal::detect       no upstream works: web servers whose answers are known, at fixed addresses; who else answers is the page. No name
//!                           is asked for it
//! policy::portal            meanwhile the names by which systems look for a page are answered from a table, for a second each
//! cli::portal (open)        a person consents: names, resolver, interface, minutes; os::dns::handed_out says what DHCP said
//! cli::portal::api          in the window: what the network itself says of its page (RFC 8908); a name that it names needs consent too
//! os::guard::window         root's file in /run, the one thing that the daemon and the guard's keeper both read
//! app::portal::opened       a road to that resolver by a leave that ends; its cache goes with it
//! os::guard (portal4/6)     (interface, resolver) pairs with a timeout: the kernel closes them though everything is dead
//! ```
//! It closes with its time, its network, the consent, or the first answer of an upstream. The names are in root's file alone; the daemon counts
//! by their places in it, so that `portal status` can say what was sent and nothing that the daemon tells or writes holds a name.
//!
//! # `tacenda status` and the page: does the promise hold now
//! ```text
//! os::report                root's helpers say how they stand (system DNS, guard): files in /run, true for a while only
//! app::figures              one snapshot of all rooms and of these
//! admin::protection         pure: part by part good, unknown, gap or bad, and what to type; in /stats, /metrics and on the page
//! admin::history            the last hour, and what happened: the difference between two snapshots, so that no room has to tell
//! cli::status, cli::doctor  the same, and what was tried: whether a fresh name arrives, who holds the port, what an upstream does
//! cli::explain              one name: rule, cache, road, answer; asked of a tacenda and of nobody else
//! os::usage                 what the process takes, by a file that was opened before the sandbox
//! ```
//!
//! # Invariants, each with a test
//! - No code path outside a route and an open window can send classic DNS: the transport takes addresses only, and name look-ups are
//!   `disallowed-methods`. [`transport::plain`] alone sends it: there is no `Plain` without a [`transport::plain::Leave`]. A `RouteOnly` is
//!   made by what reads a `[[route]]`, and holds its zones; a `WindowOnly` by what reads root's consent, and holds some names and an end. A
//!   name outside them is refused before a socket is opened, in whatever pool the upstream stands; and each question in clear text is counted.
//! - What a hotel says in a window is given for that window's names only, while it is open; no configuration opens one.
//! - A question that is bound to an interface leaves by that one or fails at once, in clear text and over TLS, and no late answer to it
//!   is refused by the kernel, which would quote it by another way. No connection outlives the way on which it was opened. The same holds
//!   for a route's router (`via`), but for the moment between the look at the kernel's route and the packet: one whose router it is no
//!   more is silenced before it is closed.
//! - An upstream query is made of the [`wire::question::QuestionKey`] alone, padded to 128 octets.
//! - [`wire::answer::Answer::check`] is the only way for upstream data to come in.
//! - An answer past its end is marked as such, and never takes the place of a failed validation.
//! - A hit allocates nothing, awaits nothing and takes no lock that is held across I/O.
//! - Every query ends within 5 s as an answer or as RCODE and EDE.
//! - Time is a value below floor 3; shells read [`tokio::time::Instant`] only; no test sleeps.
//! - Names that stay home never reach a transport.
//! - Query names and client addresses are in no log above `trace`, no metric, no file; `Debug` of what holds a name hides it.
//! - Wherever `system set` or `system restore` is cut off, `restore` brings back octets, mode, owner and link of every file, links and rows of
//!   tables as they were; what others wrote since stays. A backup never holds our own address, and `/etc/resolv.conf` never two servers of which one is ours.
//! - While the guard is on, no packet to a port of DNS, DNS over TLS, multicast DNS, LLMNR or NetBIOS leaves this host, but tacenda's own by the
//!   ways that routes name, and to servers that the configuration exempts; also while nothing of ours runs.
//! - Once it serves, the daemon reads its own folders, writes its state folder, connects to the ports of its resolvers and to 443 and 853, and
//!   starts no program ([`os::sandbox`]), as far as the kernel knows how.
//! - Every table, queue, buffer and loop has a named limit with its reason beside it.
//!
//! Ids such as `R1035-7` or `T-SLOW` in comments, and `r1035_7_...` in the names of tests, are lines of the project's list of RFC
//! duties and threats: RFC and running number, or a threat by its name.
//!
//! # Where this differs from the design page
//! - `answer_later` gives back a [`resolve::Settled`] instead of filling a buffer: a buffer of 64 KiB held across the wait would
//!   cost a client 64 KiB for each query under way. The shell writes it when there is something to write.
//! - `Exchange` gives back a response *and* the seconds it spent in HTTP caches (RFC 8484 section 5.1), because only the check
//!   knows where the TTLs are.
//! - An upstream that takes long is not given up after its share of the deadline; the next one is asked beside it and the first
//!   usable answer counts.
//! - `Answer::check` refuses with `Unusable`, which keeps a resolver's own RCODE and EDE beside what is malformed, and the answer
//!   carries the few facts that the cache needs, so that nothing is parsed twice.
//! - Silence is answered with two reasons, EDE 22 and 23, as public resolvers do.
//! - `ReadyThenRefresh` carries the outcome too; `policy::inspect` is `allows`, and what it does not allow is cached as NODATA.
//! - The upstream engine is in `transport::link`: suspicion and hedges are of connections to one resolver, and only there are they
//!   in sight. The pool above it decides between resolvers, and never hedges across them: that would show a name to two.
//! - A connection lives 90 to 120 minutes, not 10 to 30: one handshake an hour of light browsing is the promise.
//! - Time servers' names may be asked without a look at certificates' dates (`upstream::undated`): or else a wrong clock stays wrong.
//! - After a change of network the two best upstreams are connected to, but a name is not raced: it would be shown to two.
//! - `spread` needs a keyed hash, `upstream` gets it from `transport::keyed`, so that `ring` stays there.
//! - What outlives a run (`spread`'s secret, addresses that were learned) is in `app::state`, written by `os::file`.
//! - A `RouteOnly` is leave for zones and never for the root: `udp://` for all names is refused, even in a route.
//! - One question for a *name* is in flight at a classic server, though different types could be asked at once without a birthday: a
//!   forged response fits one type. The promise is easier to test this way and costs a round trip inside a tunnel.
//! - An alias of the user's to a name of others is answered as one entry of the cache, on the road of its target: hits stay pure, and what a
//!   link brought goes with it. Records that change have it asked anew (generations, as with lists).
//! - The undo journal is not in the daemon's state but in `/var/lib/tacenda-system`: root puts back what it says, and systemd gives the state
//!   to the daemon's user. It holds our own octets and no hash: half a file written in place is known as ours too, and `ring` stays away.
//! - On macOS and Windows it is `scutil` and the registry, without `networksetup` and `SetInterfaceDnsSettings`: one way each, whose every write
//!   is one value that can be put back. What is set by hand in macOS' store is overwritten too, since it wins over what DHCP brings. On Windows the
//!   journal is below Program Files: in ProgramData every user may make folders.
//! - The names to verify by are below `test.`, not `invalid.`: systemd-resolved answers that one itself and asks nobody.
//! - Drop-ins are named `zz-tacenda`, not `90-`: dhclient's hook for systemd-resolved writes `isc-dhcp-...`, which would come after and add its
//!   servers. NetworkManager reads `/etc` after `/run`: where its own files there speak of DNS, ours is there too.
//! - `os::privileges` is [`os::sandbox`]; sockets are bound by `app::doors` before there is a runtime, because what is given up holds only for
//!   threads that begin afterwards.
//! - At the start the first upstream is connected to before anybody asks: it learns that a host has started, and no name.
//! - The watchdog is fed by threads that come round, not by a query to ourselves ([`serve::Pulse`] says why).
//! - A new configuration that needs a port or a folder which nobody named at the start is refused: it counts after a restart.
//! - `portal.json` is `portal/window.json`: the report beside it changes with every look of the guard's keeper, who watches this one's folder.
//!   Both units make sure that the folder is there before the daemon confines itself, and that it stays.
//! - A window's names are exact: there is no `--all`. A private browser for the page is not started, and no network is remembered.
//! - RFC 8910 is read where DHCP clients write it down, and nobody is asked for it. The API of RFC 8908 is asked by the command, not the daemon,
//!   and only in a window: its host has a name too, and a person has to see it first.
//! - In a window a sandboxed tacenda asks over UDP alone: port 53 is not among the TCP ports that it may ever connect to.
//! - Loopback addresses that a hotel gives are withheld: its page could else speak to what listens on this host.
//! - The guard knows tacenda by the owner of its state folder, not by a fixed number: systemd gives a `DynamicUser=` the number that owns it.
//! - The guard's keeper speaks no protocol: what is wanted is a file of root's, and a command waits until the kernel has it. Rules are changed by
//!   letting go of the table for the moment of one transaction: nft is another process, and the kernel would refuse it.
//! - Canaries of the leak test are below `verify.tacenda.test` like other probes, so that tacenda's own answer is told from anybody's.
//! - A question that comes in at loopback is of this host whatever its source: the guard leads it there with the address of another link. Such
//!   sockets are bound to the interface too, since kernels can be told to let neighbours in.
//! - Loopback is tracked like everything (`notrack` broke redirections of others and brought nothing), and what another's redirection has led to
//!   another port is judged by the port it was sent to. A set of rules is tried out in a table of another name before ours is let go of.
//! - Split domains that a VPN wanted are offered by `system status` as a route to be written down, from what the watch took away of it, and only
//!   of links without a cable.
//! - What is wanted of the guard and cannot be read shuts everything: somebody wanted something.
//! - moka decides what stays in the cache, and is not asked for what is in it: `cache::index` finds an answer in a seventh of the time at a
//!   million names. Its housekeeping is done by those who put answers, on the runtime's threads, so it needs no thread and no clock of its own.
//! - `/` is a page for a browser and a list for everybody else. Upstreams of routes are in `/stats` with their road, and are no upstreams to the
//!   health check: a VPN's server that answers says nothing of the others.
//! - A package's units are those that `tacenda service install` writes, word for word: what a package brings is only turned on. A removal gives
//!   back first what was set, whosever the units are, or does not happen. Units stay enabled until the package is gone: it may stay after all.
//! - tacenda.toml(5) is made of the commented default file: a key is explained in one place.
//! - A static build has a libc of its own, which knows no nsswitch.conf: where it must know what programs find, the host's `getent` asks.
//! - Batches are taken from the kernel by raw calls: musl's own take one datagram after the other.
//! - What a command has set is seen by its keeper a moment later: the command waits for that, so that `status` says the same ([`cli`]).
//! - A failed road is remembered for a flat second, only what a resolver said grows (RFC 9520): roads come back.

pub mod admin;
pub mod app;
pub mod cache;
pub mod cli;
pub mod config;
pub mod os;
pub mod policy;
pub mod resolve;
pub mod serve;
pub mod shutdown;
pub mod stats;
pub mod transport;
pub mod upstream;
pub mod wire;
