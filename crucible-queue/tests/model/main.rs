//! The queues compared with a plain model: random calls return the same results, also if a durable
//! queue is opened again at any time.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper may panic, as the test itself may"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use crucible_core::{
    Claim, EvaluationId, Priority, Queue, QueueError, QueueStats, Ticket, WorkerId,
};
use crucible_queue::MemoryQueue;
use proptest::prelude::*;

#[cfg(feature = "durable")]
mod durable_queue;

/// A queue that is compared with the model.
trait TestedQueue: Queue + Sized {
    /// Whether reopening has an effect.
    const IS_DURABLE: bool;

    /// Opens the queue again after the end of its process: after a close if `orderly`, otherwise
    /// after a crash.
    async fn reopen(self, orderly: bool) -> Self;

    /// Advances the time.
    async fn advance(&self, time: Duration) {
        tokio::time::advance(time).await;
    }
}

impl TestedQueue for MemoryQueue {
    const IS_DURABLE: bool = false;

    async fn reopen(self, _orderly: bool) -> Self {
        self
    }
}

/// The capacity of the queue.
const CAPACITY: usize = 6;
/// The number of evaluations. It exceeds the capacity, so that the queue fills up, and is small, so
/// that evaluations recur.
const SLOTS: usize = 9;
/// The ageing step in milliseconds.
const AGEING: u64 = 100;

