//! What the rows share: the options, a folder, the bench upstream; and how a set of programs is started.

use std::cell::{Cell, OnceCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::children::{self, Folder};
use crate::closed::{self, Load, Names, Until};
use crate::configs::{Address, CacheSize, Setting, Transport};
use crate::options::Options;
use crate::peers::{self, Kind, Place, Program};
use crate::upstream::Upstream;

/// The laboratory.
pub(crate) struct Lab {
    pub(crate) options: Options,
    pub(crate) folder: Folder,
    upstream: OnceCell<Upstream>,
    named: Cell<u64>,
}

/// The servers' core.
pub(crate) const SERVER_CORE: usize = 0;

impl Lab {
    pub(crate) fn new(options: Options) -> Result<Self, String> {
        Ok(Self {
            options,
            folder: children::folder()?,
            upstream: OnceCell::new(),
            named: Cell::new(0),
        })
    }

    /// Where generator and upstream run if servers have a core of their own.
    pub(crate) fn other_core() -> usize {
        peers::all_cores().len() - 1
    }

    /// The bench upstream, started when it is first needed.
    pub(crate) fn upstream(&self) -> Result<Address, String> {
        if let Some(upstream) = self.upstream.get() {
            return Ok(upstream.address);
        }
        let upstream = Upstream::start(self.folder.path(), Self::other_core(), &self.options)?;
        Ok(self.upstream.get_or_init(|| upstream).address)
    }

    /// Names that nobody has asked yet.
    pub(crate) fn new_names(&self, count: u64) -> Names {
        let first = self.named.get();
        self.named.set(first + count);
        Names {
            prefix: b'u',
            first,
            count,
        }
    }

    /// A setting on a free port of loopback.
    pub(crate) fn setting(&self, upstream: Address, transport: Transport, cache: CacheSize) -> Result<Setting, String> {
        Ok(Setting {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), peers::free_port()?),
            upstream,
            transport,
            cache,
            folder: self.folder.path().to_owned(),
        })
    }

    /// Those of `kinds` that are wanted and can ask in this way.
    pub(crate) fn chosen(&self, kinds: &[Kind], transport: Transport) -> Vec<(Kind, Transport)> {
        kinds
            .iter()
            .filter(|kind| kind.speaks(transport) && self.options.wants_peer(kind.name()))
            .map(|kind| (*kind, transport))
            .collect()
    }

    /// Starts tacenda and these peers, all of them at once, and waits until each answers.
    pub(crate) fn fleet(
        &self,
        floor: Option<Kind>,
        kinds: &[(Kind, Transport)],
        upstream: Address,
        cache: CacheSize,
        place: Place<'_>,
    ) -> Result<Fleet, String> {
        let start = |kind: Kind, transport| -> Result<Program, String> {
            let setting = self.setting(upstream, transport, cache)?;
            Program::start(kind, &setting, place, &self.options)
        };
        let mut fleet = Fleet::default();
        let mut started = Vec::new();
        for (kind, transport) in kinds {
            match start(*kind, *transport) {
                Ok(program) => started.push(program),
                Err(why) => fleet.absent.push(format!("{kind}: {why}")),
            }
        }
        let socket = match place.namespace {
            Some(namespace) => namespace.inside(peers::asking_socket)?,
            None => peers::asking_socket()?,
        };
        if let Some(kind) = floor {
            let mut program = start(kind, Transport::Dot)?;
            match program.wait_ready(&socket) {
                Ok(()) => fleet.floor = Some(program),
                Err(why) => fleet.absent.push(format!("{kind}: {why}")),
            }
        }
        for mut program in started {
            match program.wait_ready(&socket) {
                Ok(()) => fleet.programs.push(program),
                Err(why) => fleet.absent.push(format!("{}: {why}", program.label)),
            }
        }
        Ok(fleet)
    }
}

/// Programs that run.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) floor: Option<Program>,
    pub(crate) programs: Vec<Program>,
    /// Who is not among them, and why.
    pub(crate) absent: Vec<String>,
}

impl Fleet {
    /// Has each of them ask its upstream for these names, once; who fails leaves the fleet.
    pub(crate) fn warm(&mut self, names: Names, outstanding: usize) {
        let absent = &mut self.absent;
        self.programs.retain(|program| match fill(program, names, outstanding) {
            Ok(()) => true,
            Err(why) => {
                absent.push(format!("{}: {why}", program.label));
                false
            }
        });
    }

    /// The address of any of them, to make a load from.
    pub(crate) fn any_address(&self) -> Result<SocketAddr, String> {
        let first = self.programs.first().map(|program| program.address);
        first.ok_or_else(|| format!("nobody runs: {}", self.absent.join("; ")))
    }

    pub(crate) fn all(&self) -> Vec<&Program> {
        self.programs.iter().collect()
    }
}

/// Asks each name until it is answered.
pub(crate) fn fill(program: &Program, names: Names, outstanding: usize) -> Result<(), String> {
    let mut load = Load::saturated(program.address, names, std::time::Duration::ZERO).outstanding(outstanding);
    load.until = Until::All;
    let tally = closed::run(&load)?;
    // Lost ones were asked again here: that costs nothing but time.
    match tally.first_wrong {
        Some(wrong) => Err(format!(
            "{} of {} answers wrong while filling: {wrong}",
            tally.wrong, names.count
        )),
        None if tally.answered < names.count => Err(format!("{} of {} names got no answer", tally.lost, names.count)),
        None => Ok(()),
    }
}
