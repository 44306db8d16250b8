//! A block's stream and the tables that the IFD holds for all of them (TIFF technical note 2).

use super::damaged;
use super::huffman::{BlockTables, HuffmanTable};
use crate::cog::fault::{Checked, Fault};

const SOI: [u8; 2] = [0xff, 0xd8];
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

/// A component of the frame, with its tables.
pub(super) struct Component {
    /// Horizontal and vertical sampling factors.
    pub(super) h: usize,
    pub(super) v: usize,
    pub(super) tables: BlockTables,
}

impl Component {
    pub(super) fn blocks_per_mcu(&self) -> usize {
        self.h * self.v
    }
}

/// A baseline stream of one scan, ready to be decoded.
pub(super) struct Stream<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) components: Vec<Component>,
    /// MCUs between restart markers; 0 for none.
    pub(super) restart_interval: usize,
    /// Entropy-coded bytes and what follows.
    pub(super) scan: &'a [u8],
}

impl Stream<'_> {
    /// The largest sampling factors.
    pub(super) fn most(&self) -> (usize, usize) {
        let most = |factor: fn(&Component) -> usize| self.components.iter().map(factor).max().unwrap_or(1);
        (most(|component| component.h), most(|component| component.v))
    }

    /// MCUs side by side and below each other.
    pub(super) fn mcus(&self) -> (usize, usize) {
        let (h, v) = self.most();
        ((self.width as usize).div_ceil(8 * h), (self.height as usize).div_ceil(8 * v))
    }
}

/// What the segments before a scan set.
#[derive(Default)]
struct Settings {
    quantization: [Option<[u16; 64]>; 4],
    dc: [Option<HuffmanTable>; 4],
    ac: [Option<HuffmanTable>; 4],
    restart_interval: usize,
    frame: Option<Frame>,
}

struct Frame {
    width: u32,
    height: u32,
    /// Id, sampling factors, quantization table.
    components: Vec<(u8, usize, usize, usize)>,
}

impl<'a> Stream<'a> {
    /// Reads the tables and all that comes before the block's scan.
    pub(super) fn parse(tables: &[u8], block: &'a [u8]) -> Checked<Self> {
        let mut settings = Settings::default();
        if !tables.is_empty() {
            settings.read(tables)?;
        }
        let after = settings.read(block)?.ok_or_else(|| damaged("no scan"))?;
        let (header, scan) = segment(after)?;
        settings.scan(header, scan)
    }
}

/// A segment's contents and what follows, from where its length stands.
fn segment(bytes: &[u8]) -> Checked<(&[u8], &[u8])> {
    let cut_off = || damaged("a segment is cut off");
    let length = usize::from(u16::from_be_bytes(*bytes.first_chunk().ok_or_else(cut_off)?));
    let (segment, rest) = bytes.split_at_checked(length).ok_or_else(cut_off)?;
    Ok((segment.get(2..).ok_or_else(cut_off)?, rest))
}

