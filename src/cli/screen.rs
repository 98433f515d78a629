//! The whole terminal, redrawn in place, and given back as it was.

use std::io::{self, Write};

use crossterm::{
    cursor, queue,
    style::{Attribute, SetAttribute},
    terminal::{self, Clear, ClearType},
};

use super::{is_colourful, table};
use crate::session::SessionInfo;

/// The terminal's other screen; dropping it gives the first one back.
pub(super) struct Screen {
    out: io::Stdout,
}

impl Screen {
    /// Takes the screen.
    pub(super) fn take() -> io::Result<Self> {
        let mut screen = Self { out: io::stdout() };
        queue!(screen.out, terminal::EnterAlternateScreen, cursor::Hide)?;
        screen.out.flush()?;
        Ok(screen)
    }

    /// Draws a headline, as many rows as fit, and the totals.
    pub(super) fn draw(&mut self, headline: &str, rows: &[SessionInfo]) -> io::Result<()> {
        let (width, height) = terminal::size().unwrap_or((80, 24));
        let room = usize::from(height).saturating_sub(4);
        let shown = if rows.len() > room { room.saturating_sub(1) } else { rows.len() };
        let mut lines = vec![cut(headline, width)];
        // The table is laid out over all rows, so that columns do not move with what is out of sight.
        lines.extend(table::lines(rows, Some(width)).into_iter().take(shown + 1));
        if shown < rows.len() {
            lines.push(format!("… {} more; a taller terminal shows them", rows.len() - shown));
        }
        lines.push(String::new());
        lines.push(table::totals(rows));
        lines.truncate(usize::from(height).max(1));
        self.show(&lines, width)
    }

    /// One write, so that no half-drawn screen is ever seen.
    fn show(&mut self, lines: &[String], width: u16) -> io::Result<()> {
        let bold = if is_colourful(&self.out) { Attribute::Bold } else { Attribute::Reset };
        let mut frame = Vec::with_capacity(16 * 1024);
        queue!(frame, cursor::MoveTo(0, 0))?;
        for (n, line) in lines.iter().enumerate() {
            let emphasis = if n == 1 || n + 1 == lines.len() { bold } else { Attribute::Reset };
            queue!(frame, SetAttribute(emphasis))?;
            write!(frame, "{}", cut(line, width))?;
            queue!(frame, SetAttribute(Attribute::Reset), Clear(ClearType::UntilNewLine))?;
            if n + 1 < lines.len() {
                write!(frame, "\r\n")?;
            }
        }
        queue!(frame, Clear(ClearType::FromCursorDown))?;
        self.out.write_all(&frame)?;
        self.out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = queue!(self.out, cursor::Show, terminal::LeaveAlternateScreen);
        let _ = self.out.flush();
    }
}

/// As much of a line as fits, with an ellipsis for the rest.
fn cut(line: &str, width: u16) -> String {
    use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
    let width = usize::from(width);
    if line.width() <= width {
        return line.to_owned();
    }
    let mut used = 0;
    let kept: String = line
        .chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used < width
        })
        .collect();
    kept + "…"
}
