//! `GET /events`: what runs and whether the list changed, to every open page, as server-sent events.

use crate::model::Live;
use crate::server::state::AppState;
use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use futures::stream::unfold;
use std::convert::Infallible;
use std::time::Duration;

/// While something runs, its figures are sent this often at most.
const TICK: Duration = Duration::from_millis(300);

/// While nothing runs, the directory is looked at this often, for what others put there or took away.
const LOOK: Duration = Duration::from_secs(2);

/// The stream of one page. It says something at once, then whenever something is new.
pub async fn events(State(state): State<AppState>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let watch = state.holdfast.jobs().watch();
    let stream = unfold((state, watch, None::<Live>), async |(mut state, mut watch, mut said)| {
        loop {
            watch.mark_unchanged();
            // The directory is looked at, which a slow disk may hold up: not on a thread that serves requests.
            let holdfast = state.holdfast.clone();
            let live = tokio::task::spawn_blocking(move || holdfast.live()).await.ok()?;
            if said.as_ref().is_none_or(|said| is_news(said, &live)) {
                let event = Event::default().json_data(&live).ok()?;
                said = Some(live);
                return Some((Ok(event), (state, watch, said)));
            }
            let running = live.jobs.iter().any(|job| job.state.is_active());
            tokio::select! {
                _ = state.stopping.changed() => return None,
                // Changes come in bursts; one message tells them all.
                _ = watch.changed() => tokio::time::sleep(Duration::from_millis(30)).await,
                () = tokio::time::sleep(if running { TICK } else { LOOK }) => {}
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}

/// The clock alone is news only while something runs.
fn is_news(said: &Live, live: &Live) -> bool {
    let running = live.jobs.iter().any(|job| job.state.is_active());
    let clock = running && live.now.millis() - said.now.millis() >= 300;
    clock || said.catalog != live.catalog || said.jobs != live.jobs
}
