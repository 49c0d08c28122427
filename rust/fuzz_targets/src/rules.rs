// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `ioregion_rules`: any rules for a region, and accesses to it, beside a list of the rules as
//! the VMM gave them.

use crate::{
    input::Input,
    outcome::{
        hold,
        Broken,
        Digest, //
    },
};
use ioregion_rules::{
    rule::{
        Action,
        BadRule,
        Bounds,
        Rule, //
    },
    table,
};
use ioregion_wire::{
    frame::{
        Operation,
        Width, //
    },
    uapi::KvmIoregionRule,
};

/// Most rules of a table here.
const MAX: usize = 10;

// `KVM_IOREGION_RULE_*`, as the header has them.
const PLAIN: u32 = 0;
const W1C: u32 = 1;
const DOORBELL: u32 = 2;
const READ: u32 = 1;
const WRITE: u32 = 2;
const DATAMATCH: u32 = 4;

/// Rules that were accepted, as they were given and as they were parsed.
struct Rules {
    given: [KvmIoregionRule; MAX],
    parsed: [Option<Rule>; MAX],
    count: usize,
}

/// Makes a table of rules and looks accesses up in it.
///
/// # Errors
///
/// The promise that does not hold.
pub fn run(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    let bounds = Bounds {
        has_registers: input.u8() & 1 != 0,
        memory_size: input.edgy(),
    };
    let mut rules = Rules {
        given: [KvmIoregionRule::default(); MAX],
        parsed: [None; MAX],
        count: 0,
    };
    for _ in 0..input.below(MAX + 1) {
        rules.add(&argument(input), &bounds, seen)?;
    }
    let Some(first) = rules.parsed[0] else {
        return Ok(());
    };
    let mut sorted = [first; MAX];
    for (place, rule) in sorted.iter_mut().zip(rules.parsed.iter().flatten()) {
        *place = *rule;
    }
    let sorted = &mut sorted[..rules.count];
    let result = table::sort(sorted).map_err(|ambiguous| ambiguous.offset);
    hold(
        result.err() == rules.ambiguity(),
        "a table is refused if an access matches two rules",
    )?;
    seen.see_option(result.err().map(u64::from));
    while result.is_ok() && !input.is_empty() {
        rules.look_up(sorted, input, seen)?;
    }
    Ok(())
}

/// A rule that is right but for one field, now and then.
fn argument(input: &mut Input<'_>) -> KvmIoregionRule {
    let (shape, place) = (input.u8(), input.u8());
    let size = 1 << (place & 3);
    let kind = u32::from(shape & 3);
    let mut rule = KvmIoregionRule {
        offset: u32::from(place >> 2 & 7) * size,
        size,
        kind,
        flags: match kind {
            PLAIN => 1 + u32::from(shape >> 2) % 3,
            W1C => WRITE,
            _ => WRITE | u32::from(shape) & DATAMATCH,
        },
        fd: -1,
        ..KvmIoregionRule::default()
    };
    if kind == W1C {
        rule.target = u32::from(place >> 5) * size;
    }
    if kind == DOORBELL {
        rule.fd = i32::from(shape >> 3 & 3) - 1;
    }
    if rule.flags & DATAMATCH != 0 {
        rule.datamatch = u64::from(place >> 5);
    }
    if shape & 0xe0 == 0xe0 {
        spoil(&mut rule, input);
    }
    rule
}

fn spoil(rule: &mut KvmIoregionRule, input: &mut Input<'_>) {
    let (field, value) = (input.below(7), input.edgy());
    match field {
        0 => rule.offset = value as u32,
        1 => rule.size = value as u32,
        2 => rule.kind = value as u32,
        3 => rule.flags = value as u32,
        4 => rule.target = value as u32,
        5 => rule.fd = value as i32,
        _ => rule.datamatch = value,
    }
}

