//! Planes to interleaved pixels, and YCbCr to RGB (ITU-R BT.601 as JFIF has it).

use super::Plane;

/// Interleaves the first `rows` rows of planes, from YCbCr to RGB where asked for.
pub(super) fn interleave(planes: &[Plane], width: usize, rows: usize, to_rgb: bool) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(width * rows * planes.len());
    for row in 0..rows {
        match planes {
            [y, cb, cr] if to_rgb => {
                let (Some(y), Some(cb), Some(cr)) = (y.row(row, width), cb.row(row, width), cr.row(row, width)) else {
                    break;
                };
                pixels.extend(y.iter().zip(cb).zip(cr).flat_map(|((&y, &cb), &cr)| rgb(y, cb, cr)));
            }
            _ => {
                let lines: Vec<&[u8]> = planes.iter().filter_map(|plane| plane.row(row, width)).collect();
                pixels.extend((0..width).flat_map(|col| lines.iter().filter_map(move |line| line.get(col).copied())));
            }
        }
    }
    pixels
}

/// In 16 fraction bits, rounded half up.
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    // 1.402, 0.344136, 0.714136, 1.772.
    let red = y + ((91881 * cr + HALF) >> 16);
    let green = y + ((-22553 * cb + HALF - 46802 * cr) >> 16);
    let blue = y + ((116_130 * cb + HALF) >> 16);
    [red, green, blue].map(|value| u8::try_from(value.clamp(0, 255)).unwrap_or_default())
}
