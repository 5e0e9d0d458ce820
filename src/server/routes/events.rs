//! `GET /events`: running jobs and changes of the list, as server-sent events to every open page.

use crate::model::Live;
use crate::server::blocking::blocking;
use crate::server::state::AppState;
use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use futures::stream::unfold;
use std::convert::Infallible;
use std::time::Duration;

/// While a job runs, its figures are sent at most this often.
const TICK: Duration = Duration::from_millis(300);

/// While no job runs, the backup directory is read this often, for files that other programs added or removed.
const LOOK: Duration = Duration::from_secs(2);

/// Changes come in bursts; after this long they are sent as one event.
const BURST: Duration = Duration::from_millis(30);

/// The stream of one page. It sends an event at once, and then whenever something changes.
pub async fn events(State(state): State<AppState>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let watch = state.holdfast.jobs().watch();
    let stream = unfold((state, watch, None::<Live>), async |(mut state, mut watch, mut sent)| {
        loop {
            watch.mark_unchanged();
            let holdfast = state.holdfast.clone();
            let live = blocking(move || Ok(holdfast.backups().live())).await.ok()?;
            if sent.as_ref().is_none_or(|sent| is_news(sent, &live)) {
                let event = Event::default().json_data(&live).ok()?;
                sent = Some(live);
                return Some((Ok(event), (state, watch, sent)));
            }
            let running = live.jobs.iter().any(|job| job.state.is_active());
            tokio::select! {
                _ = state.stopping.changed() => return None,
                _ = watch.changed() => tokio::time::sleep(BURST).await,
                () = tokio::time::sleep(if running { TICK } else { LOOK }) => {}
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}

/// Whether anything changed. The clock counts as a change only while a job runs.
fn is_news(sent: &Live, live: &Live) -> bool {
    let running = live.jobs.iter().any(|job| job.state.is_active());
    let clock = running && live.now.millis() - sent.now.millis() >= 300;
    clock || sent.catalog != live.catalog || sent.jobs != live.jobs
}