#[derive(Debug, Clone)]
enum Op {
    Enqueue {
        slot: usize,
        priority: Priority,
        tenant: usize,
    },
    Claim {
        lease: u64,
    },
    /// `claim` is an index into all claims so far, so that old claims are used as well.
    Extend {
        claim: usize,
        lease: u64,
    },
    Ack {
        claim: usize,
    },
    Nack {
        claim: usize,
        delay: u64,
    },
    Remove {
        slot: usize,
    },
    Advance {
        millis: u64,
    },
    Reopen {
        orderly: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let priority = prop_oneof![Just(Priority::Low), Just(Priority::Normal), Just(Priority::High)];
    let millis = || prop_oneof![Just(0), 1..80_u64, 80..400_u64];
    prop_oneof![
        6 => (0..SLOTS, priority, 0..3_usize)
            .prop_map(|(slot, priority, tenant)| Op::Enqueue { slot, priority, tenant }),
        6 => millis().prop_map(|lease| Op::Claim { lease }),
        1 => (0..30_usize, millis()).prop_map(|(claim, lease)| Op::Extend { claim, lease }),
        2 => (0..30_usize).prop_map(|claim| Op::Ack { claim }),
        2 => (0..30_usize, millis()).prop_map(|(claim, delay)| Op::Nack { claim, delay }),
        1 => (0..SLOTS).prop_map(|slot| Op::Remove { slot }),
        3 => millis().prop_map(|millis| Op::Advance { millis }),
        1 => any::<bool>().prop_map(|orderly| Op::Reopen { orderly }),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModelStatus {
    Ready { since: u64, order: u64 },
    Delayed { until: u64, order: u64 },
    Claimed { claim: usize, until: u64, order: u64 },
}

#[derive(Debug)]
struct ModelTicket {
    priority: Priority,
    tenant: usize,
    expired_leases: u32,
    status: ModelStatus,
}

/// Every rule in its simplest form: the model searches everything and maintains no index.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    tickets: BTreeMap<usize, ModelTicket>,
    /// The slot of each claim so far.
    claims: Vec<usize>,
    turns: BTreeMap<Priority, Vec<usize>>,
    order: u64,
}

impl Model {
    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    fn count(&self, wanted: fn(&ModelStatus) -> bool) -> u64 {
        self.tickets.values().filter(|ticket| wanted(&ticket.status)).count() as u64
    }

    fn stats(&self) -> QueueStats {
        QueueStats::new(
            self.count(|status| matches!(status, ModelStatus::Ready { .. })),
            self.count(|status| matches!(status, ModelStatus::Delayed { .. })),
            self.count(|status| matches!(status, ModelStatus::Claimed { .. })),
            Some(CAPACITY as u64),
        )
    }

    fn is_ready(&self, priority: Priority, tenant: usize) -> bool {
        self.tickets.values().any(|ticket| {
            ticket.priority == priority
                && ticket.tenant == tenant
                && matches!(ticket.status, ModelStatus::Ready { .. })
        })
    }

    fn make_ready(&mut self, slot: usize, since: u64) {
        let order = self.next_order();
        let ticket = self.tickets.get_mut(&slot).unwrap();
        ticket.status = ModelStatus::Ready { since, order };
        let (priority, tenant) = (ticket.priority, ticket.tenant);
        let turns = self.turns.entry(priority).or_default();
        if !turns.contains(&tenant) {
            turns.push(tenant);
        }
    }

    /// Removes the turns of tenants without ready tickets.
    fn prune_turns(&mut self) {
        for priority in Priority::ALL {
            let mut turns = self.turns.remove(&priority).unwrap_or_default();
            turns.retain(|tenant| self.is_ready(priority, *tenant));
            self.turns.insert(priority, turns);
        }
    }

    fn expire(&mut self) {
        loop {
            let due = self.tickets.iter().filter_map(|(slot, ticket)| match ticket.status {
                ModelStatus::Delayed { until, order }
                | ModelStatus::Claimed { until, order, .. } => {
                    (until <= self.now).then_some((until, order, *slot))
                }
                ModelStatus::Ready { .. } => None,
            });
            let Some((until, _, slot)) = due.min() else { return };
            let ticket = self.tickets.get_mut(&slot).unwrap();
            if matches!(ticket.status, ModelStatus::Claimed { .. }) {
                ticket.expired_leases += 1;
            }
            self.make_ready(slot, until);
        }
    }

    /// Returns the ready tickets of a priority as tuples of ready time, order, tenant and slot.
    fn ready(&self, priority: Priority) -> Vec<(u64, u64, usize, usize)> {
        let mut ready: Vec<_> = self
            .tickets
            .iter()
            .filter(|(_, ticket)| ticket.priority == priority)
            .filter_map(|(slot, ticket)| match ticket.status {
                ModelStatus::Ready { since, order } => Some((since, order, ticket.tenant, *slot)),
                _ => None,
            })
            .collect();
        ready.sort_unstable();
        ready
    }

    /// Returns the next slot, and the time for which it has been ready.
    fn next(&mut self) -> Option<(usize, u64)> {
        let lanes: Vec<_> = [(2, Priority::High), (1, Priority::Normal), (0, Priority::Low)]
            .into_iter()
            .map(|(level, priority)| (level, priority, self.ready(priority)))
            .filter(|(_, _, ready)| !ready.is_empty())
            .collect();
        let highest_priority = lanes.first()?.1;
        let score = |level: u64, since: u64| self.now - since + level * AGEING;
        let highest = lanes.iter().map(|(level, _, ready)| score(*level, ready[0].0)).max()?;
        let (_, priority, ready) =
            lanes.into_iter().find(|(level, _, ready)| score(*level, ready[0].0) == highest)?;
        if priority != highest_priority {
            let (since, _, _, slot) = ready[0];
            return Some((slot, self.now - since));
        }
        let turns = self.turns.get_mut(&priority).unwrap();
        let tenant = turns.remove(0);
        turns.push(tenant);
        let (since, _, _, slot) = *ready.iter().find(|(_, _, owner, _)| *owner == tenant).unwrap();
        Some((slot, self.now - since))
    }

    /// Releases claims in the order in which they were made or extended. Tenants then take turns in
    /// the order of their oldest tickets.
    fn reopen(&mut self, orderly: bool) {
        let claims = self.tickets.iter().filter_map(|(slot, ticket)| match ticket.status {
            ModelStatus::Claimed { order, .. } => Some((order, *slot)),
            _ => None,
        });
        let mut claims: Vec<_> = claims.collect();
        claims.sort_unstable();
        for (_, slot) in claims {
            self.tickets.get_mut(&slot).unwrap().expired_leases += u32::from(!orderly);
            self.make_ready(slot, self.now);
        }
        for priority in Priority::ALL {
            let mut turns = Vec::new();
            for (_, _, tenant, _) in self.ready(priority) {
                if !turns.contains(&tenant) {
                    turns.push(tenant);
                }
            }
            self.turns.insert(priority, turns);
        }
    }

    fn held(&self, claim: usize) -> Option<usize> {
        let slot = *self.claims.get(claim)?;
        match self.tickets.get(&slot)?.status {
            ModelStatus::Claimed { claim: current, .. } if current == claim => Some(slot),
            _ => None,
        }
    }
}

/// The queue and the model.
struct Pair<Q> {
    /// `None` while the queue is opened again.
    queue: Option<Q>,
    model: Model,
    ids: Vec<EvaluationId>,
    claims: Vec<Claim>,
    worker: WorkerId,
}

impl<Q: TestedQueue> Pair<Q> {
    fn new(queue: Q) -> Self {
        Self {
            queue: Some(queue),
            model: Model::default(),
            ids: (0..SLOTS).map(|_| EvaluationId::new()).collect(),
            claims: Vec::new(),
            worker: WorkerId::new("w"),
        }
    }

    fn queue(&self) -> &Q {
        self.queue.as_ref().unwrap()
    }

    async fn step(&mut self, op: Op) {
        self.model.expire();
        match op {
            Op::Enqueue { slot, priority, tenant } => self.enqueue(slot, priority, tenant).await,
            Op::Claim { lease } => self.claim(lease).await,
            Op::Extend { claim, lease } => {
                let Some(real) = self.claims.get(claim) else { return };
                let answer = self.queue().extend(real, Duration::from_millis(lease)).await;
                let held = self.model.held(claim);
                check_held(answer, held);
                if let Some(slot) = held {
                    let (until, order) = (self.model.now + lease, self.model.next_order());
                    self.model.tickets.get_mut(&slot).unwrap().status =
                        ModelStatus::Claimed { claim, until, order };
                }
            }
            Op::Ack { claim } => {
                let Some(real) = self.claims.get(claim) else { return };
                let answer = self.queue().ack(real).await;
                let held = self.model.held(claim);
                check_held(answer, held);
                if let Some(slot) = held {
                    self.model.tickets.remove(&slot);
                }
            }
            Op::Nack { claim, delay } => {
                let Some(real) = self.claims.get(claim) else { return };
                let answer = self.queue().nack(real, Duration::from_millis(delay)).await;
                let held = self.model.held(claim);
                check_held(answer, held);
                match held {
                    Some(slot) if delay == 0 => self.model.make_ready(slot, self.model.now),
                    Some(slot) => {
                        let (until, order) = (self.model.now + delay, self.model.next_order());
                        self.model.tickets.get_mut(&slot).unwrap().status =
                            ModelStatus::Delayed { until, order };
                    }
                    None => {}
                }
            }
            Op::Remove { slot } => {
                let removed = self.queue().remove(self.ids[slot]).await.unwrap();
                assert_eq!(removed, self.model.tickets.remove(&slot).is_some());
            }
            Op::Advance { millis } => {
                self.queue().advance(Duration::from_millis(millis)).await;
                self.model.now += millis;
                self.model.expire();
            }
            Op::Reopen { orderly } => {
                let queue = self.queue.take().unwrap();
                self.queue = Some(queue.reopen(orderly).await);
                if Q::IS_DURABLE {
                    self.model.prune_turns();
                    self.model.reopen(orderly);
                }
            }
        }
        self.model.prune_turns();
        self.model.expire();
        assert_eq!(self.queue().stats().await.unwrap(), self.model.stats());
    }

    async fn enqueue(&mut self, slot: usize, priority: Priority, tenant: usize) {
        let ticket = Ticket::new(self.ids[slot], priority, tenant.to_string());
        let answer = self.queue().enqueue(ticket).await;
        let stats = self.model.stats();
        if self.model.tickets.contains_key(&slot) {
            let Err(QueueError::Duplicate { evaluation }) = answer else { panic!("{answer:?}") };
            assert_eq!(evaluation, self.ids[slot]);
        } else if stats.is_full() {
            let Err(QueueError::Full { depth, capacity }) = answer else { panic!("{answer:?}") };
            assert_eq!((depth, capacity), (stats.depth(), CAPACITY as u64));
        } else {
            answer.unwrap();
            let status = ModelStatus::Ready { since: self.model.now, order: 0 };
            self.model
                .tickets
                .insert(slot, ModelTicket { priority, tenant, expired_leases: 0, status });
            self.model.make_ready(slot, self.model.now);
        }
    }

    async fn claim(&mut self, lease: u64) {
        let answer = self
            .queue()
            .claim(&self.worker, Duration::from_millis(lease), Duration::ZERO)
            .await
            .unwrap();
        let Some((slot, waited)) = self.model.next() else {
            assert_eq!(answer, None);
            return;
        };
        let claim = answer.unwrap();
        assert_eq!(claim.ticket.evaluation, self.ids[slot], "the next slot is {slot}");
        assert_eq!(claim.expired_leases, self.model.tickets[&slot].expired_leases);
        assert_eq!(claim.waited, Duration::from_millis(waited));
        let (until, order) = (self.model.now + lease, self.model.next_order());
        let number = self.claims.len();
        self.model.tickets.get_mut(&slot).unwrap().status =
            ModelStatus::Claimed { claim: number, until, order };
        self.model.claims.push(slot);
        self.claims.push(claim);
    }
}

fn check_held(answer: Result<(), QueueError>, held: Option<usize>) {
    match held {
        Some(_) => answer.unwrap(),
        None => assert!(matches!(answer, Err(QueueError::Lost { .. })), "{answer:?}"),
    }
}

fn check<Q: TestedQueue>(open: impl AsyncFnOnce() -> Q, ops: Vec<Op>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut pair = Pair::new(open().await);
        for op in ops {
            pair.step(op).await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn random_calls_to_memory_queue_match_model(ops in proptest::collection::vec(op(), 1..120)) {
        let ageing = Duration::from_millis(AGEING);
        let queue = MemoryQueue::bounded(CAPACITY as u64).with_ageing(ageing);
        check(async || queue, ops);
    }
}