impl Settings {
    /// Reads segments up to the scan, and gives what follows its marker, or up to the end.
    fn read<'a>(&mut self, bytes: &'a [u8]) -> Checked<Option<&'a [u8]>> {
        let mut rest = bytes.strip_prefix(&SOI).ok_or_else(|| damaged("its beginning is missing"))?;
        loop {
            let [0xff, marker, after @ ..] = rest else { return Err(damaged("a marker is missing")) };
            match *marker {
                EOI => return Ok(None),
                SOS => return Ok(Some(after)),
                // Fill bytes.
                0xff => rest = rest.get(1..).unwrap_or_default(),
                marker => {
                    let (contents, next) = segment(after)?;
                    self.set(marker, contents)?;
                    rest = next;
                }
            }
        }
    }

    fn set(&mut self, marker: u8, contents: &[u8]) -> Checked<()> {
        match marker {
            0xdb => self.quantization(contents),
            0xc4 => self.huffman(contents),
            0xdd => {
                let interval = contents.first_chunk().ok_or_else(|| damaged("no restart interval"))?;
                self.restart_interval = usize::from(u16::from_be_bytes(*interval));
                Ok(())
            }
            0xc0 | 0xc1 => {
                self.frame = Some(Frame::parse(contents)?);
                Ok(())
            }
            0xc2 => Err(Fault::unsupported("progressive JPEG")),
            0xc3 | 0xc5..=0xcf => Err(Fault::unsupported(format!("JPEG of process {}", marker & 15))),
            // Application data and comments.
            _ => Ok(()),
        }
    }

    fn quantization(&mut self, mut contents: &[u8]) -> Checked<()> {
        while let Some((&head, rest)) = contents.split_first() {
            let bytes = if head >> 4 == 0 { 1 } else { 2 };
            let (values, next) =
                rest.split_at_checked(64 * bytes).ok_or_else(|| damaged("a quantization table is cut off"))?;
            let mut table = [0_u16; 64];
            for (step, value) in table.iter_mut().zip(values.chunks_exact(bytes)) {
                *step = value.iter().fold(0, |sum, &byte| sum << 8 | u16::from(byte));
            }
            let slot = self.quantization.get_mut(usize::from(head & 15));
            *slot.ok_or_else(|| damaged("a quantization table without a place"))? = Some(table);
            contents = next;
        }
        Ok(())
    }

    fn huffman(&mut self, mut contents: &[u8]) -> Checked<()> {
        while let Some((&head, rest)) = contents.split_first() {
            let cut_off = || damaged("a Huffman table is cut off");
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(cut_off)?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, next) = rest.split_at_checked(total).ok_or_else(cut_off)?;
            let table = HuffmanTable::new(counts, symbols)?;
            let class = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            let slot = class.get_mut(usize::from(head & 15));
            *slot.ok_or_else(|| damaged("a Huffman table without a place"))? = Some(table);
            contents = next;
        }
        Ok(())
    }

    /// The stream of the scan whose header is given: it must hold all components.
    fn scan<'a>(mut self, header: &[u8], scan: &'a [u8]) -> Checked<Stream<'a>> {
        let frame = self.frame.take().ok_or_else(|| damaged("no frame"))?;
        let (&count, selectors) = header.split_first().ok_or_else(|| damaged("no scan header"))?;
        if usize::from(count) != frame.components.len() {
            return Err(Fault::unsupported("JPEG in several scans"));
        }
        let mut components = Vec::new();
        for (&(id, h, v, quantization), selector) in frame.components.iter().zip(selectors.chunks_exact(2)) {
            let &[component, tables] = selector else { continue };
            if component != id {
                return Err(damaged("its scan has other components than its frame"));
            }
            let missing = |what: &str| damaged(&format!("no {what} table"));
            let table = |class: &[Option<HuffmanTable>; 4], index: u8| class.get(usize::from(index)).cloned().flatten();
            components.push(Component {
                h,
                v,
                tables: BlockTables {
                    steps: (self.quantization.get(quantization).copied().flatten())
                        .ok_or_else(|| missing("quantization"))?,
                    dc: table(&self.dc, tables >> 4).ok_or_else(|| missing("Huffman"))?,
                    ac: table(&self.ac, tables & 15).ok_or_else(|| missing("Huffman"))?,
                },
            });
        }
        if components.len() != frame.components.len() {
            return Err(damaged("its scan header is cut off"));
        }
        if let [only] = components.as_mut_slice() {
            // A single component is not interleaved: its factors mean nothing (T.81, A.2.2).
            (only.h, only.v) = (1, 1);
        }
        Ok(Stream {
            width: frame.width,
            height: frame.height,
            components,
            restart_interval: self.restart_interval,
            scan,
        })
    }
}

impl Frame {
    fn parse(contents: &[u8]) -> Checked<Self> {
        let &[precision, h1, h0, w1, w0, count, ref rest @ ..] = contents else {
            return Err(damaged("no frame header"));
        };
        if precision != 8 {
            return Err(Fault::unsupported(format!("JPEG with {precision} bits per sample")));
        }
        let components: Vec<_> = rest
            .chunks_exact(3)
            .filter_map(|component| {
                let &[id, factors, table] = component else { return None };
                Some((id, usize::from(factors >> 4), usize::from(factors & 15), usize::from(table)))
            })
            .collect();
        if components.is_empty() || components.len() != usize::from(count) {
            return Err(damaged("its frame header is cut off"));
        }
        let factors: Vec<_> = components.iter().map(|&(_, h, v, _)| (h, v)).collect();
        let (first, others) = factors.split_first().ok_or_else(|| damaged("no components"))?;
        let usual = matches!(first, (1 | 2, 1 | 2)) && others.iter().all(|&factors| factors == (1, 1));
        if components.len() > 1 && !usual {
            return Err(Fault::unsupported(format!("JPEG with sampling factors {factors:?}")));
        }
        Ok(Self { width: u16::from_be_bytes([w1, w0]).into(), height: u16::from_be_bytes([h1, h0]).into(), components })
    }
}
