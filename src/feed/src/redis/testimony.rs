//! What the witnesses said about who is the master, and what follows from it. Pure.

use std::collections::BTreeMap;

use redis::Value;

use super::connection::Named;
use super::reply::{items, text};
use super::slots::{Slots, slot_of};
use crate::event::Stream;

/// Most witnesses that are asked.
pub const MAX_WITNESSES: usize = 128;

/// What one witness said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The witness. Each one has one voice, however many addresses it has.
    pub voice: String,
    /// The master that it names for each stream, and the number of the election.
    pub named: BTreeMap<Stream, (Named, u64)>,
    /// How many voices there are, as far as it knows.
    pub voices: usize,
    /// A failover is under way.
    pub changing: bool,
    /// In a cluster, the master of each slot.
    pub slots: Option<Slots>,
    /// Other witnesses that it knows.
    pub others: Vec<(String, u16)>,
}

/// What each voice said, and how many voices are a majority.
fn heard(said: &[Said], least: usize) -> Result<(BTreeMap<&str, &Said>, usize), &'static str> {
    let heard: BTreeMap<&str, &Said> = said
        .iter()
        .filter(|said| !said.voice.is_empty())
        .map(|said| (said.voice.as_str(), said))
        .collect();
    let voices = said.iter().map(|said| said.voices).max();
    // In a failover the old and the new master both speak for a while.
    let voices = voices.unwrap_or(0).max(least).max(heard.len());
    let majority = voices.checked_div(2).unwrap_or(0).saturating_add(1);
    if heard.len() < majority {
        return Err(
            "too few of the Sentinels or masters that name the master answer: a majority is needed",
        );
    }
    Ok((heard, majority))
}

/// The master of each slot according to a majority of the masters, and whether they agree
/// on every slot. While slots are moved, they may disagree on those and still agree on
/// who the masters are.
///
/// # Errors Why this is not known.
pub fn owners_of(said: &[Said]) -> Result<(Slots, bool), &'static str> {
    let (heard, majority) = heard(said, 0)?;
    let all = heard.values().filter_map(|said| said.slots.as_ref());
    let all: Vec<&Slots> = all.collect();
    let agree = |slots: &Slots| {
        let others = all
            .iter()
            .filter(|other| other.masters() == slots.masters());
        others.count() >= majority
    };
    let same = |slots: &Slots| all.iter().filter(|other| **other == slots).count();
    let most = all.iter().filter(|slots| agree(slots));
    match most.max_by_key(|slots| same(slots)) {
        Some(slots) if slots.is_whole() => Ok(((*slots).clone(), same(slots) >= majority)),
        Some(_) => Err("some slots of the cluster have no master"),
        None => Err("the masters do not agree on the owners of the slots"),
    }
}

/// The master that a majority of at least `least` voices names, if no voice knows of a
/// newer election.
///
/// # Errors Why nobody is named.
pub fn agreed(said: &[Said], least: usize, stream: Stream) -> Result<Named, &'static str> {
    let (heard, majority) = heard(said, least)?;
    if heard.values().any(|said| said.changing) {
        return Err("a failover is under way");
    }
    let named = |said: &&Said| said.named.get(&stream).cloned();
    let all: Vec<(Named, u64)> = heard.values().filter_map(named).collect();
    let Some((newest, epoch)) = all.iter().max_by_key(|(_, epoch)| *epoch) else {
        return Err("the Sentinels or masters name no master");
    };
    let votes = all.iter().filter(|(named, _)| named == newest).count();
    let rivals = all
        .iter()
        .any(|(named, other)| named != newest && other == epoch && *epoch > 0);
    if votes < majority || rivals {
        return Err("the Sentinels or masters do not agree on the master");
    }
    Ok(newest.clone())
}

fn pairs(value: Value) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    let mut list = match value {
        Value::Map(pairs) => pairs.into_iter().flat_map(|(n, v)| [n, v]).collect(),
        other => items(other),
    }
    .into_iter();
    while let (Some(name), Some(value)) = (list.next(), list.next()) {
        if let (Some(name), Some(value)) = (text(name), text(value)) {
            map.insert(name, value);
        }
    }
    map
}

/// A Sentinel's answer; `None` for anything with another shape.
pub fn of_sentinel(answers: Vec<Value>) -> Option<Said> {
    let mut answers = answers.into_iter();
    let voice = text(answers.next()?)?;
    let mut address = items(answers.next()?).into_iter();
    let (host, port) = (text(address.next()?)?, text(address.next()?)?);
    let named = Named {
        host,
        port: port.parse().ok()?,
    };
    let master = pairs(answers.next()?);
    let count = |name: &str| master.get(name).and_then(|n| n.parse::<u64>().ok());
    let epoch = count("config-epoch").unwrap_or(0);
    let others = usize::try_from(count("num-other-sentinels").unwrap_or(0)).ok()?;
    let flags = master.get("flags").map_or("", String::as_str);
    let known = items(answers.next()?).into_iter().filter_map(|other| {
        let other = pairs(other);
        Some((other.get("ip")?.clone(), other.get("port")?.parse().ok()?))
    });
    Some(Said {
        voice,
        named: Stream::ALL
            .map(|stream| (stream, (named.clone(), epoch)))
            .into(),
        voices: others.saturating_add(1),
        changing: flags.contains("failover_in_progress"),
        slots: None,
        others: known.take(MAX_WITNESSES).collect(),
    })
}

