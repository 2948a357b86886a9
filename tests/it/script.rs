//! What a scripted resolver hears and says: queries taken down, replies right and wrong, made octet by octet.

use tokio::sync::watch;

use crate::client::{A, AAAA, CNAME, IN, SOA, TXT, record, record_at, skip_name, wire_name};

/// A query that reached the resolver.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// The DNS message, every octet.
    pub(crate) octets: Vec<u8>,
    /// DoH: the method and all headers. Empty for DoT.
    pub(crate) headers: Vec<(String, String)>,
    /// DoH: path and query.
    pub(crate) path: String,
    /// The name with dots, in the letter case in which it came; `?` for octets that are not printable.
    pub(crate) name: String,
    pub(crate) qtype: u16,
    /// How many queries for the same came before.
    pub(crate) nth: usize,
}

impl Heard {
    pub(crate) fn read(octets: Vec<u8>, headers: Vec<(String, String)>, path: String) -> Self {
        let mut name = String::new();
        let mut at = 12;
        while let Some(len @ 1..) = octets.get(at).map(|len| usize::from(*len)) {
            if !name.is_empty() {
                name.push('.');
            }
            let printable = |octet: &u8| {
                if octet.is_ascii_graphic() {
                    char::from(*octet)
                } else {
                    '?'
                }
            };
            name.extend(octets[at + 1..].iter().take(len).map(printable));
            at += len + 1;
        }
        let qtype = octets
            .get(at + 1..at + 3)
            .map_or(0, |octets| u16::from_be_bytes([octets[0], octets[1]]));
        Self {
            octets,
            headers,
            path,
            name,
            qtype,
            nth: 0,
        }
    }

    pub(crate) fn id(&self) -> u16 {
        u16::from_be_bytes([self.octets[0], self.octets[1]])
    }

    /// The question's octets.
    pub(crate) fn question(&self) -> &[u8] {
        &self.octets[12..skip_name(&self.octets, 12) + 4]
    }

    /// A response to this query, still empty.
    pub(crate) fn response(&self) -> Answer {
        Answer {
            id: self.id(),
            flags: 0x8180,
            question: self.question().to_vec(),
            sections: Default::default(),
        }
    }

    /// NOERROR with these records of the question's own name and type.
    pub(crate) fn answer(&self, ttl: u32, rdata: &[&[u8]]) -> Answer {
        let mut answer = self.response();
        let owner = &answer.question[..answer.question.len() - 4];
        answer.sections[0] = rdata
            .iter()
            .map(|rdata| record_at(owner, self.qtype, IN, ttl, rdata))
            .collect();
        answer
    }

    /// NXDOMAIN, or NODATA with `rcode` 0, with the SOA of `zone`.
    pub(crate) fn negative(&self, rcode: u16, zone: &str, ttl: u32, minimum: u32) -> Answer {
        self.response().rcode(rcode).authority(zone, SOA, ttl, &soa(minimum))
    }
}

/// What to do with a query.
pub(crate) enum Reply {
    /// Send this message.
    Dns(Vec<u8>),
    /// Send this message when the gate opens.
    Held(Gate, Vec<u8>),
    /// DoT: send these octets without a length in front. DoH: close.
    Raw(Vec<u8>),
    /// Never answer.
    Silence,
    /// Close the connection.
    Close,
    /// DoH: send this. DoT: close.
    Http {
        status: u16,
        headers: Vec<(&'static str, &'static str)>,
        body: Vec<u8>,
    },
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Dns(answer.octets())
    }
}

/// Holds replies back until the test opens it; so nothing has to sleep.
#[derive(Clone, Debug)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn opened(&self) {
        // Cannot fail: the sender is held here.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// A response in the making. Every field goes onto the wire as it is, right or wrong.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) id: u16,
    pub(crate) flags: u16,
    pub(crate) question: Vec<u8>,
    pub(crate) sections: [Vec<Vec<u8>>; 3],
}

impl Answer {
    pub(crate) fn rcode(mut self, rcode: u16) -> Self {
        self.flags = self.flags & !15 | rcode;
        self
    }

    pub(crate) fn flags(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }

    pub(crate) fn answer(mut self, owner: &str, rtype: u16, ttl: u32, rdata: &[u8]) -> Self {
        self.sections[0].push(record(owner, rtype, IN, ttl, rdata));
        self
    }

    pub(crate) fn authority(mut self, owner: &str, rtype: u16, ttl: u32, rdata: &[u8]) -> Self {
        self.sections[1].push(record(owner, rtype, IN, ttl, rdata));
        self
    }

    pub(crate) fn additional(mut self, whole_record: Vec<u8>) -> Self {
        self.sections[2].push(whole_record);
        self
    }

    pub(crate) fn octets(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let count = |section: &Vec<Vec<u8>>| u16::try_from(section.len()).unwrap();
        let [answers, authorities, additionals] = &self.sections;
        for field in [
            self.id,
            self.flags,
            1,
            count(answers),
            count(authorities),
            count(additionals),
        ] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(&self.question);
        out.extend(self.sections.iter().flatten().flatten());
        out
    }
}

/// SOA data with this MINIMUM.
pub(crate) fn soa(minimum: u32) -> Vec<u8> {
    let mut rdata = [wire_name("ns.example"), wire_name("hostmaster.example")].concat();
    for number in [1, 7200, 900, 1_209_600, minimum] {
        rdata.extend_from_slice(&number.to_be_bytes());
    }
    rdata
}

/// TXT data of one string.
pub(crate) fn text(content: &str) -> Vec<u8> {
    [&[u8::try_from(content.len()).unwrap()][..], content.as_bytes()].concat()
}

/// An ordinary resolver: names beginning with `nx` do not exist, `alias` is an alias of `www.example`, `big` has 60 TXT
/// records of 250 octets; every other name has one A, AAAA and TXT record each, and nothing else.
pub(crate) fn normal(heard: &Heard) -> Reply {
    let first = heard.name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let answer = match (first.as_str(), heard.qtype) {
        (name, _) if name.starts_with("nx") => heard.negative(3, "example", 300, 300),
        ("alias", _) => {
            let target = wire_name("www.example");
            heard
                .response()
                .answer(&heard.name, CNAME, 300, &target)
                .answer("www.example", A, 300, &[192, 0, 2, 80])
        }
        ("big", TXT) => {
            let texts: Vec<Vec<u8>> = (0..60).map(|i| text(&format!("{i:03}{}", "x".repeat(247)))).collect();
            let rdata: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            heard.answer(300, &rdata)
        }
        (_, A) => heard.answer(300, &[&[192, 0, 2, 1]]),
        (_, AAAA) => heard.answer(300, &[&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]),
        (_, TXT) => heard.answer(300, &[&text("hello")]),
        _ => heard.negative(0, "example", 300, 300),
    };
    answer.into()
}
