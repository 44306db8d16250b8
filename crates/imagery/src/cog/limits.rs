//! What a file may demand of us.

/// Limits on a file: beyond them it is refused with an error that names the limit. The defaults let every real scene
/// pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Image file directories (levels, masks, pages).
    pub ifds: usize,
    /// Tags in an IFD.
    pub tags_per_ifd: u64,
    /// Bytes of a tag's values.
    pub tag_bytes: u64,
    /// Bytes of header that are fetched in all.
    pub header_bytes: u64,
    /// Width and height of an image.
    pub dimension: u32,
    /// Bands.
    pub bands: u64,
    /// Blocks (times planes) of a level.
    pub blocks: u64,
    /// Bytes of a decoded block, all bands together. Output of a codec is capped at exactly the block's size.
    pub block_bytes: u64,
    /// Bytes fetched with the first request; blocks nearer than this to each other share a request.
    pub gap_bytes: u64,
    /// Bytes of a request that joins blocks.
    pub request_bytes: u64,
    /// Blocks in flight at once.
    pub concurrency: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ifds: 256,
            tags_per_ifd: 1024,
            tag_bytes: 64 << 20,
            header_bytes: 256 << 20,
            dimension: i32::MAX.unsigned_abs(),
            bands: 4096,
            blocks: 4 << 20,
            block_bytes: 256 << 20,
            gap_bytes: 64 << 10,
            request_bytes: 8 << 20,
            concurrency: 16,
        }
    }
}
