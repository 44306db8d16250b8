//! The chain of image file directories.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::ImageryError;
use crate::cog::fault::{Checked, Fault};
use crate::cog::header::bytes::HeaderBytes;
use crate::cog::header::tags::{ByteOrder, FieldType, Values, tag};
use crate::cog::limits::Limits;

/// An image file directory: the values of the tags that are read.
#[derive(Debug)]
pub(super) struct Ifd {
    pub(super) values: BTreeMap<u16, Values>,
}

impl Ifd {
    /// A tag's values, if it is there.
    pub(super) fn get(&self, tag: u16) -> Option<&Values> {
        self.values.get(&tag)
    }

    /// A tag's first integer, or `default` where it is absent.
    pub(super) fn integer_or(&self, tag: u16, default: u64) -> Checked<u64> {
        self.get(tag).map_or(Ok(default), Values::integer)
    }

    /// A tag's first integer; `name` is for the error.
    pub(super) fn integer(&self, tag: u16, name: &str) -> Checked<u64> {
        self.get(tag).ok_or_else(|| Fault::corrupt(format!("{name} (tag {tag}) is missing")))?.integer()
    }
}

/// Sizes of a directory's fields: TIFF or BigTIFF.
#[derive(Clone, Copy)]
struct Dialect {
    order: ByteOrder,
    big: bool,
}

impl Dialect {
    /// Offset, or count of values, as wide as the dialect has it.
    fn word(self, bytes: &[u8], at: usize) -> Option<u64> {
        if self.big { self.order.u64(bytes, at) } else { self.order.u32(bytes, at).map(u64::from) }
    }

    fn word_size(self) -> u64 {
        if self.big { 8 } else { 4 }
    }

    fn count_size(self) -> u64 {
        if self.big { 8 } else { 2 }
    }

    fn entry_size(self) -> u64 {
        if self.big { 20 } else { 12 }
    }
}

/// Where a tag's values lie.
struct Entry {
    tag: u16,
    field: FieldType,
    range: Range<u64>,
}

/// Reads all directories, in the file's order, with the values of the tags that are read.
pub(super) async fn read_ifds(
    bytes: &mut HeaderBytes<'_>,
    limits: &Limits,
    href: &str,
) -> Result<(ByteOrder, Vec<Ifd>), ImageryError> {
    let named = |fault: Fault| fault.of_file(href);
    let first = bytes.read(0..16.min(bytes.size()), "TIFF header").await?;
    let (dialect, mut offset) = parse_start(&first).map_err(named)?;

    let mut seen = BTreeSet::new();
    let mut ifds = Vec::new();
    while offset != 0 {
        let place = format!("IFD {}", ifds.len());
        if !seen.insert(offset) {
            return Err(named(Fault::corrupt(format!("{place} points back to byte {offset}: the IFDs form a cycle"))));
        }
        if ifds.len() >= limits.ifds {
            return Err(named(Fault::corrupt(format!("more than {} IFDs", limits.ifds))));
        }
        let entries_at = offset.saturating_add(dialect.count_size());
        let count = bytes.read(offset..entries_at, &place).await?;
        let count = if dialect.big { dialect.word(&count, 0) } else { dialect.order.u16(&count, 0).map(u64::from) };
        let count = count.unwrap_or(0);
        if count == 0 || count > limits.tags_per_ifd {
            let limit = limits.tags_per_ifd;
            return Err(named(Fault::corrupt(format!("{place} has {count} tags, not 1 to {limit}"))));
        }
        // Cannot overflow: count is capped, and an offset near 2⁶⁴ fails as beyond the file.
        let entries_len = count.saturating_mul(dialect.entry_size());
        let table_end = entries_at.saturating_add(entries_len).saturating_add(dialect.word_size());
        let table = bytes.read(entries_at..table_end, &place).await?;
        let entries =
            parse_entries(&table, entries_at, count, dialect, limits).map_err(|fault| named(fault.at(&place)))?;
        let ranges: Vec<_> = entries.iter().map(|entry| entry.range.clone()).collect();
        bytes.prefetch(&ranges, &format!("{place}: values of a tag")).await?;
        let mut values = BTreeMap::new();
        for Entry { tag, field, range } in entries {
            let bytes = bytes.read(range, &format!("{place}: values of tag {tag}")).await?;
            // Of a tag that comes twice, the first counts, as in libtiff.
            values.entry(tag).or_insert(Values { tag, field, order: dialect.order, bytes });
        }
        ifds.push(Ifd { values });
        let next_at = usize::try_from(entries_len).unwrap_or(usize::MAX);
        offset = dialect.word(&table, next_at).unwrap_or(0);
    }
    if ifds.is_empty() {
        return Err(named(Fault::corrupt("no IFD: the file holds no image")));
    }
    Ok((dialect.order, ifds))
}

