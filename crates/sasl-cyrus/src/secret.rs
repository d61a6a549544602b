//! A password in the shape of C's `sasl_secret_t`.

use std::ffi::c_ulong;
use std::fmt;

use transport::Secret;
use zeroize::Zeroizing;

/// A length, and as many octets behind it: `sasl_secret_t` ends in an array whose length is not part
/// of its type. Wiped when dropped.
#[derive(Clone)]
pub(crate) struct PasswordBlock {
    words: Zeroizing<Vec<c_ulong>>,
}

impl PasswordBlock {
    pub(crate) fn new(password: &Secret) -> Option<Self> {
        const WORD_BYTES: usize = size_of::<c_ulong>();
        let octets = password.expose();
        // One octet of 0 at least ends it, for plugins that want a string.
        let mut words = Zeroizing::new(Vec::with_capacity(octets.len() / WORD_BYTES + 2));
        words.push(c_ulong::try_from(octets.len()).ok()?);
        for chunk in octets.chunks(WORD_BYTES) {
            let mut word = Zeroizing::new([0; WORD_BYTES]);
            word.get_mut(..chunk.len())?.copy_from_slice(chunk);
            words.push(native_word(*word));
        }
        words.push(0);
        Some(Self { words })
    }

    /// Start of the block, aligned as `sasl_secret_t`.
    pub(crate) fn words(&self) -> &[c_ulong] {
        &self.words
    }
}

#[expect(
    clippy::host_endian_bytes,
    reason = "octets are laid into memory in their order, for C to read as octets"
)]
fn native_word(octets: [u8; size_of::<c_ulong>()]) -> c_ulong {
    c_ulong::from_ne_bytes(octets)
}

impl fmt::Debug for PasswordBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordBlock(..)")
    }
}
