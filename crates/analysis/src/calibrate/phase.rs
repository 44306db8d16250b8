//! The shift between two images of the same ground, by phase correlation.
//!
//! Correlated is the gradient magnitude of the logarithm of brightness: it is the same on both dates where the light
//! and the sensor are not. Hann window, low-pass and a test of the peak against the second one follow method.md 2.1.

use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlannerScalar};

/// Frequencies above this (cycles per pixel) are aliases and noise.
const LOW_PASS: f64 = 0.35;
/// A peak must exceed the second highest by this factor.
const LEAST_RELIABILITY: f64 = 1.3;
/// Shifts beyond are mistakes, px.
const LARGEST_SHIFT: f64 = 12.0;
/// Share of a window that must be valid on both dates.
const LEAST_VALID: f64 = 0.9;

/// A square window of both dates, brightness by pixel; what is not valid on both dates is NaN.
pub struct WindowPair<'a> {
    /// Earlier scene, row-major.
    pub before: &'a [f64],
    /// Later scene, row-major.
    pub after: &'a [f64],
}

/// Correlates windows of one size.
pub struct Correlator {
    side: usize,
    forward: Arc<dyn Fft<f64>>,
    backward: Arc<dyn Fft<f64>>,
    hann: Vec<f64>,
}

impl Correlator {
    /// For windows of `side × side` pixels.
    #[must_use]
    pub fn new(side: usize) -> Self {
        let mut planner = FftPlannerScalar::new();
        let hann = (0..side)
            .map(|index| {
                let angle = 2.0 * core::f64::consts::PI * (index as f64 + 0.5) / side as f64;
                0.5 - 0.5 * libm::cos(angle)
            })
            .collect();
        Self { side, forward: planner.plan_fft_forward(side), backward: planner.plan_fft_inverse(side), hann }
    }

    /// Where the later window shows what the earlier one shows at the same index: (rows, columns) to add to a position
    /// of the earlier scene. `None` where too little is valid, or the peak is not to be trusted.
    #[must_use]
    pub fn shift(&self, window: &WindowPair) -> Option<(f64, f64)> {
        let side = self.side;
        let valid = |values: &[f64]| values.iter().filter(|value| value.is_finite()).count() as f64;
        if valid(window.before).min(valid(window.after)) < LEAST_VALID * (side * side) as f64 {
            return None;
        }
        let mut spectrum = self.spectrum(window.before)?;
        let other = self.spectrum(window.after)?;
        for (value, other) in spectrum.iter_mut().zip(other) {
            *value = value.conj() * other;
        }
        let magnitude = |value: &Complex<f64>| (value.re * value.re + value.im * value.im).sqrt();
        let largest = spectrum.iter().map(magnitude).fold(0.0, f64::max);
        if !(largest > 0.0) {
            return None;
        }
        for (index, value) in spectrum.iter_mut().enumerate() {
            let (row, col) = (self.frequency(index / side), self.frequency(index % side));
            let inside = row * row + col * col <= LOW_PASS * LOW_PASS;
            *value = if inside { *value / (magnitude(value) + 1e-9 * largest) } else { Complex::new(0.0, 0.0) };
        }
        let mut correlation = spectrum.clone();
        self.transform(&mut correlation, &self.backward);
        let (peak, second) = self.peaks(&correlation)?;
        if !(correlation[peak].re > LEAST_RELIABILITY * second) {
            return None;
        }
        let centred = |index: usize| {
            let index = index as f64;
            if index >= side as f64 / 2.0 { index - side as f64 } else { index }
        };
        let (row, col) = self.refine(&spectrum, centred(peak / side), centred(peak % side));
        (row.abs() <= LARGEST_SHIFT && col.abs() <= LARGEST_SHIFT).then_some((row, col))
    }

    fn frequency(&self, index: usize) -> f64 {
        let side = self.side as f64;
        let index = index as f64;
        if index >= side / 2.0 { index / side - 1.0 } else { index / side }
    }

