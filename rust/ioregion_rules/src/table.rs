// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! All rules of a region: a sorted slice.

use crate::rule::Rule;
use core::borrow::Borrow;
use ioregion_wire::frame::{
    Operation,
    Width, //
};

/// Two rules match the same access; `EINVAL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous {
    /// Offset of both.
    pub offset: u32,
}

/// Sorts rules for [`find`].
///
/// # Errors
///
/// [`Ambiguous`] if it would depend on the order of the rules which of them an access matches.
pub fn sort<R: Borrow<Rule>>(rules: &mut [R]) -> Result<(), Ambiguous> {
    // By insertion: rules are few, and what `core` sorts with is large and takes kilobytes of a
    // kernel's stack.
    for at in 1..rules.len() {
        let new = key(rules[at].borrow());
        let place = rules[..at].partition_point(|rule| key(rule.borrow()) <= new);
        rules[place..=at].rotate_right(1);
    }
    for (at, rule) in rules.iter().enumerate() {
        let rule: &Rule = rule.borrow();
        let others = rules[at + 1..].iter().map(Borrow::borrow);
        let mut same = others.take_while(|other: &&Rule| other.offset == rule.offset);
        if same.any(|other| rule.collides_with(other)) {
            return Err(Ambiguous {
                offset: rule.offset,
            });
        }
    }
    Ok(())
}

/// The rule of `rules`, which are sorted, that an access matches.
#[inline]
pub fn find<R: Borrow<Rule>>(
    rules: &[R],
    offset: u64,
    width: Width,
    operation: Operation,
) -> Option<&R> {
    let first = rules.partition_point(|rule| u64::from(rule.borrow().offset) < offset);
    rules[first..]
        .iter()
        .take_while(|rule| u64::from((*rule).borrow().offset) == offset)
        .find(|rule| {
            let rule: &Rule = (*rule).borrow();
            rule.width == width && rule.takes(operation)
        })
}

fn key(rule: &Rule) -> (u32, Width, Option<u64>) {
    (rule.offset, rule.width, rule.datamatch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Bounds;
    use ioregion_wire::uapi::{
        KvmIoregionRule,
        KVM_IOREGION_RULE_DATAMATCH,
        KVM_IOREGION_RULE_DOORBELL,
        KVM_IOREGION_RULE_PLAIN,
        KVM_IOREGION_RULE_READ,
        KVM_IOREGION_RULE_WRITE, //
    };
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds {
        memory_size: 32,
        has_registers: true,
    };

    fn plain(offset: u32, size: u32, flags: u32) -> Rule {
        let arg = KvmIoregionRule {
            offset,
            size,
            kind: KVM_IOREGION_RULE_PLAIN,
            flags,
            fd: -1,
            ..Default::default()
        };
        Rule::parse(&arg, &BOUNDS).unwrap()
    }

    fn doorbell(datamatch: Option<u64>) -> Rule {
        let flag = datamatch.map_or(0, |_| KVM_IOREGION_RULE_DATAMATCH);
        let arg = KvmIoregionRule {
            offset: 8,
            size: 4,
            kind: KVM_IOREGION_RULE_DOORBELL,
            flags: KVM_IOREGION_RULE_WRITE | flag,
            fd: 7,
            datamatch: datamatch.unwrap_or(0),
            ..Default::default()
        };
        Rule::parse(&arg, &BOUNDS).unwrap()
    }

    #[test]
    fn the_data_selects_the_doorbell() {
        let mut rules = [doorbell(Some(2)), doorbell(Some(0)), doorbell(Some(1))];
        sort(&mut rules).unwrap();
        let find = |data| find(&rules, 8, Width::Long, Operation::Write(data));
        for queue in 0..3 {
            assert_eq!(find(queue), Some(&doorbell(Some(queue))));
        }
        assert_eq!(find(3), None);
    }

    #[test]
    fn rules_for_one_access_are_ambiguous() {
        const READ: u32 = KVM_IOREGION_RULE_READ;
        const WRITE: u32 = KVM_IOREGION_RULE_WRITE;
        let ambiguous = [
            [doorbell(None), doorbell(None)],
            [doorbell(None), doorbell(Some(1))],
            [doorbell(Some(1)), doorbell(Some(1))],
            [doorbell(Some(1)), plain(8, 4, READ | WRITE)],
            [plain(8, 4, READ), plain(8, 4, READ | WRITE)],
        ];
        for mut rules in ambiguous {
            assert_eq!(sort(&mut rules), Err(Ambiguous { offset: 8 }), "{rules:?}");
        }
        let distinct = [
            [doorbell(Some(0)), doorbell(Some(1))],
            [doorbell(None), plain(8, 4, READ)],
            [doorbell(None), plain(8, 2, WRITE)],
            [doorbell(None), plain(12, 4, WRITE)],
        ];
        for mut rules in distinct {
            assert_eq!(sort(&mut rules), Ok(()), "{rules:?}");
        }
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let plain = (0u32..4, 0u32..3, 1u32..4)
            .prop_map(|(at, width, flags)| plain((at << width).min(24) & !7, 1 << width, flags));
        let doorbell = prop::option::of(0u64..3).prop_map(doorbell);
        prop_oneof![plain, doorbell]
    }

    proptest! {
        #[test]
        fn find_agrees_with_a_linear_search(
            mut rules in prop::collection::vec(any_rule(), 0..8),
            offset in 0u64..32,
            exponent in 0u8..4,
            data in prop::option::of(0u64..4),
        ) {
            prop_assume!(sort(&mut rules).is_ok());
            let width = Width::from_exponent(exponent).unwrap();
            let operation = data.map_or(Operation::Read, Operation::Write);
            let matching: Vec<&Rule> = rules
                .iter()
                .filter(|r| u64::from(r.offset) == offset && r.width == width)
                .filter(|r| r.takes(operation))
                .collect();
            prop_assert!(matching.len() <= 1);
            prop_assert_eq!(find(&rules, offset, width, operation), matching.first().copied());
        }

        #[test]
        fn whether_rules_are_ambiguous_does_not_depend_on_their_order(
            rules in prop::collection::vec(any_rule(), 0..6).prop_shuffle(),
        ) {
            let mut sorted = rules.clone();
            let collide = rules.iter().enumerate().any(|(at, rule)| {
                rules[at + 1..].iter().any(|other| rule.collides_with(other))
            });
            prop_assert_eq!(sort(&mut sorted).is_err(), collide);
        }
    }
}
