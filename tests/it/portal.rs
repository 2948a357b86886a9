//! A hotel's sign-in page: found without asking a name, shown to people and to their systems, and nothing allowed by that.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{A, Ask, SERVFAIL, tick};
use crate::daemon::{Config, Daemon, run};
use crate::script::Reply;
use crate::upstream::Upstream;

const LOGIN: &str = "login.hotel.example";

/// A web server that says this to everybody.
fn page(says: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1024];
            // Whoever asks may be gone.
            if stream.read(&mut request).is_ok() {
                let _ = stream.write_all(says.as_bytes());
            }
        }
    });
    address
}

fn moved(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
}

/// A daemon whose upstream works when it is let, and whose probe is answered so.
struct Inn {
    daemon: Daemon,
    _upstream: Upstream,
    works: Arc<AtomicBool>,
}

impl Inn {
    fn new(says: String) -> Self {
        let works = Arc::new(AtomicBool::new(false));
        let is_let = Arc::clone(&works);
        let upstream = Upstream::start(move |heard| {
            if is_let.load(Ordering::SeqCst) {
                heard.answer(300, &[&[192, 0, 2, 1]]).into()
            } else {
                Reply::Close
            }
        });
        let port = page(says).port();
        let probe = format!("[portal]\nprobe = [\"127.0.0.1 http://probe.example:{port}/x Success\"]");
        let daemon = Config::new().doh(&upstream).table(&probe).start();
        Self {
            daemon,
            _upstream: upstream,
            works,
        }
    }

    /// Asks new names until the state is this one.
    fn until(&self, state: &str) -> Value {
        let begin = Instant::now();
        for number in 0.. {
            let portal = self.daemon.stats()["portal"].take();
            if portal["state"] == state && (state == "ok" || !portal["probe"].is_null()) {
                return portal;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "{portal}");
            Ask::new(&format!("n{number}.example"), A).udp(self.daemon.dns);
            tick();
        }
        unreachable!("it ends by its limit")
    }

    fn ask(&self, name: &str) -> (u16, Vec<String>, Vec<u32>) {
        let response = Ask::new(name, A).udp(self.daemon.dns);
        (response.rcode(), response.answers(), response.ttls())
    }
}

#[test]
fn a_page_is_found_shown_and_forgotten_and_its_name_is_asked_of_nobody() {
    let inn = Inn::new(moved("http://login.hotel.example/?x"));
    assert_eq!(
        inn.daemon.stats()["portal"],
        json!({"state": "ok", "probe": null, "host": null, "window": null})
    );
    let portal = inn.until("portal");
    assert_eq!((&portal["host"], &portal["probe"]), (&json!(LOGIN), &json!("page")));
    assert_eq!(inn.ask(LOGIN).0, SERVFAIL);
    let (_, answers, ttls) = inn.ask("captive.apple.com");
    assert_eq!((answers.len(), ttls), (1, vec![1]));
    assert!(answers[0].contains("17.253.109.201"), "{answers:?}");
    let metrics = inn.daemon.metrics();
    assert!(metrics.contains("tacenda_portal_state{state=\"portal\"} 1\n"));
    assert!(metrics.contains("tacenda_clear_packets_total{cause=\"portal\"} 0\n"));
    let (code, said, _) = run(&["portal", "status", "--config", &inn.daemon.config_path()]);
    assert!(
        code == 0 && said.contains("asks you to sign in at login.hotel.example"),
        "{code} {said}"
    );
    inn.works.store(true, Ordering::SeqCst);
    inn.until("ok");
    assert!(
        inn.ask("captive.apple.com").1[0].contains("192.0.2.1"),
        "asked like every name"
    );
    for log in [inn.daemon.stderr(), metrics] {
        assert!(!log.contains("hotel"), "{log}");
    }
}

#[test]
fn a_network_that_lets_all_through_has_no_page() {
    let inn = Inn::new("HTTP/1.1 200 OK\r\n\r\nSuccess".to_owned());
    let portal = inn.until("suspect");
    assert_eq!((&portal["probe"], &portal["host"]), (&json!("open"), &json!(null)));
}

#[test]
fn what_a_page_says_of_itself_is_not_repeated_unless_it_is_a_host() {
    let inn = Inn::new(moved("http://user:secret@login.hotel.example/"));
    assert_eq!(inn.until("portal")["host"], json!(null));
    let config = inn.daemon.config_path();
    let (code, said, _) = run(&["portal", "status", "--json", "--config", &config]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &said["state"], &said["window"]),
        (0, &json!("portal"), &json!(null))
    );
    // Nobody is asked, not even as root: there is no name that could be allowed.
    let (code, _, stderr) = run(&["portal", "open", "--yes", "--config", &config]);
    assert!([1, 77].contains(&code), "{code} {stderr}");
    assert_eq!(inn.daemon.stats()["portal"]["window"], json!(null));
}

#[test]
fn a_time_name_or_interface_that_is_none_is_wrong_usage() {
    for (arguments, words) in [
        (["portal", "open", "--for", "2h"], "between 1s and 1h"),
        (["portal", "open", "--for", "0s"], "between 1s and 1h"),
        (["portal", "open", "--name", "a..b"], "not a host name"),
        (["portal", "open", "--name", "b\u{fc}cher.example"], "not a host name"),
        (["portal", "open", "--server", "dns.hotel.example"], "invalid"),
        (["portal", "open", "--interface", "a/b"], "interface"),
    ] {
        let (code, _, stderr) = run(&arguments);
        assert!(code == 2 && stderr.contains(words), "{arguments:?}: {code} {stderr}");
    }
}
