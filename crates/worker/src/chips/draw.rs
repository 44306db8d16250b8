//! A small canvas: pixels, letters and a scale bar.

use super::font::{SIZE, glyph};

const WHITE: [u8; 3] = [255, 255, 255];
const BLACK: [u8; 3] = [0, 0, 0];

/// Lengths that a scale bar may have, metres.
const BARS_M: [f64; 16] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0, 50_000.0,
    100_000.0,
];

/// An RGB image.
pub(super) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![0; width * height * 3] }
    }

    /// Sets a pixel; outside of the image nothing happens.
    pub(super) fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if x < self.width && y < self.height {
            let index = (y * self.width + x) * 3;
            self.pixels[index..index + 3].copy_from_slice(&colour);
        }
    }

    /// The pixels, row by row, three bytes each.
    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.pixels.chunks_exact_mut((self.width * 3).max(1))
    }

    fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: [u8; 3]) {
        for (dy, dx) in (0..height).flat_map(|dy| (0..width).map(move |dx| (dy, dx))) {
            self.set(x + dx, y + dy, colour);
        }
    }

    /// Letters are drawn larger on large images.
    fn letter_px(&self) -> usize {
        (self.width.max(self.height) / 400).clamp(1, 4)
    }

    /// Text in white on a black ground.
    fn text(&mut self, x: usize, y: usize, text: &str) {
        let size = self.letter_px();
        let advance = (SIZE.0 + 1) * size;
        let count = text.chars().count();
        self.fill(x, y, count * advance + size, (SIZE.1 + 2) * size, BLACK);
        for (index, letter) in text.chars().enumerate() {
            for (row, bits) in glyph(letter).into_iter().enumerate() {
                for column in (0..SIZE.0).filter(|column| bits >> (SIZE.0 - 1 - column) & 1 == 1) {
                    let (left, top) = (x + size + index * advance + column * size, y + size + row * size);
                    self.fill(left, top, size, size, WHITE);
                }
            }
        }
    }

    /// A label in the upper left corner.
    pub(super) fn label(&mut self, text: &str) {
        let inset = 3 * self.letter_px();
        if !text.is_empty() {
            self.text(inset, inset, text);
        }
    }

    /// A bar of a round length, at most a third of the image wide, with its length beside it, in the lower left corner.
    pub(super) fn scale_bar(&mut self, metres_per_px: f64) {
        let longest = self.width as f64 / 3.0 * metres_per_px;
        let Some(&length) = BARS_M.iter().rev().find(|&&length| length <= longest) else { return };
        let bar = (length / metres_per_px).round() as usize;
        let size = self.letter_px();
        let (inset, thick) = (3 * size, 3 * size);
        let text = if length >= 1000.0 { format!("{} km", length / 1000.0) } else { format!("{length} m") };
        let below = inset + thick + size;
        let top = self.height.saturating_sub(below);
        self.fill(inset, top.saturating_sub(size), bar + 2 * size, thick + 2 * size, BLACK);
        self.fill(inset + size, top, bar, thick, WHITE);
        let text_top = top.saturating_sub((SIZE.1 + 4) * size);
        self.text(inset, text_top, &text);
    }

    /// The image as a PNG. The same pixels give the same bytes.
    pub(super) fn into_png(self) -> Result<Vec<u8>, png::EncodingError> {
        let side = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, side(self.width), side(self.height));
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        // A survey has thousands of chips: deflate at its best would take longer than all that was found out before.
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(bytes)
    }
}
