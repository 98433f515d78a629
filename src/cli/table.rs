//! The sessions table: fits the width it is given, cuts visibly, ends with the totals.

use std::{cmp::Ordering, collections::HashSet};

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use unicode_width::UnicodeWidthStr;

use super::units::{human_bytes, human_ms};

use crate::session::{SessionInfo, UNAUTHENTICATED, text::clean};

/// One column: what it is called, what it shows, and how it behaves when there is little room.
struct Column {
    title: &'static str,
    show: fn(&SessionInfo) -> String,
    /// A number is aligned to the right and never cut; `min` is what most of them need.
    number: bool,
    /// The narrowest that a text may be cut to, in terminal cells, for the sake of columns of a higher rank.
    min: u16,
    /// The widest that a text may be, in terminal cells, where there is a limit at all.
    max: u16,
    /// Columns of a higher rank are left out first.
    rank: u8,
}

const COLUMNS: [Column; 12] = [
    text("USER", |row| row.username.to_string(), 15, 24, 0),
    text("PROJECT", |row| row.project.to_string(), 15, 20, 1),
    text("SCOPE", |row| row.session_scope.to_string(), 8, 8, 2),
    text("ADDRESS", |row| row.client_address.to_string(), 11, 39, 4),
    number("UPTIME", |row| human_ms(row.uptime), 6, 3),
    number("IDLE", |row| human_ms(row.last_comm), 6, 3),
    number("PAGES", |row| row.active_pages.to_string(), 5, 6),
    number("LAST", |row| human_bytes(row.recent_bytes_sent), 7, 5),
    number("TOTAL", |row| human_bytes(row.total_bytes_sent), 7, 2),
    text("SESSION", |row| row.id.to_string(), 9, 36, 7),
    text("PAGE IDS", |row| row.page_ids.join(" "), 9, 24, 8),
    text("USER AGENT", |row| row.user_agent.to_string(), 12, 60, 9),
];

const fn text(title: &'static str, show: fn(&SessionInfo) -> String, min: u16, max: u16, rank: u8) -> Column {
    Column { title, show, number: false, min, max, rank }
}

const fn number(title: &'static str, show: fn(&SessionInfo) -> String, min: u16, rank: u8) -> Column {
    Column { title, show, number: true, min, max: u16::MAX, rank }
}

/// Blanks between two columns.
const GAP: u16 = 2;

