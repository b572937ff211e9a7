//! Numbers in as few bytes as they need: seven bits in each, the lowest first, and a bit that says whether another follows (LEB128, as in protocol buffers).

const MORE: u8 = 0x80;

/// Appends a number: 1 to 10 bytes.
pub(super) fn append_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | MORE);
    }
}

/// Appends a number that may be negative, with its sign as the lowest bit: so one near 0 is short on either side.
pub(super) fn append_signed(out: &mut Vec<u8>, number: i64) {
    append_number(out, (number << 1 ^ number >> 63).cast_unsigned());
}

/// What is left to be read. Each step gives `None` where what it wants is not there.
pub(super) struct Left<'a>(pub(super) &'a [u8]);

impl Left<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number in its shortest form; there is no other.
    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.take()?;
            let bits = u64::from(byte & !MORE);
            number |= bits << shift;
            let fits = number >> shift == bits;
            if byte & MORE == 0 {
                return (fits && (shift == 0 || byte != 0)).then_some(number);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub(super) fn small(&mut self) -> Option<u16> {
        self.number()?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back_and_are_as_short_as_they_can_be(number: u64, shift in 0_u32..64) {
            let number = number >> shift;
            let mut out = Vec::new();
            append_number(&mut out, number);
            let bits = u64::BITS - number.leading_zeros();
            prop_assert_eq!(u32::try_from(out.len()), Ok(bits.div_ceil(7).max(1)));
            let mut left = Left(&out);
            prop_assert_eq!((left.number(), left.is_empty()), (Some(number), true));

            let signed = number.cast_signed();
            for signed in [signed, signed.wrapping_neg()] {
                let mut out = Vec::new();
                append_signed(&mut out, signed);
                prop_assert_eq!(Left(&out).signed(), Some(signed));
            }
        }
    }

    #[test]
    fn a_number_that_is_longer_than_it_need_be_or_too_great_or_cut_off_is_none() {
        let greatest = [255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        assert_eq!(Left(&greatest).number(), Some(u64::MAX));
        for wrong in [
            &[0x80, 0][..],
            &[0xff, 0x80, 0],
            &[0x80],
            &[],
            &[255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
            &[255, 255, 255, 255, 255, 255, 255, 255, 255, 3],
            &[255, 255, 255, 255, 255, 255, 255, 255, 255, 0x81, 0],
            &[255, 255, 255, 255, 255, 255, 255, 255, 255, 0x81, 1],
        ] {
            assert_eq!(Left(wrong).number(), None, "{wrong:?}");
        }
        assert_eq!(Left(&[0xff, 0xff, 3]).small(), Some(u16::MAX));
        assert_eq!(Left(&[0x80, 0x80, 4]).small(), None);
    }
}
