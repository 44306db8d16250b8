//! Sums over square windows, exact: integers, so that a sum does not depend on where a scan began.

use std::ops::Range;

use survey::wide::wide;

/// Running sums over the columns of a window of rows, from which each row of window sums is read.
pub struct Sliding {
    radius: usize,
    columns: Vec<i32>,
    left: Vec<i32>,
}

impl Sliding {
    /// For rows of `cols` pixels and windows of `2·radius + 1` pixels.
    #[must_use]
    pub fn new(cols: usize, radius: usize) -> Self {
        Self { radius, columns: vec![0; cols], left: vec![0; cols + 1] }
    }

    /// A row enters the window.
    pub fn enter(&mut self, row: &[i32]) {
        let columns = self.columns.iter_mut().zip(row);
        wide(|| columns.for_each(|(column, value)| *column += value));
    }

    /// A row leaves the window.
    pub fn leave(&mut self, row: &[i32]) {
        let columns = self.columns.iter_mut().zip(row);
        wide(|| columns.for_each(|(column, value)| *column -= value));
    }

    /// The window sums along the row; a window is cut at the ends of the row.
    pub fn sums(&mut self, out: &mut [i32]) {
        let (cols, radius) = (self.columns.len(), self.radius);
        // Sums of all columns to the left. They may wrap; the difference of two of them does not mind.
        let mut sum = 0_i32;
        for (left, column) in self.left.iter_mut().zip(&self.columns) {
            *left = sum;
            sum = sum.wrapping_add(*column);
        }
        self.left[cols] = sum;
        let window = |from: usize, to: usize| self.left[to].wrapping_sub(self.left[from]);
        let (head, tail) = (radius.min(cols), cols.saturating_sub(radius).max(radius.min(cols)));
        for col in (0..head).chain(tail..cols) {
            out[col] = window(col.saturating_sub(radius), (col + radius + 1).min(cols));
        }
        if head < tail {
            let ends = self.left[2 * radius + 1..].iter().zip(&self.left);
            let inner = out[head..tail].iter_mut().zip(ends);
            wide(|| inner.for_each(|(out, (to, from))| *out = to.wrapping_sub(*from)));
        }
    }
}

/// Sums over all rectangles that begin in the first corner of an image, from which the sums over windows of any radius are read
/// (a summed-area table; Crow 1984). It rolls down the image: as many rows are kept as the largest window needs. The sums may
/// wrap; the difference of four of them does not mind, as long as the sum over a window fits.
pub struct Table {
    /// Rows of the image that were taken.
    rows: Range<usize>,
    /// By row `k`, modulo their number: sums over the rows above it, by column the columns on its left.
    lines: Vec<Vec<i32>>,
    /// The row that is taken.
    values: Vec<i32>,
}

impl Table {
    /// Of an image of `cols` columns, from a row on, for windows of a radius up to `radius`.
    #[must_use]
    pub fn new(cols: usize, radius: usize, first: usize) -> Self {
        let lines = (0..2 * radius + 2).map(|_| vec![0; cols + 1]).collect();
        Self { rows: first..first, lines, values: vec![0; cols] }
    }

    /// Takes the rows that the windows around a row of an image of `height` rows need: this one, or one further down.
    /// `read(row, buffer)` fills the values of a row.
    pub fn roll(&mut self, row: usize, height: usize, read: impl Fn(usize, &mut [i32])) {
        let radius = self.lines.len() / 2 - 1;
        for row in self.rows.end..(row + radius + 1).min(height) {
            read(row, &mut self.values);
            self.take();
        }
    }

    fn take(&mut self) {
        let (above, next) = (self.rows.end % self.lines.len(), (self.rows.end + 1) % self.lines.len());
        let mut line = std::mem::take(&mut self.lines[next]);
        let mut sum = 0_i32;
        for (value, (line, above)) in self.values.iter().zip(line[1..].iter_mut().zip(&self.lines[above][1..])) {
            sum = sum.wrapping_add(*value);
            *line = above.wrapping_add(sum);
        }
        self.lines[next] = line;
        self.rows.end += 1;
    }

