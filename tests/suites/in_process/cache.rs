//! What is remembered of mandates, and for how long a key set serves.

use super::*;

#[test]
fn the_oldest_mandate_leaves_a_full_cache() {
    let mut proxy = answering(json!({"limits": {"max_cached_mandates": 2}}), FIRST_TICK);
    proxy.advance(4 * FIRST_TICK);
    let tokens: Vec<String> = ["a", "b", "c"]
        .iter()
        .map(|jti| key().mandate(START, json!({"jti": jti})))
        .collect();
    let mut send = |n: usize| {
        let stream = proxy.request(0, Request::get("/").bearer(&tokens[n]));
        assert_eq!(status(&proxy, stream), 200);
        // What requests count is told at the next tick.
        proxy.advance(FIRST_TICK);
        proxy.metric_value("caracal_mandate_cache_total.result=hit")
    };
    assert_eq!([send(0), send(1), send(1), send(2)], [0, 0, 1, 1]);
    // The first one was dropped, the others are there.
    assert_eq!([send(1), send(2), send(0)], [2, 3, 3]);
    proxy.assert_clean();
}

#[test]
fn large_tokens_take_the_room_of_several() {
    let mut proxy = answering(json!({"limits": {"max_cached_mandates": 4}}), FIRST_TICK);
    proxy.advance(4 * FIRST_TICK);
    let tokens: Vec<String> = ["a", "b", "c"]
        .iter()
        .map(|jti| key().mandate(START, json!({"jti": jti, "note": "n".repeat(900)})))
        .collect();
    assert!(
        tokens
            .iter()
            .all(|token| (1_400..2_000).contains(&token.len()))
    );
    for n in [0, 1, 2, 2, 1, 0] {
        let stream = proxy.request(0, Request::get("/").bearer(&tokens[n]));
        assert_eq!(status(&proxy, stream), 200);
    }
    proxy.advance(FIRST_TICK);
    // There is room for two: the third took that of the first.
    let count =
        |result| proxy.metric_value(&format!("caracal_mandate_cache_total.result={result}"));
    assert_eq!([count("hit"), count("miss")], [2, 4]);
    proxy.assert_clean();
}

#[test]
fn a_stale_key_set_serves_for_its_time_and_not_longer() {
    let keys = key_set(&[&key()]).to_string();
    let mut calls = 0;
    let mut proxy = builder(json!({"jwks": {"upstream": "sts", "ttl_s": 20, "max_stale_s": 40}}))
        .on_callout(move |_| {
            calls += 1;
            match calls {
                1 => Answer::with(200, keys.clone()),
                _ => Answer::Refused,
            }
        })
        .start()
        .unwrap();
    proxy.advance(FIRST_TICK);
    proxy.advance(Duration::from_secs(55));
    for worker in 0..2 {
        let stream = send(&mut proxy, worker);
        assert_eq!(status(&proxy, stream), 200);
    }
    proxy.advance(Duration::from_secs(6));
    for worker in 0..2 {
        let stream = send(&mut proxy, worker);
        proxy.advance(Duration::from_secs(6));
        assert_eq!(status(&proxy, stream), 503);
    }
    assert!(proxy.callouts().len() > 2, "it goes on trying");
    proxy.assert_clean();
}