/// What is wrong with a rule, by the comments in the header.
fn verdict(rule: &KvmIoregionRule, bounds: &Bounds) -> Option<BadRule> {
    let size = u64::from(rule.size);
    if ![1, 2, 4, 8].contains(&size) {
        return Some(BadRule::Size(rule.size));
    }
    let is_register = |at: u32| {
        let at = u64::from(at);
        at & (size - 1) == 0 && (at..at + size).all(|byte| byte < bounds.memory_size)
    };
    let (is_w1c, is_doorbell) = (rule.kind == W1C, rule.kind == DOORBELL);
    let has_flag = |flag| rule.flags & flag != 0;
    let flags_fit = rule.flags <= 7
        && (has_flag(READ) || has_flag(WRITE))
        && (!has_flag(READ) || rule.kind == PLAIN)
        && (!has_flag(DATAMATCH) || is_doorbell);
    let target_fits = match is_w1c {
        true => is_register(rule.target),
        false => rule.target == 0,
    };
    let fd_fits = rule.fd == -1 || (rule.fd >= 0 && is_doorbell);
    let data_fits = match has_flag(DATAMATCH) {
        true => size == 8 || rule.datamatch >> (8 * size) == 0,
        false => rule.datamatch == 0,
    };
    [
        (is_register(rule.offset), BadRule::Offset(rule.offset)),
        (rule.kind <= DOORBELL, BadRule::Kind(rule.kind)),
        (flags_fit, BadRule::Flags(rule.flags)),
        (target_fits, BadRule::Target(rule.target)),
        (fd_fits, BadRule::Fd(rule.fd)),
        (data_fits, BadRule::Datamatch(rule.datamatch)),
        (is_doorbell || bounds.has_registers, BadRule::NoRegisters),
    ]
    .into_iter()
    .find_map(|(fits, bad)| (!fits).then_some(bad))
}

fn wanted_action(rule: &KvmIoregionRule) -> Action {
    match (rule.kind, rule.fd) {
        (PLAIN, _) => Action::Plain,
        (W1C, _) => Action::ClearBits {
            target: rule.target,
        },
        (_, -1) => Action::Post,
        _ => Action::Signal,
    }
}

/// Whether a rule takes an access, of which the data is `None` for a read.
fn takes(rule: &KvmIoregionRule, offset: u64, size: u32, data: Option<u64>) -> bool {
    let in_direction = match data {
        None => rule.flags & READ != 0,
        Some(_) => rule.flags & WRITE != 0,
    };
    let has_data = rule.flags & DATAMATCH == 0 || data == Some(rule.datamatch);
    u64::from(rule.offset) == offset && rule.size == size && in_direction && has_data
}

/// Whether there is an access that both rules take: if there is one, a read or a write of the
/// data that one of them asks for is.
fn collide(one: &KvmIoregionRule, other: &KvmIoregionRule) -> bool {
    let both_take = |data| {
        let take = |rule| takes(rule, one.offset.into(), one.size, data);
        take(one) && take(other)
    };
    both_take(None) || both_take(Some(one.datamatch)) || both_take(Some(other.datamatch))
}

impl Rules {
    fn given(&self) -> &[KvmIoregionRule] {
        &self.given[..self.count]
    }

    fn add(
        &mut self,
        rule: &KvmIoregionRule,
        bounds: &Bounds,
        seen: &mut Digest,
    ) -> Result<(), Broken> {
        let parsed = Rule::parse(rule, bounds);
        hold(
            parsed.err() == verdict(rule, bounds),
            "the first error of a rule is the one told",
        )?;
        seen.see(parsed.is_ok().into());
        if let Ok(parsed) = parsed {
            hold(parsed.action() == wanted_action(rule), "a rule's action")?;
            hold(parsed.fd() == rule.fd, "a rule's descriptor")?;
            self.given[self.count] = *rule;
            self.parsed[self.count] = Some(parsed);
            self.count += 1;
        }
        Ok(())
    }

    /// The lowest offset at which an access matches two rules.
    fn ambiguity(&self) -> Option<u32> {
        let rules = self.given();
        let pairs = (0..rules.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
        pairs
            .filter(|&(one, other)| collide(&rules[one], &rules[other]))
            .map(|(one, _)| rules[one].offset)
            .min()
    }

    fn look_up(
        &self,
        sorted: &[Rule],
        input: &mut Input<'_>,
        seen: &mut Digest,
    ) -> Result<(), Broken> {
        let (width, hints) = (input.width(), input.u8());
        let offset = match hints & 0x80 {
            0 => u64::from(hints >> 2 & 7) * width.bytes() as u64,
            _ => input.edgy(),
        };
        let data = (hints & 1 != 0).then(|| width.mask(input.edgy()));
        let operation = data.map_or(Operation::Read, Operation::Write);
        let found = table::find(sorted, offset, width, operation);
        let matching = self.matching(offset, width, data);
        hold(found == matching, "an access finds the rule that takes it")?;
        seen.see_option(found.map(|rule| rule.fd() as u64));
        Ok(())
    }

    fn matching(&self, offset: u64, width: Width, data: Option<u64>) -> Option<&Rule> {
        let size = width.bytes() as u32;
        let rules = self.given().iter().zip(&self.parsed);
        let mut matching = rules.filter(|(given, _)| takes(given, offset, size, data));
        matching.next().and_then(|(_, parsed)| parsed.as_ref())
    }
}