    /// Spectrum of the windowed gradient magnitude.
    fn spectrum(&self, brightness: &[f64]) -> Option<Vec<Complex<f64>>> {
        let side = self.side;
        let least = brightness.iter().filter(|value| value.is_finite()).copied().fold(f64::INFINITY, f64::min);
        let most = brightness.iter().filter(|value| value.is_finite()).copied().fold(f64::NEG_INFINITY, f64::max);
        if !(most > least) {
            return None;
        }
        // Logarithm of brightness above a floor, so that reflectances and digital numbers behave alike.
        let floor = (most - least) * 0.02;
        let log: Vec<f64> = brightness.iter().map(|value| libm::log(value - least + floor)).collect();
        let at = |row: usize, col: usize| log[row * side + col];
        let mut gradient = vec![0.0; side * side];
        let (mut sum, mut count) = (0.0, 0.0);
        for row in 1..side - 1 {
            for col in 1..side - 1 {
                let down = at(row + 1, col) - at(row - 1, col);
                let right = at(row, col + 1) - at(row, col - 1);
                let magnitude = (down * down + right * right).sqrt();
                if magnitude.is_finite() {
                    gradient[row * side + col] = magnitude;
                    sum += magnitude;
                    count += 1.0;
                } else {
                    gradient[row * side + col] = f64::NAN;
                }
            }
        }
        let mean = if count > 0.0 { sum / count } else { 0.0 };
        let mut values: Vec<Complex<f64>> = gradient
            .iter()
            .enumerate()
            .map(|(index, &value)| {
                let window = self.hann[index / side] * self.hann[index % side];
                Complex::new(if value.is_finite() { (value - mean) * window } else { 0.0 }, 0.0)
            })
            .collect();
        self.transform(&mut values, &self.forward);
        Some(values)
    }

    fn transform(&self, values: &mut [Complex<f64>], fft: &Arc<dyn Fft<f64>>) {
        let side = self.side;
        fft.process(values);
        transpose(values, side);
        fft.process(values);
        transpose(values, side);
    }

    /// Index of the highest value, and the highest one outside its neighbourhood.
    fn peaks(&self, correlation: &[Complex<f64>]) -> Option<(usize, f64)> {
        let side = self.side;
        let peak = (0..correlation.len())
            .reduce(|best, index| if correlation[index].re > correlation[best].re { index } else { best })?;
        let apart = |a: usize, b: usize| {
            let gap = a.abs_diff(b);
            gap.min(side - gap)
        };
        let second = correlation
            .iter()
            .enumerate()
            .filter(|&(index, _)| apart(index / side, peak / side) > 3 || apart(index % side, peak % side) > 3)
            .map(|(_, value)| value.re)
            .fold(0.0, f64::max);
        Some((peak, second))
    }

    /// The peak between the pixels: the inverse transform evaluated on two ever finer grids around it
    /// (matrix multiplication as in Guizar-Sicairos 2008), then a parabola.
    fn refine(&self, spectrum: &[Complex<f64>], row: f64, col: f64) -> (f64, f64) {
        let (mut row, mut col) = (row, col);
        for (reach, step) in [(6, 0.1), (6, 0.02)] {
            let offsets: Vec<f64> = (-reach..=reach).map(|index| f64::from(index) * step).collect();
            let values = self.evaluate(spectrum, row, col, &offsets);
            let size = offsets.len();
            let best = (0..values.len()).reduce(|best, at| if values[at] > values[best] { at } else { best });
            let Some(best) = best else { continue };
            let (i, j) = (best / size, best % size);
            let between = |before: f64, at: f64, after: f64| {
                let bend = before - 2.0 * at + after;
                if bend < 0.0 { 0.5 * (before - after) / bend } else { 0.0 }
            };
            let mut moved = (offsets[i], offsets[j]);
            if i > 0 && j > 0 && i + 1 < size && j + 1 < size {
                moved.0 += step * between(values[best - size], values[best], values[best + size]);
                moved.1 += step * between(values[best - 1], values[best], values[best + 1]);
            }
            row += moved.0;
            col += moved.1;
        }
        (row, col)
    }

    fn evaluate(&self, spectrum: &[Complex<f64>], row: f64, col: f64, offsets: &[f64]) -> Vec<f64> {
        let side = self.side;
        let waves = |at: f64| -> Vec<Complex<f64>> {
            (0..side)
                .map(|index| {
                    let angle = 2.0 * core::f64::consts::PI * self.frequency(index) * at;
                    Complex::new(libm::cos(angle), libm::sin(angle))
                })
                .collect()
        };
        let rows: Vec<Vec<Complex<f64>>> = offsets.iter().map(|offset| waves(row + offset)).collect();
        let cols: Vec<Vec<Complex<f64>>> = offsets.iter().map(|offset| waves(col + offset)).collect();
        let mut values = Vec::with_capacity(offsets.len() * offsets.len());
        for wave in &rows {
            let mut line = vec![Complex::new(0.0, 0.0); side];
            for (index, weight) in wave.iter().enumerate() {
                for (sum, value) in line.iter_mut().zip(&spectrum[index * side..(index + 1) * side]) {
                    *sum += value * weight;
                }
            }
            for wave in &cols {
                values.push(
                    line.iter().zip(wave).map(|(value, weight)| value.re * weight.re - value.im * weight.im).sum(),
                );
            }
        }
        values
    }
}

fn transpose(values: &mut [Complex<f64>], side: usize) {
    for row in 0..side {
        for col in row + 1..side {
            values.swap(row * side + col, col * side + row);
        }
    }
}
