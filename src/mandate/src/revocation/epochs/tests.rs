use super::super::page::{Cursor, Position};
use super::*;
use crate::zone::{Zone, Zones};

fn zones() -> Zones {
    let zone = |id: &str| Zone {
        id: id.to_owned(),
        issuer: String::new(),
    };
    Zones::several(zone("a"), vec![zone("b"), zone("c")])
}

fn at(id: &str) -> ZoneIndex {
    zones().find(id).unwrap()
}

fn page(zone: &str, epoch: u64, ttl_s: u32) -> Page {
    Page {
        generation: Cursor::new("g").unwrap(),
        head: 1,
        confirmed_age_ms: 0,
        anchors: Vec::new(),
        epochs: vec![(at(zone), epoch, ttl_s)],
        last: Some(1),
        more: false,
        next: Cursor::default(),
        position: Position::default(),
    }
}

#[test]
fn an_epoch_goes_up_only_and_ends_with_its_life() {
    let mut epochs = Epochs::none(3);
    let zone = at("b");
    epochs.raise(&page("b", 5, 10), 1_000);
    assert_eq!(epochs.of(zone, 1_000), 5);
    epochs.raise(&page("b", 4, 100), 2_000);
    assert_eq!(epochs.of(zone, 10_999), 5);
    assert_eq!(epochs.of(zone, 11_000), 0);
    epochs.raise(&page("b", 5, 20), 3_000);
    assert_eq!(epochs.of(zone, 22_999), 5);
    epochs.raise(&page("b", 9, 1), 4_000);
    assert_eq!(epochs.of(zone, 22_999), 9, "no sooner than the lower one");
    epochs.raise(&page("b", 3, 1), 30_000);
    assert_eq!(epochs.of(zone, 30_000), 3);
}

#[test]
fn a_higher_epoch_does_not_end_sooner_than_the_lower_one() {
    let mut epochs = Epochs::none(3);
    let zone = at("a");
    epochs.raise(&page("a", 3, 100), 1_000);
    epochs.raise(&page("a", 4, 10), 1_000);
    assert_eq!(epochs.of(zone, 1_000), 4);
    assert_eq!(epochs.of(zone, 100_999), 4);
    assert_eq!(epochs.of(zone, 101_000), 0);
    // An epoch that has expired does not change the lifetime of the next one.
    epochs.raise(&page("a", 2, 1), 200_000);
    assert_eq!(epochs.of(zone, 200_999), 2);
    assert_eq!(epochs.of(zone, 201_000), 0);
    // The same epoch lives longer; a lower one changes nothing.
    epochs.raise(&page("a", 5, 1), 300_000);
    epochs.raise(&page("a", 5, 9), 300_000);
    epochs.raise(&page("a", 4, 50), 300_000);
    assert_eq!((epochs.of(zone, 308_999), epochs.of(zone, 309_000)), (5, 0));
}

#[test]
fn a_page_with_several_epochs_of_a_zone_is_as_several_pages() {
    let mut together = page("b", 7, 100);
    together.epochs.push((at("b"), 8, 10));
    together.epochs.push((at("b"), 6, 500));
    let mut epochs = Epochs::none(3);
    epochs.raise(&together, 0);
    assert_eq!(epochs.of(at("b"), 1), 8);
    assert_eq!(
        epochs.of(at("b"), 99_999),
        8,
        "no sooner than the lower one"
    );
    assert_eq!(epochs.of(at("b"), 100_000), 0);
}

#[test]
fn the_epoch_of_a_zone_is_its_own() {
    let mut epochs = Epochs::none(3);
    epochs.raise(&page("b", 9, 10), 0);
    epochs.raise(&page("c", 4, 10), 0);
    let of = |id| epochs.of(at(id), 1);
    assert_eq!((of("a"), of("b"), of("c")), (0, 9, 4));
    // A record of fewer zones has no others.
    let mut one = Epochs::none(1);
    one.raise(&page("b", 9, 10), 0);
    assert_eq!(one, Epochs::none(1));
    assert_eq!(one.of(at("b"), 1), 0);
}

#[test]
fn only_as_many_as_were_written_are_read_back() {
    let mut epochs = Epochs::none(3);
    epochs.raise(&page("c", 7, 10), 5);
    let bytes = epochs.encode(b"rest");
    assert_eq!(bytes.len(), 3 * 16 + 4);
    assert_eq!(Epochs::decode(&bytes, 3), Some((epochs, &b"rest"[..])));
    assert_eq!(Epochs::decode(&bytes, 4), None);
    assert_eq!(Epochs::decode(&bytes[..47], 3), None);
}
