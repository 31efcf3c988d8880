//! Records outages of RabbitMQ and Redis in the event log. It runs beside the phases, which may be waiting for these services.

use super::EventLog;
use super::event::{Event, NamedService};
use crate::broker::{Broker, Queue};
use crate::coordination::Coordination;
use crate::metrics::Service;
use crate::task::RunId;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The interval between two requests to each service.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// The time within which a healthy service answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Records outages of the services while it is polled. Services within this process have no outages.
pub(in crate::coordinator) async fn watch_services(
    run: &RunId,
    broker: &dyn Broker,
    coordination: &dyn Coordination,
    events: &EventLog,
) -> Infallible {
    if coordination.is_in_process() {
        return std::future::pending().await;
    }
    let mut outages = [Service::RabbitMq, Service::Redis].map(ServiceOutage::new);
    loop {
        let (broker, store) = tokio::join!(
            answers(broker.depth(&Queue::Bootstrap)),
            answers(coordination.is_cancelled(run)),
        );
        let now = Instant::now();
        for (outage, answers) in outages.iter_mut().zip([broker, store]) {
            if let Some(event) = outage.update(answers, now) {
                events.record(&event);
            }
        }
        sleep(ASK_EVERY).await;
    }
}

async fn answers<T, E>(asked: impl Future<Output = Result<T, E>>) -> bool {
    matches!(timeout(ANSWER_WITHIN, asked).await, Ok(Ok(_)))
}

/// The outage of a service, if it has one.
#[derive(Debug)]
pub(super) struct ServiceOutage {
    service: NamedService,
    since: Option<Instant>,
}

impl ServiceOutage {
    pub(super) fn new(service: Service) -> ServiceOutage {
        ServiceOutage {
            service: NamedService(service),
            since: None,
        }
    }

    pub(super) fn update(&mut self, answers: bool, now: Instant) -> Option<Event> {
        let service = self.service;
        match (answers, self.since) {
            (false, None) => {
                self.since = Some(now);
                Some(Event::ServiceAway { service })
            }
            (true, Some(since)) => {
                self.since = None;
                let secs = now.saturating_duration_since(since).as_secs();
                Some(Event::ServiceBack { service, secs })
            }
            (false, Some(_)) | (true, None) => None,
        }
    }
}
