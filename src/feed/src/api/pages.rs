//! `/v1/feed` and `/v1/snapshot`: what is revoked, in pages.
//!
//! A reader that sends `position`, empty at first, may ask any companion each time. It gets
//! the `position` to send next with each page, and there is no 410 for it. One that does not
//! follows one companion's log by its name and number, as earlier filters do.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;

use super::{Api, bad, no_page};
use crate::metrics::After;
use crate::state::follow::last;
use crate::state::page::{NoPage, Page};
use crate::state::position::Position;

/// Most entries of a page.
const MAX_ENTRIES: usize = 1_000;
/// Longest time that a request waits for new revocations.
const MAX_WAIT_MS: u64 = 30_000;
/// Longest time that a reader which is ahead waits for this companion to read more.
const MAX_BEHIND: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
pub(super) struct FeedQuery {
    #[serde(default)]
    generation: String,
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait_ms: u64,
    max: Option<usize>,
    position: Option<String>,
}

pub(super) async fn feed(
    Shared(api): Shared<Api>,
    query: Result<Query<FeedQuery>, QueryRejection>,
) -> Response {
    let Ok(Query(query)) = query else {
        return bad("expected generation, after, wait_ms, max and position");
    };
    let max = query.max.unwrap_or(MAX_ENTRIES).clamp(1, MAX_ENTRIES);
    let state = &api.companion.state;
    let wait = Duration::from_millis(query.wait_ms.min(MAX_WAIT_MS));
    if let Some(text) = &query.position {
        let given = Position::read(text);
        let own = || state.position_in(&query.generation, query.after);
        let given = if given.is_empty() {
            own().unwrap_or(given)
        } else {
            given
        };
        return follow(&api, given, max, wait).await;
    }
    // Subscribe before the first look, so that nothing is missed in between.
    let mut head = state.head();
    let read = || state.page(&query.generation, query.after, max);
    let answer = |page: Page| {
        api.companion.metrics.read(After::This, page.entries.len());
        Json(page).into_response()
    };
    match read() {
        Ok(page) if page.entries.is_empty() && query.wait_ms > 0 => {}
        Ok(page) => return answer(page),
        Err(why) => return no_page(why),
    }
    let Ok(_place) = api.waits.try_acquire() else {
        return too_many();
    };
    let waiting = api.companion.metrics.filter_waits();
    tokio::select! {
        _ = head.wait_for(|head| *head > query.after) => {}
        () = tokio::time::sleep(wait) => {}
        () = api.companion.stopped() => {}
    }
    drop(waiting);
    read().map_or_else(no_page, answer)
}

fn too_many() -> Response {
    no_page(NoPage::NotReady(
        "too many requests wait for new revocations",
    ))
}

/// Answers a reader at `given`. It waits up to `wait` for something that the reader lacks.
async fn follow(api: &Api, given: Position, max: usize, wait: Duration) -> Response {
    let state = &api.companion.state;
    let after = match (given.is_empty(), state.is_here(&given)) {
        (true, _) => After::Nothing,
        (_, true) => After::This,
        (_, false) => After::Another,
    };
    let asked = Instant::now();
    let (mut given, mut place) = (given, None);
    let (mut head, mut turns) = (state.head(), state.turns());
    loop {
        // What comes after this look ends the wait.
        head.mark_unchanged();
        turns.mark_unchanged();
        let read = state.follow(&given, asked, max);
        let left = match &read {
            Ok(page) if page.entries.is_empty() => wait,
            Err(NoPage::Behind) => wait.clamp(Duration::from_millis(500), MAX_BEHIND),
            _ => Duration::ZERO,
        }
        .saturating_sub(asked.elapsed());
        if left.is_zero() || *api.companion.stopping.borrow() {
            return match read {
                Ok(page) => {
                    api.companion.metrics.read(after, page.entries.len());
                    Json(page).into_response()
                }
                Err(why) => no_page(why),
            };
        }
        if place.is_none() {
            let Ok(free) = api.waits.try_acquire() else {
                return too_many();
            };
            place = Some((free, api.companion.metrics.filter_waits()));
        }
        let is_behind = read.is_err();
        // It need not be examined again what the reader turned out to have.
        if let Some(next) = read.ok().and_then(|page| page.position) {
            given = next;
        }
        tokio::select! {
            _ = head.changed(), if !is_behind => {}
            _ = turns.changed(), if is_behind => {}
            () = tokio::time::sleep(left) => {}
            () = api.companion.stopped() => {}
        }
    }
}

#[derive(Deserialize)]
pub(super) struct SnapshotQuery {
    #[serde(default)]
    cursor: String,
    max: Option<usize>,
    position: Option<String>,
}

/// Without a position, a cursor is the log's name and a place in it. If some pages of such a
/// snapshot came from another companion, the snapshot would not be complete.
pub(super) async fn snapshot(
    Shared(api): Shared<Api>,
    query: Result<Query<SnapshotQuery>, QueryRejection>,
) -> Response {
    let Ok(Query(query)) = query else {
        return bad("expected cursor, max and position");
    };
    let max = query.max.unwrap_or(MAX_ENTRIES).clamp(1, MAX_ENTRIES);
    let state = &api.companion.state;
    if let Some(text) = query.position.filter(|_| query.cursor.is_empty()) {
        return follow(&api, Position::read(&text), max, Duration::ZERO).await;
    }
    let page = if query.cursor.is_empty() {
        state.snapshot(0, max)
    } else {
        let place = query
            .cursor
            .rsplit_once('.')
            .and_then(|(generation, after)| Some((generation, after.parse().ok()?)));
        let Some((generation, after)) = place else {
            return bad("the cursor is not from this companion");
        };
        state.page(generation, after, max)
    };
    match page {
        Ok(page) => {
            let after = match query.cursor.is_empty() {
                true => After::Nothing,
                false => After::This,
            };
            api.companion.metrics.read(after, page.entries.len());
            snapshot_page(page)
        }
        Err(why) => no_page(why),
    }
}

fn snapshot_page(page: Page) -> Response {
    let next = last(&page.entries)
        .filter(|_| page.more)
        .map(|last| format!("{}.{last}", page.generation));
    let mut body = json!({
        "generation": page.generation, "head": page.head,
        "confirmed_age_ms": page.confirmed_age_ms, "entries": page.entries, "next": next,
    });
    if let (Some(zone), Some(members)) = (page.zone, body.as_object_mut()) {
        members.insert("zone".to_owned(), zone.into());
    }
    Json(body).into_response()
}
