//! Sessions as the rows of a spreadsheet (RFC 4180).

use super::item::{Column, Fields, Seen};
use crate::session::{
    filter::{Record, Value},
    text::spreadsheet_safe,
};

/// The first line: the names of the columns.
pub(super) fn write_header(fields: &Fields, out: &mut Vec<u8>) {
    for (n, (_, name)) in fields.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// One line. No value is an empty cell; a list is JSON in its cell.
pub(super) fn write_row(seen: &Seen<'_>, fields: &Fields, out: &mut Vec<u8>) {
    for (n, (column, _)) in fields.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        match seen.value(column) {
            Value::Text(text) => write_cell(text, out),
            Value::Address(_) => write_cell(&seen.address(column), out),
            Value::Time(_) => write_cell(&seen.time(column), out),
            Value::Null if column != Column::Pages => {}
            Value::Null | Value::Texts(_) => {
                let mut list = Vec::new();
                seen.write_value(column, &mut list);
                write_cell(&String::from_utf8_lossy(&list), out);
            }
            Value::Number(_) | Value::Bool(_) => seen.write_value(column, out),
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn write_cell(text: &str, out: &mut Vec<u8>) {
    let text = spreadsheet_safe(text);
    if text.contains(['"', ',', '\r', '\n']) {
        out.push(b'"');
        out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}
