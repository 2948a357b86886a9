//! A system whose table is a model: set and restore cut off after every single thing that is written, then undone.

use std::cell::RefCell;
use std::fmt::Debug;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::rc::Rc;

use super::Table;
use crate::os::dns::fault::Fault;
use crate::os::dns::testing::{patiently, quick_folder};
use crate::os::dns::{Done, Error, Machine};

pub(in crate::os::dns) const LISTEN: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a model of a table is to tests.
pub(in crate::os::dns) trait World: Clone + PartialEq + Debug {
    /// After the next start of the machine.
    fn restarted(&self) -> Self;

    /// Whether programs are led to us and to somebody else too, in one place.
    fn names_two(&self) -> bool;
}

/// A host: its journal's folder and its table.
pub(in crate::os::dns) struct Host<T, W> {
    pub(in crate::os::dns) folder: tempfile::TempDir,
    pub(in crate::os::dns) world: Rc<RefCell<W>>,
    build: fn(&Path, Rc<RefCell<W>>) -> T,
}

impl<T: Table, W: World> Host<T, W> {
    pub(in crate::os::dns) fn new(world: W, build: fn(&Path, Rc<RefCell<W>>) -> T) -> Self {
        Self {
            folder: quick_folder(),
            world: Rc::new(RefCell::new(world)),
            build,
        }
    }

    /// The machine that is cut off somewhere.
    pub(in crate::os::dns) fn machine(&self, fault: Fault) -> Machine<T> {
        let system = (self.build)(self.folder.path(), Rc::clone(&self.world));
        Machine {
            fault,
            ..Machine::of(system)
        }
    }

    pub(in crate::os::dns) fn set(&self) -> Result<Done, Error> {
        set(&self.machine(Fault::default()))
    }

    pub(in crate::os::dns) fn restore(&self) -> Result<Option<Done>, Error> {
        patiently(|| self.machine(Fault::default()).restore())
    }

    pub(in crate::os::dns) fn set_again(&self) {
        patiently(|| self.machine(Fault::default()).set_again()).unwrap();
    }

    pub(in crate::os::dns) fn drift(&self) -> Option<String> {
        let drift = self.machine(Fault::default()).drift().unwrap();
        drift.map(|drift| drift.what)
    }

    pub(in crate::os::dns) fn world(&self) -> W {
        self.world.borrow().clone()
    }

    fn restart(&self) {
        let restarted = self.world.borrow().restarted();
        *self.world.borrow_mut() = restarted;
    }

    /// Everything is as it was, and no journal is left.
    fn assert_given_back(&self, what: &str, before: &W) {
        assert_eq!(self.world(), *before, "{what}");
        let journal = self.machine(Fault::default()).store.path();
        assert!(!journal.exists(), "{what}: a journal is left");
    }

    fn assert_never_two(&self, what: &str) {
        assert!(!self.world().names_two(), "{what}: {:?}", self.world());
    }
}

fn set<T: Table>(machine: &Machine<T>) -> Result<Done, Error> {
    patiently(|| machine.set(LISTEN, |_| Ok(())))
}

fn restore<T: Table>(machine: &Machine<T>) -> Result<(), Error> {
    patiently(|| machine.restore()).map(drop)
}

/// More points than any set or restore has.
const MAX_POINTS: u32 = 200;

/// A host for each point at which `work` can be cut off, cut off there.
fn cut<T: Table, W: World>(
    host: impl Fn() -> Host<T, W>,
    work: fn(&Machine<T>) -> Result<(), Error>,
    check: impl Fn(&str, Host<T, W>),
) {
    for point in 0..MAX_POINTS {
        let host = host();
        if work(&host.machine(Fault::after(point))).is_ok() {
            assert!(point > 4, "only {point} points");
            return;
        }
        let what = format!("cut off at {point}");
        host.assert_never_two(&what);
        check(&what, host);
    }
    panic!("it does not end");
}

/// Whatever is cut off, `restore` gives back everything; so does the one after it, should it be cut off too.
pub(in crate::os::dns) fn every_cut_is_undone<T: Table, W: World>(fresh: impl Fn() -> Host<T, W>) {
    let before = fresh().world();
    let ready = || {
        let host = fresh();
        host.set().unwrap();
        host
    };
    let host = ready();
    assert_ne!(host.world(), before, "nothing was set");
    host.assert_never_two("set");
    let after = host.world();
    let set_only = |machine: &Machine<T>| set(machine).map(drop);
    cut(&fresh, set_only, |what, host| {
        host.restore().unwrap();
        host.assert_given_back(&format!("set {what}"), &before);
    });
    cut(&fresh, set_only, |what, host| {
        host.set().unwrap();
        assert_eq!(host.world(), after, "set {what}, and again");
        host.restore().unwrap();
        host.assert_given_back(&format!("set {what}, and again"), &before);
    });
    cut(ready, restore, |what, host| {
        host.restore().unwrap();
        host.assert_given_back(&format!("restore {what}"), &before);
    });
    for second in 0..5 {
        cut(ready, restore, |what, host| {
            let _ = restore(&host.machine(Fault::after(second)));
            host.restore().unwrap();
            host.assert_given_back(&format!("restore {what}, and again at {second}"), &before);
        });
    }
}

/// A power cut at any moment, and the next start of the machine.
pub(in crate::os::dns) fn every_power_cut_is_undone<T: Table, W: World>(fresh: impl Fn() -> Host<T, W>) {
    let host = fresh();
    host.restart();
    let expected = host.world();
    let ready = || {
        let host = fresh();
        host.set().unwrap();
        host
    };
    let check = |what: &str, host: Host<T, W>| {
        host.restart();
        host.restore().unwrap();
        host.assert_given_back(what, &expected);
    };
    cut(&fresh, |machine| set(machine).map(drop), check);
    cut(ready, restore, check);
    check("nothing was cut off", ready());
    // Kept set over the start instead, and given back then.
    let host = ready();
    host.restart();
    host.set_again();
    assert_eq!((host.drift(), host.world().names_two()), (None, false));
    host.restore().unwrap();
    host.assert_given_back("kept set over a start", &expected);
}

/// What does not lead to us is undone by itself.
pub(in crate::os::dns) fn what_is_not_verified_is_undone<T: Table, W: World>(fresh: impl Fn() -> Host<T, W>) {
    let host = fresh();
    let before = host.world();
    let machine = host.machine(Fault::default());
    let failed = patiently(|| machine.set(LISTEN, |_| Err("names go elsewhere".to_owned())));
    assert!(
        matches!(&failed, Err(Error::Undone { why, .. }) if why == "names go elsewhere"),
        "{failed:?}"
    );
    host.assert_given_back("not verified", &before);
}

/// A journal that cannot be read, or is another system's, is put aside, and what is ours is taken away or said.
pub(in crate::os::dns) fn a_foreign_journal_is_refused<T: Table, W: World>(fresh: impl Fn() -> Host<T, W>) {
    let host = fresh();
    host.set().unwrap();
    let path = host.machine(Fault::default()).store.path();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(T::NAME, "plan9")).unwrap();
    let refused = host.set().unwrap_err().to_string();
    assert!(refused.contains("written on plan9, and this is"), "{refused}");
    let done = host.restore().unwrap().unwrap();
    assert!(done.back_end.is_none() && done.remarks.len() > 1, "{done:?}");
    assert_eq!(host.restore().unwrap(), None);
}