    /// The sums over the windows around the pixels of the row that it rolled to last, as far as there are rows and columns.
    pub fn window_sums(&self, row: usize, radius: usize, out: &mut [i32]) {
        let line = |row: usize| &self.lines[row.clamp(self.rows.start, self.rows.end) % self.lines.len()][..];
        let (above, below) = (line(row.saturating_sub(radius)), line(row + radius + 1));
        let cols = self.values.len();
        let (head, tail) = (radius.min(cols), cols.saturating_sub(radius).max(radius.min(cols)));
        for col in (0..head).chain(tail..cols) {
            let (from, to) = (col.saturating_sub(radius), (col + radius + 1).min(cols));
            out[col] = below[to].wrapping_sub(below[from]).wrapping_sub(above[to].wrapping_sub(above[from]));
        }
        if head < tail {
            let (right, width) = (2 * radius + 1, tail - head);
            let below = below[right..right + width].iter().zip(&below[..width]);
            let above = above[right..right + width].iter().zip(&above[..width]);
            let inner = out[head..tail].iter_mut().zip(below.zip(above));
            wide(|| {
                inner.for_each(|(out, ((below, below_left), (above, above_left)))| {
                    *out = below.wrapping_sub(*below_left).wrapping_sub(above.wrapping_sub(*above_left));
                });
            });
        }
    }
}

/// Calls `take` with the window sums of each row of `rows`, in order. `read(row, buffer)` fills the values of a row of
/// an image of `height` rows; rows outside the image are 0.
pub fn slide(
    cols: usize,
    height: usize,
    radius: usize,
    rows: Range<usize>,
    read: impl Fn(usize, &mut [i32]),
    mut take: impl FnMut(usize, &[i32]),
) {
    let mut sliding = Sliding::new(cols, radius);
    let mut values = vec![0; cols];
    let mut sums = vec![0; cols];
    for row in rows.start.saturating_sub(radius)..(rows.start + radius).min(height) {
        read(row, &mut values);
        sliding.enter(&values);
    }
    for row in rows {
        if row + radius < height {
            read(row + radius, &mut values);
            sliding.enter(&values);
        }
        sliding.sums(&mut sums);
        take(row, &sums);
        if let Some(leaving) = row.checked_sub(radius) {
            read(leaving, &mut values);
            sliding.leave(&values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_sums_are_those_of_the_definition_wherever_the_scan_begins() {
        let value = |row: usize, col: usize| ((row * 31 + col * 17) % 29) as i32 - 14;
        let around = |at: usize, radius: usize, end: usize| at.saturating_sub(radius)..(at + radius + 1).min(end);
        for (cols, height) in [(23_usize, 17_usize), (1, 9), (9, 1), (5, 5)] {
            let read = |row: usize, out: &mut [i32]| {
                out.iter_mut().enumerate().for_each(|(col, out)| *out = value(row, col));
            };
            let check = |row: usize, radius: usize, sums: &[i32]| {
                for (col, &sum) in sums.iter().enumerate() {
                    let (rows, columns) = (around(row, radius, height), around(col, radius, cols));
                    let expected: i32 = rows.flat_map(|row| columns.clone().map(move |col| value(row, col))).sum();
                    assert_eq!(sum, expected, "radius {radius}, row {row}, col {col} of {cols} x {height}");
                }
            };
            for (radius, start) in [0, 1, 4, 12, 30].into_iter().flat_map(|radius| [(radius, 0), (radius, 5)]) {
                let start = start.min(height - 1);
                slide(cols, height, radius, start..height, read, |row, sums| check(row, radius, sums));
                // A table for windows up to this radius gives those of a smaller one, too.
                let mut table = Table::new(cols, radius, start.saturating_sub(radius));
                let mut sums = vec![0; cols];
                for row in start..height {
                    table.roll(row, height, read);
                    for radius in [radius, radius / 2, radius.saturating_sub(1)] {
                        table.window_sums(row, radius, &mut sums);
                        check(row, radius, &sums);
                    }
                }
            }
        }
    }
}
