//! Ticks and the clocks.

use std::time::Duration;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// Ticks every 100 ms, from the third tick on every 10.
const TICKER: &str = r#"
  (global $n (mut i32) (i32.const 0))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $period (i32.const 100)))
    (i32.const 1))
  (func (export "proxy_on_tick") (param i32)
    (global.set $n (i32.add (global.get $n) (i32.const 1)))
    (call $note (global.get $n))
    (if (i32.eq (global.get $n) (i32.const 3))
      (then (drop (call $period (i32.const 10))))))"#;

#[test]
fn ticks_come_a_period_after_it_was_set_and_not_before() {
    let mut proxy = Proxy::envoy(module(TICKER)).start().unwrap();
    proxy.advance(99 * MS);
    assert_eq!(said(&proxy, WORKER), [""; 0]);
    proxy.advance(MS);
    assert_eq!(said(&proxy, WORKER), ["1"]);
    assert_eq!(said(&proxy, Vm::Main), ["1"], "the main thread ticks too");
    assert_eq!(said(&proxy, Vm::Canary), [""; 0], "the canary is gone");
}

#[test]
fn a_period_can_be_changed_from_within_a_tick() {
    let mut proxy = Proxy::envoy(module(TICKER)).start().unwrap();
    proxy.advance(300 * MS);
    assert_eq!(proxy.tick_periods(WORKER), [10 * MS]);
    proxy.advance(20 * MS);
    let lines = proxy.logs().iter().filter(|l| l.vm == WORKER);
    let times: Vec<u128> = lines.map(|l| l.at.as_millis()).collect();
    assert_eq!(times, [100, 200, 300, 310, 320]);
}

#[test]
fn each_root_has_its_own_period_and_zero_stops_it() {
    let text = r#"
      (func (export "proxy_on_configure") (param i32) (param $size i32) (result i32)
        (drop (call $period (i32.mul (local.get $size) (i32.const 30))))
        (i32.const 1))
      (func (export "proxy_on_tick") (param $root i32)
        (call $note (local.get $root))
        (if (i32.eq (local.get $root) (i32.const 2))
          (then (drop (call $period (i32.const 0))))))"#;
    let builder = Proxy::envoy(module(text)).configuration("a");
    let mut proxy = builder.configuration("bb").start().unwrap();
    assert_eq!(proxy.tick_periods(WORKER), [30 * MS, 60 * MS]);
    proxy.advance(130 * MS);
    assert_eq!(said(&proxy, WORKER), ["1", "1", "2", "1", "1"]);
    assert_eq!(proxy.tick_periods(WORKER), [30 * MS, Duration::ZERO]);
}

#[test]
fn at_one_moment_vms_tick_in_their_order() {
    let mut proxy = Proxy::envoy(module(TICKER)).workers(2).start().unwrap();
    proxy.advance(200 * MS);
    let order: Vec<Vm> = proxy.logs().iter().map(|l| l.vm).collect();
    let round = [Vm::Main, Vm::Worker(0), Vm::Worker(1)];
    assert_eq!(order, [round, round].concat());
}

#[test]
fn the_wall_clock_moves_alone_when_told() {
    let mut proxy = Proxy::envoy(module(TICKER)).start().unwrap();
    let wall = proxy.wall();
    proxy.jump_wall(-3600);
    assert_eq!(proxy.wall(), wall - Duration::from_secs(3600));
    proxy.advance(50 * MS);
    assert_eq!(proxy.now(), 50 * MS);
    assert_eq!(said(&proxy, WORKER), [""; 0], "a jump causes no tick");
    proxy.set_wall(Duration::from_secs(5));
    proxy.advance(50 * MS);
    assert_eq!(proxy.wall(), Duration::from_secs(5) + 50 * MS);
    assert_eq!(said(&proxy, WORKER), ["1"]);
}
