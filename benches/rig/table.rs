//! What a bench found, as one table, with how each line came about and what is wrong with it under the table.

/// One figure against its floor and its target.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// The target's number, such as `P2`.
    pub id: &'static str,
    /// What was measured, with its unit.
    pub what: String,
    pub floor: Option<f64>,
    pub ours: f64,
    pub target: Target,
    /// How it was measured, and what the floor is.
    pub how: &'static str,
    /// What makes the figure less than it seems.
    pub doubts: Vec<String>,
}

/// What a figure should be at most.
#[derive(Clone, Copy, Debug, Default)]
pub enum Target {
    /// No target: the line explains another.
    #[default]
    None,
    /// So much, in the unit of the line.
    Figure(f64),
    /// So many times the floor.
    Ratio(f64),
}

impl Line {
    fn ratio(&self) -> Option<f64> {
        self.floor.filter(|floor| *floor > 0.0).map(|floor| self.ours / floor)
    }

    fn met(&self) -> Option<bool> {
        match self.target {
            Target::None => None,
            Target::Figure(most) => Some(self.ours <= most),
            Target::Ratio(most) => self.ratio().map(|ratio| ratio <= most),
        }
    }

    fn cells(&self) -> [String; 8] {
        let target = match self.target {
            Target::None => "-".to_owned(),
            Target::Figure(most) => format!("<= {}", short(most)),
            Target::Ratio(most) => format!("<= {most} x"),
        };
        let verdict = match self.met() {
            None => "",
            Some(true) => "met",
            Some(false) => "missed",
        };
        let doubtful = if self.doubts.is_empty() { "" } else { "*" };
        [
            self.id.to_owned(),
            self.what.clone(),
            self.floor.map_or("-".to_owned(), short),
            short(self.ours),
            self.ratio().map_or("-".to_owned(), |ratio| format!("{} x", short(ratio))),
            target,
            verdict.to_owned(),
            doubtful.to_owned(),
        ]
    }
}

/// Prints all lines, and under them how each was measured and what is doubtful.
pub fn print(lines: &[Line]) {
    let head = ["", "what", "floor", "ours", "ours/floor", "target", "", ""].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head).chain(lines.iter().map(Line::cells)).collect();
    print_rows(&rows, 2);
    println!("\nHow:");
    let mut said = Vec::new();
    for line in lines {
        if !said.contains(&line.how) {
            print_wrapped(&format!("{}  {}", line.id, line.how));
            said.push(line.how);
        }
    }
    if lines.iter().any(|line| !line.doubts.is_empty()) {
        println!("\nMind (*):");
    }
    for line in lines {
        for doubt in &line.doubts {
            print_wrapped(&format!("{}  {}: {doubt}", line.id, line.what));
        }
    }
}

/// Prints a paragraph whose lines after the first stand under its text.
fn print_wrapped(text: &str) {
    const WIDTH: usize = 110;
    let mut line = "  ".to_owned();
    for word in text.split(' ') {
        if line.len() + word.len() > WIDTH {
            println!("{}", line.trim_end());
            line = " ".repeat(6);
        }
        line.push_str(word);
        line.push(' ');
    }
    println!("{}", line.trim_end());
}

/// Prints rows with the first few columns to the left and the others to the right.
pub fn print_rows<const N: usize>(rows: &[[String; N]], left: usize) {
    let widths: [usize; N] =
        std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0));
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .zip(widths)
            .enumerate()
            .map(
                |(at, (cell, width))| {
                    if at < left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        println!("{}", cells.join("  ").trim_end());
    }
}

/// Three digits that count, and commas in what is large.
pub fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1000.0 => {
            let digits = format!("{figure:.0}");
            let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
            groups.join(",")
        }
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}
