//! Incompressible pseudo-random bytes, reproducible from a seed.

/// An endless sequence of numbers (xorshift64). The seed must not be 0.
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

/// `size` bytes of noise. A shorter result from the same seed is a prefix of a longer one.
pub fn noise(size: usize, seed: u64) -> Vec<u8> {
    // Spread the seed, because small seeds start with similar numbers; `max` keeps the state from being 0.
    Noise(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15).max(1)).bytes(size)
}