/// Byte order, dialect and the offset of the first directory.
fn parse_start(first: &[u8]) -> Checked<(Dialect, u64)> {
    let order = match first.get(..2) {
        Some(b"II") => ByteOrder::Little,
        Some(b"MM") => ByteOrder::Big,
        _ => return Err(Fault::corrupt("not a TIFF file: it does not begin with `II` or `MM`")),
    };
    let cut_off = || Fault::corrupt(format!("cut off within the TIFF header ({} bytes)", first.len()));
    match order.u16(first, 2) {
        Some(42) => {
            let offset = order.u32(first, 4).ok_or_else(cut_off)?;
            Ok((Dialect { order, big: false }, offset.into()))
        }
        Some(43) => {
            if (order.u16(first, 4), order.u16(first, 6)) != (Some(8), Some(0)) {
                return Err(Fault::corrupt("a BigTIFF whose offsets are not 8 bytes wide"));
            }
            Ok((Dialect { order, big: true }, order.u64(first, 8).ok_or_else(cut_off)?))
        }
        Some(version) => Err(Fault::corrupt(format!("not a TIFF file: version {version} instead of 42 or 43"))),
        None => Err(cut_off()),
    }
}

/// The entries of the tags that are read. Types that TIFF does not define are skipped, as the specification asks,
/// unless the tag is needed.
fn parse_entries(table: &[u8], table_at: u64, count: u64, dialect: Dialect, limits: &Limits) -> Checked<Vec<Entry>> {
    let size = usize::try_from(dialect.entry_size()).unwrap_or(usize::MAX);
    let mut entries = Vec::new();
    for (index, entry) in (0..count).zip(table.chunks_exact(size)) {
        let (Some(tag), Some(code)) = (dialect.order.u16(entry, 0), dialect.order.u16(entry, 2)) else { break };
        if !tag::is_read(tag) {
            continue;
        }
        let field = FieldType::from_code(code)
            .ok_or_else(|| Fault::corrupt(format!("tag {tag} is of type {code}, which TIFF does not define")))?;
        let value_at = usize::try_from(4 + dialect.word_size()).unwrap_or(usize::MAX);
        let (Some(values), Some(word)) = (dialect.word(entry, 4), dialect.word(entry, value_at)) else { break };
        let length =
            values.checked_mul(field.size()).filter(|&length| length <= limits.tag_bytes).ok_or_else(|| {
                Fault::corrupt(format!("tag {tag} claims {values} values, more than {} bytes", limits.tag_bytes))
            })?;
        let start = if length <= dialect.word_size() {
            let at = index.saturating_mul(dialect.entry_size()).saturating_add(4 + dialect.word_size());
            table_at.saturating_add(at)
        } else {
            word
        };
        let end = start.checked_add(length).ok_or_else(|| Fault::corrupt(format!("tag {tag} lies beyond 2^64")))?;
        entries.push(Entry { tag, field, range: start..end });
    }
    Ok(entries)
}