/// The table as lines, header first, without the totals. `width` is in terminal cells; none is no limit.
pub(super) fn lines(rows: &[SessionInfo], width: Option<u16>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let needs: Vec<_> = COLUMNS.iter().map(|column| need(column, rows)).collect();
    let fits = |column: &Column| {
        let beside = COLUMNS.iter().zip(&needs).filter(|(other, _)| other.rank <= column.rank);
        width.is_none_or(|width| beside.map(|(_, need)| need + GAP).sum::<u16>() <= width + GAP)
    };
    // The first column is there however little room it has.
    let shown: Vec<_> =
        COLUMNS.iter().zip(&needs).filter(|(column, _)| column.rank == 0 || fits(column)).collect();
    table.set_header(shown.iter().map(|(column, _)| column.title));
    for row in rows {
        table.add_row(shown.iter().map(|(column, _)| cell((column.show)(row))));
    }
    // A cell is one line, whatever it holds; what does not fit is cut with an ellipsis.
    table.row_iter_mut().for_each(|row| {
        row.max_height(1);
    });
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    for (n, (column, (rules, need))) in table.column_iter_mut().zip(&shown).enumerate() {
        let gap = if n + 1 < shown.len() { GAP } else { 0 };
        column.set_padding((0, gap));
        if rules.number {
            column.set_cell_alignment(CellAlignment::Right);
            column.set_constraint(ColumnConstraint::ContentWidth);
        } else if let Some(width) = width {
            let lower = Width::Fixed((**need).min(width) + gap);
            let upper = Width::Fixed(rules.max.min(width) + gap);
            column.set_constraint(ColumnConstraint::Boundaries { lower, upper });
            // Break anywhere: what is cut is cut, and as much as fits is shown.
            column.set_delimiter('\u{0}');
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// How many cells a column needs before another may have any: what its rows hold, within its bounds.
fn need(column: &Column, rows: &[SessionInfo]) -> u16 {
    if column.number {
        return column.min;
    }
    let held = rows.iter().map(|row| (column.show)(row).width()).max().unwrap_or(0);
    let title = column.title.width();
    u16::try_from(held.max(title)).unwrap_or(u16::MAX).min(column.min)
}

fn cell(value: String) -> String {
    let value = match clean(&value) {
        std::borrow::Cow::Borrowed(_) => value,
        std::borrow::Cow::Owned(cleaned) => cleaned,
    };
    if value.is_empty() { "-".to_owned() } else { value }
}

/// The order a person looks for: by user, then project, then id; nobody comes last.
pub(super) fn by_user(a: &SessionInfo, b: &SessionInfo) -> Ordering {
    let key = |row: &'_ SessionInfo| &*row.username == UNAUTHENTICATED;
    (key(a), &a.username, &a.project, &a.id).cmp(&(key(b), &b.username, &b.project, &b.id))
}

/// The last line: how much of everything.
pub(super) fn totals(rows: &[SessionInfo]) -> String {
    let distinct = |values: Vec<&str>| values.into_iter().collect::<HashSet<_>>().len();
    let users =
        distinct(rows.iter().map(|row| &*row.username).filter(|user| *user != UNAUTHENTICATED).collect());
    let projects = distinct(rows.iter().map(|row| &*row.project).collect());
    let pages: usize = rows.iter().map(|row| row.active_pages).sum();
    let bytes: u64 = rows.iter().map(|row| row.total_bytes_sent).sum();
    format!(
        "{}, {}, {}, {}, {} sent",
        count(rows.len(), "session"),
        count(users, "user"),
        count(projects, "project"),
        count(pages, "page"),
        human_bytes(bytes)
    )
}

fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::session::SessionScope;

    fn row(username: &str) -> SessionInfo {
        SessionInfo {
            user_agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36"
                .into(),
            id: "1fdd96cd-b1ee-44bb-b40f-4524308fce5c".into(),
            username: username.into(),
            project: "packaging".into(),
            uptime: 187_000,
            client_address: Ipv4Addr::new(192, 168, 100, 200).into(),
            last_comm: 1_234,
            session_scope: SessionScope::Browser,
            active_pages: 2,
            recent_bytes_sent: 512,
            total_bytes_sent: 10_240,
            page_ids: vec!["p1".into(), "p2".into()],
            authorized: false,
        }
    }

    #[test]
    fn without_a_limit_everything_is_there_uncut() {
        let lines = lines(&[row("billy")], None);
        assert_eq!(lines.len(), 2);
        for part in
            ["billy", "packaging", "192.168.100.200", "3m07s", "1.2s", "10 KiB", "p1 p2", "Safari/537.36"]
        {
            assert!(lines[1].contains(part), "{part}: {}", lines[1]);
        }
    }

    #[test]
    fn every_line_fits_whatever_the_width_and_the_values() {
        let rows = [row(&"長い名前".repeat(20)), row("billy"), row("")];
        for width in 8..240 {
            for line in lines(&rows, Some(width)) {
                assert!(line.width() <= usize::from(width), "{width}: {line:?} is {}", line.width());
            }
        }
    }

    #[test]
    fn what_is_cut_is_seen_to_be_cut() {
        let lines = lines(&[row("a-very-long-user-name-of-somebody-important")], Some(80));
        assert!(lines[1].starts_with("a-very") && lines[1].contains('…'), "{}", lines[1]);
        let titles: Vec<_> = lines[0].split_whitespace().collect();
        assert_eq!(titles, ["USER", "PROJECT", "SCOPE", "ADDRESS", "UPTIME", "IDLE", "TOTAL"]);
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let hostile = row("bil\x1b[2J\u{9b}31mly\u{202e}\n\t");
        for width in [None, Some(60), Some(200)] {
            let lines = lines(std::slice::from_ref(&hostile), width);
            assert_eq!(lines.len(), 2);
            assert!(!lines.concat().contains(crate::session::text::is_hostile), "{lines:?}");
        }
    }

    #[test]
    fn the_totals_count_people_once_and_nobody_not_at_all() {
        let rows = [row("billy"), row("billy"), row(UNAUTHENTICATED)];
        assert_eq!(totals(&rows), "3 sessions, 1 user, 1 project, 6 pages, 30 KiB sent");
        assert_eq!(totals(&[]), "0 sessions, 0 users, 0 projects, 0 pages, 0 B sent");
    }
}
