//! Formats tables like Go's `text/tabwriter` with tab padding, which buildx uses for `--list`.
//!
//! A tab ends a cell and a line break ends a line, even inside the text of a cell. A column is a block of cells
//! directly below each other, without a gap. Its width is that of the widest cell, rounded up to whole tabs.

/// The width of a tab.
const TAB: usize = 8;
/// The least space between two columns.
const PADDING: usize = 1;

/// Aligns the columns of `text`, in which tabs separate cells.
pub(super) fn align(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text
        .split('\n')
        .map(|line| line.split('\t').collect())
        .collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len() - 1]).collect();
    // The last cell of a line does not end with a tab, so it belongs to no column.
    let columns = lines.iter().map(|cells| cells.len() - 1).max().unwrap_or(0);
    for column in 0..columns {
        let mut start = 0;
        while start < lines.len() {
            let end = (start..lines.len())
                .find(|line| widths[*line].len() <= column)
                .unwrap_or(lines.len());
            let width = lines[start..end]
                .iter()
                .map(|cells| cells[column].chars().count() + PADDING)
                .max()
                .unwrap_or(0)
                .next_multiple_of(TAB);
            for line in &mut widths[start..end] {
                line[column] = width;
            }
            start = end + 1;
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (at, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
        if at > 0 {
            out.push('\n');
        }
        for (cell, width) in cells.iter().zip(widths) {
            out.push_str(cell);
            let missing = width - cell.chars().count();
            out.extend(std::iter::repeat_n('\t', missing.div_ceil(TAB)));
        }
        if let Some(last) = cells.last() {
            out.push_str(last);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_padded_with_whole_tabs() {
        let text = "TARGET\tDESCRIPTION\na\tx\nlonger-name\ty\n";
        assert_eq!(
            align(text),
            "TARGET\t\tDESCRIPTION\na\t\tx\nlonger-name\ty\n"
        );
    }

    #[test]
    fn a_line_without_a_cell_ends_a_column() {
        // The expected text is what buildx printed: line breaks and tabs inside a cell end lines and cells.
        let text = "N\tT\na\tmulti\nline\nbbbbbbbbbb\t\n";
        assert_eq!(align(text), "N\tT\na\tmulti\nline\nbbbbbbbbbb\t\n");
    }
}
