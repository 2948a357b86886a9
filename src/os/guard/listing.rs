//! What `nft list table` says of our table. Pure.

use super::ruleset::Mode;

/// The table as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// See [`super::ruleset::Ruleset`]; none if what fills it was not written by us.
    pub mark: Option<String>,
    /// Whether a program holds it, so that nobody else can change it.
    pub is_owned: bool,
    /// Packets (of a connection, its first one) that were led to tacenda since the table was made.
    pub redirected: u64,
    /// Packets that were refused since then.
    pub rejected: u64,
}

impl Listing {
    /// Reads nft's words.
    pub fn read(text: &str) -> Self {
        let flags = text.lines().find_map(|line| line.trim().strip_prefix("flags "));
        Self {
            mark: after(text, "comment \"tacenda ").and_then(|rest| Some(rest.split_once('"')?.0.to_owned())),
            // Of the table, before any set has some.
            is_owned: flags.is_some_and(|flags| flags.split(',').any(|flag| flag.trim() == "owner")),
            redirected: packets(text, "redirected"),
            rejected: packets(text, "rejected"),
        }
    }

    /// What it does, by its mark.
    pub fn mode(&self) -> Option<Mode> {
        let word = self.mark.as_deref()?.split(' ').next()?;
        [Mode::Redirect, Mode::Reject]
            .into_iter()
            .find(|mode| mode.as_str() == word)
    }
}

fn after<'a>(text: &'a str, what: &str) -> Option<&'a str> {
    text.split_once(what).map(|(_, rest)| rest)
}

fn packets(text: &str, counter: &str) -> u64 {
    let number = after(text, &format!("counter {counter} {{")).and_then(|rest| after(rest, "packets "));
    number
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// nft 1.0.6.
    const TEXT: &str = "table inet tacenda { # progname tacenda\n\tflags owner\n\n\tcounter redirected {\n\t\tpackets 12 bytes 840\n\t}\n\n\
        \tcounter rejected {\n\t\tpackets 3 bytes 210\n\t}\n\n\tset stub {\n\t\ttype uid\n\t\telements = { 990 }\n\t}\n\n\tchain judge {\n\
        \t\tmeta l4proto != { tcp, udp } accept comment \"tacenda reject 0123456789abcdef\"\n\t}\n}\n";

    #[test]
    fn nfts_words_are_read() {
        let listing = Listing::read(TEXT);
        assert_eq!(listing.mark.as_deref(), Some("reject 0123456789abcdef"));
        assert_eq!((listing.mode(), listing.is_owned), (Some(Mode::Reject), true));
        assert_eq!((listing.redirected, listing.rejected), (12, 3));
        assert!(Listing::read(&TEXT.replace("flags owner", "flags owner,persist")).is_owned);
        assert!(!Listing::read(&TEXT.replace("flags owner", "flags persist")).is_owned);
    }

    #[test]
    fn what_is_not_ours_has_no_mark() {
        for text in [
            "",
            "table inet tacenda {\n}\n",
            &TEXT.replace("tacenda reject", "x"),
            &TEXT.replace("tacenda reject", "tacenda x"),
        ] {
            assert_eq!(Listing::read(text).mode(), None, "{text}");
        }
        assert_eq!(Listing::read("counter rejected {\n packets x bytes").rejected, 0);
    }
}
