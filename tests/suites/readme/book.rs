//! docs/ is a book: every page is in its table of contents, and every link of the built
//! book leads to a page, and to a heading where it names one.

use std::path::{Path, PathBuf};

use caracal_tests::root;

/// The pages that docs/SUMMARY.md lists, in its order.
pub fn listed() -> Vec<PathBuf> {
    let docs = root().join("docs");
    let summary = std::fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let links = summary.split("](").skip(1);
    links
        .map(|rest| docs.join(rest.split(')').next().unwrap()))
        .map(|page| page.canonicalize().unwrap_or(page))
        .collect()
}

/// All files below a folder whose names end so.
fn below(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, ending, found);
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let listed = listed();
    let mut pages = Vec::new();
    for folder in ["docs", "deploy"] {
        below(&root().join(folder), ".md", &mut pages);
    }
    assert!(pages.len() > 10, "{pages:?}");
    for page in pages {
        let page = page.canonicalize().unwrap();
        let is_listed = listed.contains(&page) || page.ends_with("docs/SUMMARY.md");
        assert!(is_listed, "{} is not in docs/SUMMARY.md", page.display());
    }
    for page in listed {
        assert!(page.is_file(), "{} is not there", page.display());
    }
}

#[test]
fn every_link_of_the_built_book_leads_somewhere() {
    super::runs("make book");
    let book = root().join("run/book/html");
    let mut pages = Vec::new();
    below(&book, ".html", &mut pages);
    let (mut links, mut broken) = (0, Vec::new());
    for page in &pages {
        // Its links are made for the address that the server has.
        if page.ends_with("404.html") || page.ends_with("print.html") {
            continue;
        }
        let text = std::fs::read_to_string(page).unwrap();
        for link in ["href=\"", "src=\""].iter().flat_map(|at| {
            let rest = text.split(at).skip(1);
            rest.map(|rest| rest.split('"').next().unwrap())
        }) {
            if link.starts_with("http") || link.starts_with("data:") {
                continue;
            }
            links += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            let leads = match std::fs::read(&target) {
                Ok(bytes) => {
                    let id = format!("id=\"{heading}\"");
                    heading.is_empty() || String::from_utf8_lossy(&bytes).contains(&id)
                }
                Err(_) => false,
            };
            if !leads {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(
        pages.len() > listed().len() && links > 300 && broken.is_empty(),
        "{} pages, {links} links: {broken:#?}",
        pages.len()
    );
}

/// Comments say `contract, row 12` or `contract, "Key sets"`.
#[test]
fn what_comments_cite_of_the_contract_is_there() {
    let page = std::fs::read_to_string(root().join("docs/reference/contract.md")).unwrap();
    for row in 0..=13 {
        assert!(page.contains(&format!("\n| {row} | ")), "row {row}");
    }
    let mut sources = Vec::new();
    for folder in ["src", "filters", "tests/host", "tests/envoy"] {
        below(&root().join(folder), ".rs", &mut sources);
    }
    let mut cited = 0;
    for source in sources {
        let text = std::fs::read_to_string(&source).unwrap();
        // A citation may go on in the comment's next line.
        let text = text
            .replace("\n///", "\n//")
            .replace("\n//!", "\n//")
            .replace("\n    ///", "\n//")
            .replace("\n//", "");
        for rest in text.split("contract, \"").skip(1) {
            let section = rest.split('"').next().unwrap();
            cited += 1;
            assert!(
                page.contains(&format!("\n## {section}\n")),
                "{} cites {section:?}, which docs/reference/contract.md does not have",
                source.display()
            );
        }
    }
    assert!(cited > 10, "{cited}");
}
