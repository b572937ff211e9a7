//! Identifiers in as few bytes as name them and their region (R1).
//!
//! What is recorded of each call names four; as text, most of its time and room would go into them.

use crate::region::RegionCode;

/// Bytes that tell an identifier from the others of its kind and region.
const LOCAL_BYTES: usize = 16;

/// Of an identifier's packed form, at most.
pub const MAX_PACKED_BYTES: usize = RegionCode::MAX_BYTES + LOCAL_BYTES;

/// An identifier that has a packed form: the short form of its region (3 to 6 bytes), and 16 bytes that are its own within kind and region. Of which kind it is, the place tells where
/// it stands.
pub trait Packed: Sized {
    /// The region, and the 16 bytes.
    fn parts(&self) -> (RegionCode, [u8; LOCAL_BYTES]);

    /// `None`: nothing of this kind has these 16 bytes.
    fn from_parts(region: RegionCode, local: [u8; LOCAL_BYTES]) -> Option<Self>;

    /// Appends the packed form: 19 to 22 bytes.
    fn append_packed(&self, out: &mut Vec<u8>) {
        let (region, local) = self.parts();
        out.extend_from_slice(region.as_bytes());
        out.extend_from_slice(&local);
    }

    /// The packed form.
    fn to_packed(&self) -> Vec<u8> {
        let mut packed = Vec::new();
        self.append_packed(&mut packed);
        packed
    }

    /// The identifier of this packed form. `None`: it is nobody's.
    fn from_packed(packed: &[u8]) -> Option<Self> {
        let (region, local) = packed.split_last_chunk()?;
        Self::from_parts(RegionCode::from_bytes(region).ok()?, *local)
    }
}

#[cfg(test)]
mod tests;
