use std::time::Duration;

use super::*;
use crate::upstream::records::RecordText;

fn reply() -> Reply {
    let record = |name: &str, ttl, rtype: &str, data: &str| RecordText {
        name: name.into(),
        ttl,
        class: "IN".into(),
        rtype: rtype.into(),
        data: data.into(),
    };
    Reply {
        id: 7,
        rcode: 0,
        flags: vec!["qr", "rd", "ra"],
        question: Some(("www.example.".into(), "A".into(), "IN".into())),
        extended_errors: vec![(3, String::new()), (23, "tls failed".into())],
        answers: vec![
            record("www.example.", 300, "CNAME", "a.example."),
            record("a.example.", 5, "A", "192.0.2.1"),
        ],
        authorities: vec![record("example.", 60, "NS", "ns.example.")],
        additionals: Vec::new(),
    }
}

fn rules() -> Result<Vec<Rule>, String> {
    Ok(vec![Rule {
        kind: RuleKind::Block,
        place: "ads.txt:3".into(),
        text: "||example^".into(),
    }])
}

fn response() -> Response {
    Response {
        octets: vec![0; 56],
        transport: "udp",
        server: "127.0.0.1:53".into(),
        took: Duration::from_micros(1250),
    }
}

#[test]
fn text_reads_like_a_short_dig() {
    let expected = "\
;; NOERROR, flags: qr rd ra, question: www.example. IN A
;; EDE 3 (Stale Answer)
;; EDE 23 (Network Error): tls failed
;; blocked by ads.txt:3: ||example^
www.example.  300  IN  CNAME  a.example.
a.example.      5  IN  A      192.0.2.1
;; authority:
example.  60  IN  NS  ns.example.
;; udp 127.0.0.1:53, 1.2 ms, 56 octets
";
    assert_eq!(print::to_text(&reply(), &rules(), &response()), expected);
}

#[test]
fn json_keeps_its_documented_shape() {
    let value = print::to_json(&reply(), &rules(), &response());
    let keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    for key in &keys {
        assert!(EXAMPLES.contains(&format!("\"{key}\"")), "{key} is not documented");
    }
    assert_eq!(keys.len(), 15);
    assert_eq!(
        value["ede"][1],
        serde_json::json!({ "code": 23, "name": "Network Error", "text": "tls failed" })
    );
    assert_eq!(value["answer"][1]["data"], "192.0.2.1");
    assert_eq!(
        (value["time_ms"].as_f64(), value["octets"].as_u64()),
        (Some(1.25), Some(56))
    );
}

#[test]
fn promise_1_only_loopback_can_be_asked() {
    for (text, address) in [
        ("127.0.0.1:5300", "127.0.0.1:5300"),
        ("::1", "[::1]:53"),
        ("[::1]:53", "[::1]:53"),
        ("127.0.0.9", "127.0.0.9:53"),
    ] {
        assert_eq!(
            read_server(text).map(|address| address.to_string()),
            Ok(address.to_owned())
        );
    }
    for text in ["9.9.9.9:53", "192.168.1.1", "0.0.0.0:53", "[2620:fe::fe]:53"] {
        assert!(read_server(text).unwrap_err().contains("clear text"), "{text}");
    }
    assert!(read_server("localhost:53").unwrap_err().contains("127.0.0.1:53"));
}

/// A server on loopback that answers with the query, QR set, and these header bits.
async fn udp_server(tc: u8) -> (SocketAddr, tokio::net::TcpListener) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let socket = tokio::net::UdpSocket::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
        // First a stranger's answer: another ID. It must be passed over.
        buffer[2] |= 0x80;
        buffer[0] ^= 0xff;
        socket.send_to(&buffer[..len], from).await.unwrap();
        buffer[0] ^= 0xff;
        buffer[2] |= tc;
        socket.send_to(&buffer[..len], from).await.unwrap();
    });
    (address, listener)
}

fn question() -> Question {
    Question {
        labels: parse_name("example.com").unwrap(),
        qtype: 1,
    }
}

#[tokio::test]
async fn udp_takes_the_answer_with_our_id() {
    let (address, _listener) = udp_server(0).await;
    let response = ask::ask(address, &question(), false).await.unwrap();
    assert_eq!((response.transport, response.server), ("udp", address.to_string()));
}

#[tokio::test]
async fn a_truncated_answer_is_asked_again_over_tcp() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (address, listener) = udp_server(2).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut query).await.unwrap();
        query[2] |= 0x80;
        stream.write_u16(u16::try_from(query.len()).unwrap()).await.unwrap();
        stream.write_all(&query).await.unwrap();
    });
    let response = ask::ask(address, &question(), false).await.unwrap();
    assert_eq!(response.transport, "tcp");
}

#[tokio::test]
async fn nobody_there_is_69_with_advice() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let failure = ask::ask(address, &question(), false).await.err().unwrap();
    assert_eq!(failure.exit, Exit::Unavailable);
    assert!(failure.to_string().contains("nobody listens on 127.0.0.1"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn silence_ends() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let failure = ask::ask(socket.local_addr().unwrap(), &question(), false)
        .await
        .err()
        .unwrap();
    assert!(failure.message.contains("within 6 s"), "{failure}");
}

#[test]
fn short_is_what_the_records_say() {
    assert_eq!(print::to_short(&reply()), "a.example.\n192.0.2.1\n");
    let mut none = reply();
    none.answers.clear();
    assert_eq!(print::to_short(&none), "");
}

#[test]
fn a_list_that_tacenda_has_not_read_yet_is_not_said_to_have_decided() {
    let rule = |kind| Rule {
        kind,
        place: "ads.txt:8".into(),
        text: "new.example".into(),
    };
    let (mut blocked, plain) = (reply(), reply());
    blocked.extended_errors = vec![(15, String::new())];
    let listed = || Ok(vec![rule(RuleKind::Block)]);
    assert_eq!(judged(listed(), &blocked), listed());
    let why = judged(listed(), &plain).unwrap_err();
    assert!(
        why.starts_with("blocked by ads.txt:8: new.example, as the file is now; the running"),
        "{why}"
    );
    let others = || Ok(vec![rule(RuleKind::Block), rule(RuleKind::Allow)]);
    assert_eq!(judged(others(), &plain), others());
    assert_eq!(judged(Ok(Vec::new()), &blocked).unwrap()[0].kind, RuleKind::Withhold);
    assert_eq!(judged(Err("x".into()), &blocked), Err("x".into()));
}

#[test]
fn an_address_is_no_name_and_has_one() {
    let tip = |text: &str| read_name(text).unwrap_err();
    assert!(tip("192.168.77.1").ends_with(" 1.77.168.192.in-addr.arpa PTR"));
    let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR";
    assert!(tip("2001:db8::1").ends_with(v6), "{}", tip("2001:db8::1"));
    assert!(tip("https://example.com/").contains("URL"));
    assert!(read_name("1.77.168.192.in-addr.arpa").is_ok() && read_name("a/b.example").is_ok());
}