/// A cluster node's answer. The node has a voice if it says that it is a master.
pub fn of_master(answers: Vec<Value>, asked: &str) -> Option<Said> {
    let mut answers = answers.into_iter();
    let voice = text(answers.next()?)?;
    let slots = Slots::read(answers.next()?, asked)?;
    let has_voice = slots.ids().contains(voice.as_str());
    let owner = |stream: Stream| slots.master_of(slot_of(stream.key())).cloned();
    let named = Stream::ALL
        .into_iter()
        .filter(|_| has_voice)
        .filter_map(|stream| Some((stream, (owner(stream)?, 0))));
    let others = slots.masters().into_iter().take(MAX_WITNESSES);
    Some(Said {
        // All nodes without a voice together are one voice that names nobody.
        voice: if has_voice { voice } else { String::new() },
        named: named.collect(),
        voices: slots.ids().len(),
        changing: false,
        others: others.map(|at| (at.host.clone(), at.port)).collect(),
        slots: Some(slots).filter(|_| has_voice),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(voice: &str, port: u16, epoch: u64, voices: usize) -> Said {
        let named = Named {
            host: "h".to_owned(),
            port,
        };
        Said {
            voice: voice.to_owned(),
            named: [(Stream::Revocations, (named, epoch))].into(),
            voices,
            changing: false,
            slots: None,
            others: Vec::new(),
        }
    }

    fn port(said: &[Said]) -> Option<u16> {
        agreed(said, 0, Stream::Revocations)
            .ok()
            .map(|named| named.port)
    }

    #[test]
    fn a_majority_of_all_voices_names_the_master() {
        assert_eq!(port(&[said("a", 1, 1, 3), said("b", 1, 1, 3)]), Some(1));
        assert_eq!(port(&[said("a", 1, 1, 3)]), None, "a minority");
        let twice = [said("a", 1, 1, 3), said("a", 1, 1, 3)];
        assert_eq!(port(&twice), None, "one voice at two addresses");
        assert_eq!(port(&[said("a", 1, 1, 1)]), Some(1));
        assert_eq!(port(&[]), None);
        let forgetful = agreed(&[said("a", 1, 1, 1)], 3, Stream::Revocations);
        assert!(forgetful.is_err(), "one that has forgotten the others");
        let mut changing = [said("a", 1, 1, 3), said("b", 1, 1, 3)];
        changing[1].changing = true;
        assert_eq!(port(&changing), None);
    }

    #[test]
    fn one_that_knows_of_a_newer_election_is_enough_to_doubt() {
        let (a, b) = (said("a", 1, 1, 3), said("b", 1, 1, 3));
        assert_eq!(port(&[a.clone(), b.clone(), said("c", 2, 2, 3)]), None);
        // A node that has not heard of it yet does not delay the others.
        let (c, d) = (said("c", 2, 2, 3), said("d", 2, 2, 3));
        assert_eq!(port(&[a, c, d]), Some(2));
    }

    /// What a master says about a cluster: each master's last slot and port.
    fn of_slots(voice: &str, ranges: &[(i64, i64)]) -> Said {
        let bulk = |text: String| Value::BulkString(text.into_bytes());
        let mut first = 0;
        let ranges = ranges.iter().map(|(last, port)| {
            let master = [
                bulk("h".to_owned()),
                Value::Int(*port),
                bulk(format!("id{port}")),
            ];
            let range = [
                Value::Int(first),
                Value::Int(*last),
                Value::Array(master.into()),
            ];
            first = last.saturating_add(1);
            Value::Array(range.into())
        });
        let answers = vec![bulk(voice.to_owned()), Value::Array(ranges.collect())];
        of_master(answers, "h").unwrap()
    }

    #[test]
    fn masters_may_differ_in_slots_and_agree_on_who_they_are() {
        let one = [(5_000, 1), (10_000, 2), (16_383, 3)];
        let other = [(5_001, 1), (10_000, 2), (16_383, 3)];
        let all = |maps: [&[(i64, i64)]; 3]| -> Vec<Said> {
            let voices = ["id1", "id2", "id3"].into_iter().zip(maps);
            voices.map(|(voice, map)| of_slots(voice, map)).collect()
        };
        let exact = |said: &[Said]| owners_of(said).map(|(_, exact)| exact);
        assert_eq!(exact(&all([&one, &one, &one])), Ok(true));
        assert_eq!(exact(&all([&one, &other, &one])), Ok(true));
        let third = [(4_999, 1), (10_000, 2), (16_383, 3)];
        assert_eq!(exact(&all([&one, &other, &third])), Ok(false));
        // Another master, or a slot without one.
        let new = [(5_000, 1), (10_000, 2), (16_383, 4)];
        let said = [
            of_slots("id1", &one),
            of_slots("id2", &new),
            of_slots("id4", &new),
        ];
        assert_eq!(
            owners_of(&said).unwrap().0.master_of(16_000).unwrap().port,
            4
        );
        assert!(owners_of(&said[..2]).is_err(), "one each");
        let short = [(5_000, 1), (10_000, 2), (16_382, 3)];
        assert!(owners_of(&all([&short, &short, &short])).is_err());
        // A node that is not a master has no voice.
        assert!(owners_of(&[of_slots("id9", &one), of_slots("id1", &one)]).is_err());
    }
}
