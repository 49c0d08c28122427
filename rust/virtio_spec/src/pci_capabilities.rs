// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The list of capabilities in PCI configuration space: PCI Local Bus Specification 3.0, section 6.7.

/// Offset of the low byte of the status register, and its bit for a list that is there.
const STATUS: u8 = 0x06;
const HAS_LIST: u8 = 1 << 4;
/// Where the offset of the first capability is.
const FIRST: u8 = 0x34;
/// Bytes of the header, which capabilities lie behind, at multiples of 4.
const HEADER: u8 = 0x40;
/// Capabilities that there is room for. Whoever emulates the device may have made a loop of the list.
const MOST: usize = (256 - HEADER as usize) / 4;

/// Offsets of the capabilities with this `id`, as the list has them; `read` reads a byte of
/// configuration space. Ends even if the list does not.
///
/// # Errors
///
/// Those of `read`, here and of the iterator's items.
pub fn capabilities<E>(
    mut read: impl FnMut(u8) -> Result<u8, E>,
    id: u8,
) -> Result<impl Iterator<Item = Result<u8, E>>, E> {
    let most = match read(STATUS)? & HAS_LIST {
        0 => 0,
        _ => MOST,
    };
    let mut pointer = FIRST;
    let all = (0..most).map_while(move |_| follow(&mut read, &mut pointer).transpose());
    Ok(all.filter_map(move |found| match found {
        Ok((found, at)) => (found == id).then_some(Ok(at)),
        Err(error) => Some(Err(error)),
    }))
}

/// Id and offset of the capability that the pointer names, if there is one; the pointer is its own
/// afterwards.
fn follow<E>(
    read: &mut impl FnMut(u8) -> Result<u8, E>,
    pointer: &mut u8,
) -> Result<Option<(u8, u8)>, E> {
    // The other bits are reserved.
    let at = read(*pointer)? & !3;
    if at < HEADER {
        return Ok(None);
    }
    *pointer = at + 1;
    Ok(Some((read(at)?, at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets of the capabilities with id 9 of a configuration space that has these bytes.
    fn found(bytes: &[(u8, u8)]) -> Vec<u8> {
        let mut space = [0; 256];
        for &(at, byte) in bytes {
            space[usize::from(at)] = byte;
        }
        let read = |at: u8| Ok::<_, ()>(space[usize::from(at)]);
        let found = capabilities(read, 9).unwrap();
        // Of a list without an end, more than there can be.
        found.take(1000).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_list_is_followed_to_its_end() {
        let list = [(0x06, 0x10), (0x34, 0x40), (0x40, 9), (0x41, 0x80)];
        let rest = [(0x80, 5), (0x81, 0xfc), (0xfc, 9)];
        assert_eq!(found(&[&list[..], &rest].concat()), [0x40, 0xfc]);
        assert_eq!(found(&list[1..]), [], "the device has no list");
    }

    #[test]
    fn a_loop_is_left() {
        let itself = [(0x06, 0x10), (0x34, 0x40), (0x40, 9), (0x41, 0x40)];
        assert_eq!(found(&itself), [0x40; MOST]);
        let two = [(0x06, 0x10), (0x34, 0x40), (0x40, 5), (0x41, 0x80)];
        let back = [(0x80, 9), (0x81, 0x40)];
        assert_eq!(found(&[&two[..], &back].concat()), [0x80; MOST / 2]);
    }

    #[test]
    fn what_does_not_point_behind_the_header_ends_the_list() {
        assert_eq!(found(&[(0x06, 0x10), (0x34, 0x3c), (0x3c, 9)]), []);
        // A device that is gone reads as ones.
        assert!(capabilities(|_| Ok::<_, ()>(0xff), 9)
            .unwrap()
            .next()
            .is_none());
    }

    #[test]
    fn an_error_of_reading_is_told() {
        assert!(capabilities(|_| Err::<u8, _>(()), 9).is_err());
        let read = |at| if at == STATUS { Ok(HAS_LIST) } else { Err(()) };
        assert_eq!(capabilities(read, 9).unwrap().next(), Some(Err(())));
    }
}
