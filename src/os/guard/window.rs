//! What root allows for a sign-in page: which names tacenda may ask of whom, by which interface, until when. In `/run`, so that it does not
//! outlive the machine's run; read by the daemon, which asks, and by whoever keeps the guard, which lets the packets out.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::wish::{Moment, Until};
use crate::os::file;
use crate::os::report;

/// A consent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Window {
    /// Of its form.
    pub version: u32,
    /// By this interface and no other.
    pub interface: String,
    /// Its number.
    pub index: u32,
    /// Its addresses: without one of them it is another network.
    pub addresses: Vec<IpAddr>,
    /// The network's resolvers.
    pub servers: Vec<SocketAddr>,
    /// The names, and none below them.
    pub names: Vec<String>,
    /// When it was given: seconds since the machine's start. Who started later was not there, and does not take it.
    pub given: u64,
    /// When it ends.
    pub until: Until,
}

/// An interface as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub interface: String,
    /// Its number.
    pub index: u32,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl Window {
    /// For so long from now on.
    pub fn new(link: Link, servers: Vec<SocketAddr>, names: Vec<String>, now: &Moment, time: Duration) -> Self {
        Self {
            version: VERSION,
            interface: link.interface,
            index: link.index,
            addresses: link.addresses,
            servers,
            names,
            given: now.uptime().as_secs(),
            until: Until::after(now, time.min(LONGEST)),
        }
    }

    /// The same with one more name, until the same end.
    pub fn with(&self, name: String) -> Self {
        let mut more = self.clone();
        more.names.push(name);
        more
    }

    /// Whether this is `other`, with more names.
    pub fn extends(&self, other: &Self) -> bool {
        let same = Self {
            names: other.names.clone(),
            ..self.clone()
        };
        same == *other && self.names.len() > other.names.len() && self.names.starts_with(&other.names)
    }

    /// How long it is open yet, `uptime` after the machine's start.
    pub fn left(&self, uptime: Duration) -> Duration {
        // Whatever the file says.
        self.until.left_at(uptime).min(LONGEST + Duration::from_secs(1))
    }

    /// Whether an interface of its name, with this number and these addresses, is still on the network that it was opened for.
    pub fn is_for(&self, index: u32, addresses: &[IpAddr]) -> bool {
        self.index == index && self.addresses.iter().all(|address| addresses.contains(address))
    }

    fn check(&self) -> Result<(), &'static str> {
        let counts = [
            (self.servers.len(), MAX_SERVERS),
            (self.names.len(), MAX_NAMES),
            (self.addresses.len(), MAX_ADDRESSES),
        ];
        if self.version != VERSION {
            return Err("of another version of tacenda");
        }
        if counts.iter().any(|(count, most)| !(1..=*most).contains(count)) {
            return Err("with too many entries, or with none");
        }
        Ok(())
    }
}

