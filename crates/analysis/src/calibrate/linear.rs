//! Linear algebra on a handful of bands: pinned, in a fixed order, without run-time choice of instructions, so that
//! every machine gets the same bits.

/// A small dense matrix, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    data: Vec<f64>,
}

impl Matrix {
    /// A matrix from a function of (row, column).
    #[must_use]
    pub fn from_fn(rows: usize, cols: usize, value: impl Fn(usize, usize) -> f64) -> Self {
        let data = (0..rows * cols).map(|index| value(index / cols.max(1), index % cols.max(1))).collect();
        Self { rows, cols, data }
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The element at (row, column).
    #[must_use]
    pub fn at(&self, row: usize, col: usize) -> f64 {
        self.data[row * self.cols + col]
    }

    fn set(&mut self, row: usize, col: usize, value: f64) {
        self.data[row * self.cols + col] = value;
    }

    /// The transpose.
    #[must_use]
    pub fn transposed(&self) -> Self {
        Self::from_fn(self.cols, self.rows, |row, col| self.at(col, row))
    }

    /// A column.
    #[must_use]
    pub fn column(&self, col: usize) -> Vec<f64> {
        (0..self.rows).map(|row| self.at(row, col)).collect()
    }
}

/// The lower triangular `L` with `L Lᵀ = matrix`; `None` where the matrix is not positive definite.
#[must_use]
pub fn cholesky(matrix: &Matrix) -> Option<Matrix> {
    let size = matrix.rows;
    let mut lower = Matrix::from_fn(size, size, |_, _| 0.0);
    for row in 0..size {
        for col in 0..=row {
            let mut rest = matrix.at(row, col);
            for k in 0..col {
                rest -= lower.at(row, k) * lower.at(col, k);
            }
            if row == col {
                if !(rest > matrix.at(row, row) * 1e-13) {
                    return None;
                }
                lower.set(row, row, rest.sqrt());
            } else {
                lower.set(row, col, rest / lower.at(col, col));
            }
        }
    }
    Some(lower)
}

/// `X` with `lower · X = right`.
#[must_use]
pub fn solve_lower(lower: &Matrix, right: &Matrix) -> Matrix {
    let mut solution = right.clone();
    for col in 0..right.cols {
        for row in 0..right.rows {
            let mut rest = solution.at(row, col);
            for k in 0..row {
                rest -= lower.at(row, k) * solution.at(k, col);
            }
            solution.set(row, col, rest / lower.at(row, row));
        }
    }
    solution
}

/// `X` with `lowerᵀ · X = right`.
#[must_use]
pub fn solve_lower_transposed(lower: &Matrix, right: &Matrix) -> Matrix {
    let mut solution = right.clone();
    for col in 0..right.cols {
        for row in (0..right.rows).rev() {
            let mut rest = solution.at(row, col);
            for k in row + 1..right.rows {
                rest -= lower.at(k, row) * solution.at(k, col);
            }
            solution.set(row, col, rest / lower.at(row, row));
        }
    }
    solution
}

/// A singular value decomposition `matrix = U · diag(values) · Vᵀ`.
pub struct Svd {
    /// Left singular vectors as columns, orthonormal.
    pub u: Matrix,
    /// `min(rows, columns)` singular values, descending.
    pub values: Vec<f64>,
    /// Right singular vectors as columns, orthonormal.
    pub v: Matrix,
}

/// Singular value decomposition by one-sided Jacobi rotations (Hestenes 1958), columns in a fixed cyclic order.
#[must_use]
pub fn svd(matrix: &Matrix) -> Svd {
    if matrix.rows < matrix.cols {
        let Svd { u, values, v } = svd(&matrix.transposed());
        return Svd { u: v, values, v: u };
    }
    let size = matrix.cols;
    let mut columns: Vec<Vec<f64>> = (0..size).map(|col| matrix.column(col)).collect();
    let mut turns: Vec<Vec<f64>> =
        (0..size).map(|col| (0..size).map(|row| f64::from(u8::from(row == col))).collect()).collect();
    // Converges quadratically; a handful of sweeps is enough for a dozen bands, and sixty always end.
    for _sweep in 0..60 {
        let mut turned = false;
        for i in 0..size {
            for j in i + 1..size {
                let (alpha, beta, gamma) =
                    (dot(&columns[i], &columns[i]), dot(&columns[j], &columns[j]), dot(&columns[i], &columns[j]));
                if gamma == 0.0 || gamma.abs() <= 1e-15 * (alpha * beta).sqrt() {
                    continue;
                }
                turned = true;
                let zeta = (beta - alpha) / (2.0 * gamma);
                let tangent = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
                let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
                rotate(&mut columns, i, j, cosine, cosine * tangent);
                rotate(&mut turns, i, j, cosine, cosine * tangent);
            }
        }
        if !turned {
            break;
        }
    }
    let norms: Vec<f64> = columns.iter().map(|column| dot(column, column).sqrt()).collect();
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&a, &b| norms[b].total_cmp(&norms[a]).then(a.cmp(&b)));
    let values: Vec<f64> = order.iter().map(|&index| norms[index]).collect();
    let largest = values.first().copied().unwrap_or_default();
    let mut left: Vec<Vec<f64>> = Vec::with_capacity(size);
    for &index in &order {
        let norm = norms[index];
        if norm > 1e-12 * largest && norm > 0.0 {
            left.push(columns[index].iter().map(|value| value / norm).collect());
        } else {
            let next = orthogonal_to(&left, matrix.rows);
            left.push(next);
        }
    }
    Svd {
        u: Matrix::from_fn(matrix.rows, size, |row, col| left[col][row]),
        values,
        v: Matrix::from_fn(size, size, |row, col| turns[order[col]][row]),
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn rotate(columns: &mut [Vec<f64>], i: usize, j: usize, cosine: f64, sine: f64) {
    for row in 0..columns[i].len() {
        let (a, b) = (columns[i][row], columns[j][row]);
        columns[i][row] = cosine * a - sine * b;
        columns[j][row] = sine * a + cosine * b;
    }
}

/// A unit vector orthogonal to the given orthonormal ones: what is left of the axis that they cover least.
fn orthogonal_to(basis: &[Vec<f64>], size: usize) -> Vec<f64> {
    let rest_of = |axis: usize| {
        let mut rest: Vec<f64> = (0..size).map(|row| f64::from(u8::from(row == axis))).collect();
        for _ in 0..2 {
            for vector in basis {
                let along = dot(&rest, vector);
                for (value, direction) in rest.iter_mut().zip(vector) {
                    *value -= along * direction;
                }
            }
        }
        let norm = dot(&rest, &rest).sqrt();
        (norm, rest)
    };
    let (norm, rest) =
        (0..size).map(rest_of).reduce(|best, next| if next.0 > best.0 { next } else { best }).unwrap_or_default();
    if norm > 0.0 { rest.iter().map(|value| value / norm).collect() } else { rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multiply(a: &Matrix, b: &Matrix) -> Matrix {
        Matrix::from_fn(a.rows, b.cols, |row, col| (0..a.cols).map(|k| a.at(row, k) * b.at(k, col)).sum())
    }

    fn largest_difference(a: &Matrix, b: &Matrix) -> f64 {
        a.data.iter().zip(&b.data).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn cholesky_of_a_known_matrix_and_both_triangular_solutions() {
        // L = [[2, 0, 0], [6, 1, 0], [-8, 5, 3]] (Wikipedia, Cholesky decomposition).
        let matrix =
            Matrix::from_fn(3, 3, |r, c| [[4.0, 12.0, -16.0], [12.0, 37.0, -43.0], [-16.0, -43.0, 98.0]][r][c]);
        let lower = cholesky(&matrix).unwrap();
        assert_eq!(lower.data, [2.0, 0.0, 0.0, 6.0, 1.0, 0.0, -8.0, 5.0, 3.0]);
        let right = Matrix::from_fn(3, 1, |r, _| [4.0, -1.0, 7.0][r]);
        let solution = solve_lower_transposed(&lower, &solve_lower(&lower, &right));
        assert!(largest_difference(&multiply(&matrix, &solution), &right) < 1e-9);
        assert_eq!(cholesky(&Matrix::from_fn(2, 2, |_, _| 1.0)), None, "singular");
    }

    #[test]
    fn singular_vectors_are_orthonormal_and_give_the_matrix_back_also_when_it_is_wide_or_of_low_rank() {
        let tall = Matrix::from_fn(5, 3, |r, c| ((r * 7 + c * 3) % 5) as f64 - 1.7 + (r * c) as f64 * 0.3);
        let low_rank = Matrix::from_fn(4, 4, |r, c| (r + 1) as f64 * (c as f64 - 1.5));
        for matrix in [tall.clone(), tall.transposed(), low_rank] {
            let Svd { u, values, v } = svd(&matrix);
            let size = values.len();
            let back = Matrix::from_fn(matrix.rows, matrix.cols, |r, c| {
                (0..size).map(|k| u.at(r, k) * values[k] * v.at(c, k)).sum()
            });
            assert!(largest_difference(&back, &matrix) < 1e-12);
            let identity = Matrix::from_fn(size, size, |r, c| f64::from(u8::from(r == c)));
            for side in [u, v] {
                assert!(largest_difference(&multiply(&side.transposed(), &side), &identity) < 1e-12);
            }
            assert!(values.is_sorted_by(|a, b| a >= b));
        }
    }
}
