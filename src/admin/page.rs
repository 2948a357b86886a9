//! The page: a part for each of its files, all of them in the program. It asks for `/stats` and `/history` and shows them.

/// What a browser is given at `/`.
pub(super) const PAGE: &str = include_str!("page/page.html");

/// Content type and text of another file of it.
pub(super) fn part(path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        "/page.css" => ("text/css; charset=utf-8", include_str!("page/page.css")),
        "/page.js" => ("text/javascript; charset=utf-8", include_str!("page/page.js")),
        "/icon.svg" => ("image/svg+xml", include_str!("page/icon.svg")),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_web_nothing_comes_from_outside_and_nothing_stands_in_line() {
        let parts = ["/page.css", "/page.js", "/icon.svg"].map(|path| part(path).unwrap().1);
        for text in parts.into_iter().chain([PAGE]) {
            let without_xml = text.replace("http://www.w3.org/2000/svg", "");
            for outside in ["http:", "https:", "//cdn", "url(", "@import", "innerHTML", "eval("] {
                assert!(!without_xml.contains(outside), "{outside}");
            }
        }
        // The policy lets neither in: a page that needed it would be broken.
        assert!(!PAGE.contains("style=") && !PAGE.contains("<style") && !PAGE.contains(" onclick"));
        for (at, _) in PAGE.match_indices("<script") {
            assert!(PAGE[at..].starts_with("<script src=\"/"), "{}", &PAGE[at..at + 40]);
        }
    }
}