/// Its names will be asked for, and debug output ends up in logs.
impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("interface", &self.interface)
            .field("servers", &self.servers)
            .field("names", &self.names.len())
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// Where the consent is.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// A folder of its own below the report's: that one changes with every look of whoever keeps the guard.
    pub fn of_this_host() -> Self {
        Self::at(&Path::new(report::FOLDER).join("portal"))
    }

    /// In this folder.
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Its folder: a window opens and closes there.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder, for everybody to read: who watches and who is confined can only be given what is there.
    ///
    /// # Errors
    /// The system's own.
    pub fn make_folder(&self) -> io::Result<()> {
        file::make_public_folder(&self.folder)
    }

    /// The last consent, be its time over or not; none if it was taken back.
    ///
    /// # Errors
    /// The system's own, and `InvalidData` for what this tacenda cannot read, or others than root could have written.
    pub fn load(&self) -> io::Result<Option<Window>> {
        let path = self.folder.join(NAME);
        let Some(octets) = file::read(&path, MAX_LEN)? else {
            return Ok(None);
        };
        #[cfg(unix)]
        for path in [&path, &self.folder] {
            file::is_of_root_or_this_user_alone(path)?;
        }
        let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()));
        // serde's words would repeat some of it.
        let window: Window = serde_json::from_slice(&octets).map_err(|_| invalid("no consent that can be read"))?;
        window.check().map_err(invalid)?;
        Ok(Some(window))
    }

    /// In the place of the last one, for everybody to read.
    ///
    /// # Errors
    /// The system's own.
    pub fn save(&self, window: &Window) -> io::Result<()> {
        let _alone = self.alone()?;
        self.write(window)
    }

    /// Adds a name to the window that a person sees before him; false, and nothing is changed, if that is not the last consent any more.
    ///
    /// # Errors
    /// As [`Self::load`] and [`Self::save`].
    pub fn add_name(&self, window: &Window, name: String) -> io::Result<bool> {
        let _alone = self.alone()?;
        let is_last = self.load()?.as_ref() == Some(window);
        if is_last {
            self.write(&window.with(name))?;
        }
        Ok(is_last)
    }

    fn write(&self, window: &Window) -> io::Result<()> {
        file::replace_public(&self.folder.join(NAME), &serde_json::to_vec_pretty(window)?)
    }

    /// Two commands of root's do not write at once, while this is held. Nobody else may hold it.
    fn alone(&self) -> io::Result<File> {
        self.make_folder()?;
        let lock = file::open_lock(&self.folder.join(LOCK))?;
        lock.lock()?;
        Ok(lock)
    }

    /// Takes the consent back; false if there was none.
    ///
    /// # Errors
    /// The system's own.
    pub fn remove(&self) -> io::Result<bool> {
        // Nothing is made where there is nothing.
        if !self.folder.join(NAME).exists() {
            return Ok(false);
        }
        let _alone = self.alone()?;
        match std::fs::remove_file(self.folder.join(NAME)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Nobody needs longer to sign in.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// A network has two or three.
pub const MAX_SERVERS: usize = 4;

/// A sign-in page has its own, that of who sells it, and some where its pictures are.
pub const MAX_NAMES: usize = 16;

/// An interface has some few.
const MAX_ADDRESSES: usize = 32;

/// What this version writes.
const VERSION: u32 = 1;

const NAME: &str = "window.json";
const LOCK: &str = ".lock";

/// Names and addresses at their longest take a third.
const MAX_LEN: u64 = 16 << 10;

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn window(time: Duration) -> Window {
        let link = Link {
            interface: "h0".into(),
            index: 7,
            addresses: vec![[192, 168, 77, 50].into()],
        };
        let now = Moment::now().expect("this system tells");
        let server = ([192, 168, 77, 1], 53).into();
        Window::new(link, vec![server], vec!["login.hotel.example".into()], &now, time)
    }

    #[test]
    fn it_is_read_as_it_was_written_and_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(&folder.path().join("portal"));
        assert_eq!(store.load().unwrap(), None);
        let window = window(Duration::from_secs(60));
        store.save(&window).unwrap();
        assert!(!format!("{window:?}").contains("hotel"));
        assert_eq!(store.load().unwrap(), Some(window));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(store.folder()), mode(&store.folder().join(NAME))), (0o755, 0o644));
        assert!(store.remove().unwrap() && !store.remove().unwrap());
        assert_eq!(store.load().unwrap(), None);
    }

    #[test]
    fn a_name_is_added_to_the_last_consent_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(&folder.path().join("portal"));
        let window = window(Duration::from_secs(60));
        store.save(&window).unwrap();
        assert!(store.add_name(&window, "cdn.example".into()).unwrap());
        let more = store.load().unwrap().unwrap();
        assert!(more.extends(&window) && more.names[1] == "cdn.example");
        assert!(!store.add_name(&window, "late.example".into()).unwrap());
        assert_eq!(store.load().unwrap(), Some(more.clone()));
        store.remove().unwrap();
        assert!(!store.add_name(&more, "late.example".into()).unwrap());
        assert_eq!(store.load().unwrap(), None);
        let mode = fs::metadata(store.folder().join(LOCK)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "or others could hold it");
    }

    #[test]
    fn it_ends_with_its_time_and_never_later_than_an_hour() {
        let window = window(Duration::from_secs(86_400));
        let begin = Duration::from_secs(window.until.seconds()).saturating_sub(LONGEST);
        assert!(window.left(begin).abs_diff(LONGEST) <= Duration::from_secs(2));
        assert!(window.left(Duration::ZERO) <= LONGEST + Duration::from_secs(1));
        assert_eq!(window.left(begin + LONGEST + Duration::from_secs(2)), Duration::ZERO);
    }

    #[test]
    fn more_names_make_the_same_window_longer_and_nothing_else_does() {
        let window = window(Duration::from_secs(60));
        let more = window.with("cdn.example".into());
        assert!(more.extends(&window) && !window.extends(&more) && !window.extends(&window));
        let swapped = Window {
            names: vec!["cdn.example".into(), "login.hotel.example".into()],
            ..window.clone()
        };
        let later = Window {
            given: window.given + 1,
            ..more.clone()
        };
        assert!(!swapped.extends(&window) && !later.extends(&window));
    }

    #[test]
    fn another_network_is_known_by_its_number_and_addresses() {
        let window = window(Duration::from_secs(60));
        let [own, other]: [IpAddr; 2] = ["192.168.77.50", "fd77::5"].map(|text| text.parse().unwrap());
        assert!(window.is_for(7, &[other, own]), "one more is no change");
        assert!(!window.is_for(8, &[own]) && !window.is_for(7, &[other]) && !window.is_for(7, &[]));
    }

    #[test]
    fn what_is_no_consent_or_anybodys_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let path = folder.path().join(NAME);
        let good = serde_json::to_string(&window(Duration::from_secs(60))).unwrap();
        let none: String = good.replace("[\"login.hotel.example\"]", "[]");
        for text in ["", "{", "[]", "{\"version\":1}", &good.replace(":1,", ":2,"), &none] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert_eq!(store.load().unwrap_err().kind(), io::ErrorKind::InvalidData, "{text}");
        }
        fs::write(&path, &good).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(store.load().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
