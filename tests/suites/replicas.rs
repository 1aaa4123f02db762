//! Several companions behind one address. `make bench` measures the same for longer.

use std::time::Duration;

use caracal_tests::replicas;

/// From one killed companion to the next.
const EVERY: Duration = Duration::from_secs(2);

#[test]
fn three_companions_in_turn_are_as_one_while_they_are_replaced() {
    let seconds = std::env::var("REPLICAS_SECONDS").ok();
    let seconds = seconds.map_or(20, |text| text.parse().unwrap());
    let one = replicas::run(1, None, Duration::from_secs(seconds / 4));
    println!(
        "one companion: {} revocations; p50 {:.1?}, p99 {:.1?}",
        one.first.len(),
        replicas::percentile(&one.first, 50),
        replicas::percentile(&one.first, 99),
    );
    let report = replicas::run(3, Some(EVERY), Duration::from_secs(seconds));
    println!(
        "{} revocations, {} companions replaced, {} entries sent, {} first questions at a companion, {} from nothing; p50 {:.1?}, p99 {:.1?}",
        report.first.len(),
        report.replaced,
        report.sent,
        report.hops,
        report.from_nothing,
        replicas::percentile(&report.first, 50),
        replicas::percentile(&report.first, 99),
    );
    assert!(report.replaced >= 3, "{}", report.replaced);
    assert!(report.first.len() >= 20 && report.good >= 1_000);
    assert_eq!(report.refused, 0, "of {}", report.good);
    // The edge reads the whole state once, at its start, and is told 410 by nobody.
    assert_eq!(report.from_nothing, 1.0);
    assert_eq!(report.gone, 0);
    // Each companion is asked for the first time once, and once after each replacement.
    let lives = report.replaced + 3;
    assert!(report.hops <= lives as f64, "{}", report.hops);
    // A revocation comes at most once from each life, and what the store alone has too.
    let most = (3 * report.first.len() + 50 * (lives + 1)) as f64;
    assert!(report.sent <= most, "{} of {most}", report.sent);
}
