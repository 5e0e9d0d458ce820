//! Bytes that look like nothing in particular: no compressor makes them smaller, and a seed gives them again.

/// Numbers without an end (xorshift64), from any but 0; another one gives others.
pub struct Noise(pub u64);

impl Iterator for Noise {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Some(self.0)
    }
}

impl Noise {
    /// The next `size` bytes.
    pub fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        for (part, number) in bytes.chunks_mut(8).zip(self) {
            part.copy_from_slice(&number.to_le_bytes()[..part.len()]);
        }
        bytes
    }
}

/// `size` bytes of it; fewer from the same seed are their beginning.
pub fn noise(size: usize, seed: u64) -> Vec<u8> {
    // Spread, since small numbers begin alike; one keeps the state from being 0.
    Noise(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15).max(1)).bytes(size)
}
