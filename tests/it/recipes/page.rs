//! A page in Markdown, as far as recipes are written in it: headings, fenced blocks and tables.

use serde_json::{Map, Value};

/// A heading and what stands below it up to the next.
pub struct Section {
    pub title: String,
    pub parts: Vec<Part>,
}

impl Section {
    /// The text of each block of this kind.
    pub fn blocks(&self, wanted: &str) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(move |part| match part {
            Part::Block { kind, text } if kind == wanted => Some(text.as_str()),
            Part::Block { .. } | Part::Table(_) => None,
        })
    }

    /// The text of the first block of this kind.
    pub fn block(&self, wanted: &str) -> Option<&str> {
        self.blocks(wanted).next()
    }
}

/// Something in a section; prose is left out.
pub enum Part {
    /// A fenced block: what stands behind the opening fence, and the text in it.
    Block { kind: String, text: String },
    /// The cells of a table without its rule, the heading row first.
    Table(Vec<Vec<String>>),
}

/// Reads the page.
pub fn read(page: &str) -> Vec<Section> {
    let mut sections = vec![Section { title: String::new(), parts: Vec::new() }];
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let parts = &mut sections.last_mut().unwrap().parts;
        if let Some(kind) = line.strip_prefix("```") {
            let text = lines.by_ref().take_while(|line| *line != "```");
            let text = text.collect::<Vec<_>>().join("\n");
            parts.push(Part::Block { kind: kind.to_owned(), text });
        } else if line.starts_with('|') {
            let mut rows = vec![cells(line)];
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                rows.push(cells(row));
            }
            rows.remove(1);
            parts.push(Part::Table(rows));
        } else if line.starts_with('#') {
            let title = line.trim_start_matches('#').trim().to_owned();
            sections.push(Section { title, parts: Vec::new() });
        }
    }
    sections
}

/// The cells of a row; `\|` is a bar in a cell.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim().trim_start_matches('|').trim_end_matches('|').replace("\\|", "\0");
    row.split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
}

/// What stands in backticks, each with the prose before it.
pub fn code(cell: &str) -> Vec<(&str, &str)> {
    let parts = cell.split('`').collect::<Vec<_>>();
    parts.chunks_exact(2).map(|pair| (pair[0].trim_matches([',', ' ']), pair[1])).collect()
}

/// Members of a JSON object as a cell shows them: `"name": "value"`.
pub fn members(code: &str) -> Map<String, Value> {
    serde_json::from_str(&format!("{{{code}}}")).unwrap_or_else(|error| panic!("{error}: {code}"))
}
