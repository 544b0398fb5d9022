//! The tickets of a queue.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crucible_core::{
    Claim, ClaimId, EvaluationId, Priority, QueueError, QueueStats, Ticket, WorkerId,
};
use tokio::time::Instant;

use crate::priority_lane::{LanePosition, PriorityLane};
#[cfg(feature = "durable")]
use crate::ticket_status::{SnapshotStatus, TicketSnapshot};
use crate::ticket_status::{TicketStatus, Timer, after};

/// The waiting time that outweighs one priority level. A run takes at most 10 s with default
/// limits, so a ticket that waited 30 s longer has been passed over for several runs.
pub(crate) const AGEING: Duration = Duration::from_secs(30);

/// The tickets of a queue with their status.
///
/// The caller passes the current time to every call, and calls [`TicketTable::expire`] with it
/// first.
#[derive(Debug)]
pub(crate) struct TicketTable {
    capacity: u64,
    pub(crate) ageing: Duration,
    tickets: HashMap<EvaluationId, TicketEntry>,
    low: PriorityLane,
    normal: PriorityLane,
    high: PriorityLane,
    timers: BTreeMap<Timer, EvaluationId>,
    delayed: u64,
    claimed: u64,
    /// The last sequence number of a timer or a lane position.
    last_sequence: u64,
    /// The number of tickets that became ready since the last wake-up of waiting claims.
    newly_ready: usize,
    /// The tickets whose lease or delay has ended since the last query; `None` if the queue does
    /// not track them.
    expired: Option<Vec<EvaluationId>>,
}

#[derive(Debug)]
struct TicketEntry {
    ticket: Ticket,
    expired_leases: u32,
    status: TicketStatus,
}

impl TicketTable {
    pub(crate) fn new(capacity: u64, ageing: Duration) -> Self {
        Self {
            capacity,
            ageing,
            tickets: HashMap::new(),
            low: PriorityLane::default(),
            normal: PriorityLane::default(),
            high: PriorityLane::default(),
            timers: BTreeMap::new(),
            delayed: 0,
            claimed: 0,
            last_sequence: 0,
            newly_ready: 0,
            expired: None,
        }
    }

    /// Starts the sequence numbers after `sequence`.
    #[cfg(feature = "durable")]
    pub(crate) fn with_last_sequence(mut self, sequence: u64) -> Self {
        self.last_sequence = sequence;
        self
    }

    /// Tracks the tickets whose lease or delay ends, for [`take_expired`](Self::take_expired).
    #[cfg(feature = "durable")]
    pub(crate) fn with_tracked_expiry(mut self) -> Self {
        self.expired = Some(Vec::new());
        self
    }

    /// Returns the tickets whose lease or delay has ended since the last call.
    #[cfg(feature = "durable")]
    pub(crate) fn take_expired(&mut self) -> Vec<EvaluationId> {
        self.expired.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Returns a ticket with its status; `None` if the table does not contain it.
    #[cfg(feature = "durable")]
    pub(crate) fn snapshot(&self, evaluation: EvaluationId) -> Option<TicketSnapshot<'_>> {
        let entry = self.tickets.get(&evaluation)?;
        let (sequence, status) = entry.status.to_snapshot();
        let (ticket, expired_leases) = (&entry.ticket, entry.expired_leases);
        Some(TicketSnapshot { ticket, expired_leases, sequence, status })
    }

    /// Inserts a ticket with a known status. Without a sequence number it gets the next one. The
    /// capacity does not apply.
    #[cfg(feature = "durable")]
    pub(crate) fn restore(
        &mut self,
        ticket: Ticket,
        expired_leases: u32,
        sequence: Option<u64>,
        snapshot: SnapshotStatus,
    ) {
        let id = ticket.evaluation;
        let sequence = sequence.unwrap_or_else(|| self.next_sequence());
        let status = TicketStatus::of_snapshot(snapshot, sequence);
        self.tickets.insert(id, TicketEntry { ticket, expired_leases, status });
        match status {
            TicketStatus::Ready { position, since } => self.make_ready_at(position, id, since),
            TicketStatus::Delayed { timer } => {
                self.timers.insert(timer, id);
                self.delayed += 1;
            }
            TicketStatus::Claimed { timer, .. } => {
                self.timers.insert(timer, id);
                self.claimed += 1;
            }
        }
    }

    /// Releases all claims, in the order in which they were made, and returns their tickets.
    #[cfg(feature = "durable")]
    pub(crate) fn release_claims(&mut self, now: Instant) -> Vec<EvaluationId> {
        let mut claims: Vec<_> = self
            .tickets
            .iter()
            .filter_map(|(id, entry)| match entry.status {
                TicketStatus::Claimed { timer, .. } => Some((timer, *id)),
                TicketStatus::Ready { .. } | TicketStatus::Delayed { .. } => None,
            })
            .collect();
        claims.sort_unstable_by_key(|((_, sequence), _)| *sequence);
        for (timer, id) in &claims {
            self.timers.remove(timer);
            self.claimed -= 1;
            self.make_ready(*id, now);
        }
        claims.into_iter().map(|(_, id)| id).collect()
    }

    /// Ends all leases and delays that have passed by `now`, in the order of their ends.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(timer) = self.timers.first_entry()
            && timer.key().0 <= now
        {
            let ended = timer.key().0;
            let id = timer.remove();
            let Some(entry) = self.tickets.get_mut(&id) else { continue };
            match entry.status {
                TicketStatus::Ready { .. } => continue,
                TicketStatus::Delayed { .. } => self.delayed -= 1,
                TicketStatus::Claimed { .. } => {
                    self.claimed -= 1;
                    entry.expired_leases = entry.expired_leases.saturating_add(1);
                }
            }
            self.make_ready(id, ended);
            if let Some(expired) = &mut self.expired {
                expired.push(id);
            }
        }
    }

    /// Returns the end of the next lease or delay.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|(timer, _)| timer.0)
    }

    /// Returns the number of tickets that became ready since the last call and are still ready.
    pub(crate) fn take_newly_ready(&mut self) -> usize {
        std::mem::take(&mut self.newly_ready).min(self.ready())
    }

    pub(crate) fn stats(&self) -> QueueStats {
        QueueStats::new(self.ready() as u64, self.delayed, self.claimed, Some(self.capacity))
    }

    pub(crate) fn enqueue(&mut self, ticket: Ticket, now: Instant) -> Result<(), QueueError> {
        let evaluation = ticket.evaluation;
        if self.tickets.contains_key(&evaluation) {
            return Err(QueueError::Duplicate { evaluation });
        }
        let stats = self.stats();
        if stats.is_full() {
            return Err(QueueError::Full { depth: stats.depth(), capacity: self.capacity });
        }
        // `make_ready` sets the position.
        let status = TicketStatus::Ready { position: 0, since: now };
        self.tickets.insert(evaluation, TicketEntry { ticket, expired_leases: 0, status });
        self.make_ready(evaluation, now);
        Ok(())
    }

    /// Claims the next ticket.
    pub(crate) fn claim(
        &mut self,
        worker: &WorkerId,
        lease: Duration,
        now: Instant,
    ) -> Option<Claim> {
        let id = self.take_next(now)?;
        let timer = self.set_timer(after(now, lease), id);
        let entry = self.tickets.get_mut(&id)?;
        let waited = match entry.status {
            TicketStatus::Ready { since, .. } => now.saturating_duration_since(since),
            TicketStatus::Delayed { .. } | TicketStatus::Claimed { .. } => Duration::ZERO,
        };
        let claim = ClaimId::new();
        entry.status = TicketStatus::Claimed { claim, timer };
        self.claimed += 1;
        Some(Claim::new(claim, entry.ticket.clone(), worker.clone(), entry.expired_leases, waited))
    }

    pub(crate) fn extend(
        &mut self,
        claim: &Claim,
        lease: Duration,
        now: Instant,
    ) -> Result<(), QueueError> {
        let id = claim.ticket.evaluation;
        let old_timer = self.claim_timer(claim)?;
        self.timers.remove(&old_timer);
        let timer = self.set_timer(after(now, lease), id);
        if let Some(entry) = self.tickets.get_mut(&id) {
            entry.status = TicketStatus::Claimed { claim: claim.id, timer };
        }
        Ok(())
    }

    pub(crate) fn ack(&mut self, claim: &Claim) -> Result<(), QueueError> {
        self.claim_timer(claim)?;
        self.remove(claim.ticket.evaluation);
        Ok(())
    }

    pub(crate) fn nack(
        &mut self,
        claim: &Claim,
        delay: Duration,
        now: Instant,
    ) -> Result<(), QueueError> {
        let id = claim.ticket.evaluation;
        let old_timer = self.claim_timer(claim)?;
        self.timers.remove(&old_timer);
        self.claimed -= 1;
        if delay.is_zero() {
            self.make_ready(id, now);
            return Ok(());
        }
        let timer = self.set_timer(after(now, delay), id);
        if let Some(entry) = self.tickets.get_mut(&id) {
            entry.status = TicketStatus::Delayed { timer };
            self.delayed += 1;
        }
        Ok(())
    }

    /// Removes a ticket. Returns `false` if the table does not contain it.
    pub(crate) fn remove(&mut self, evaluation: EvaluationId) -> bool {
        let Some(entry) = self.tickets.remove(&evaluation) else { return false };
        match entry.status {
            TicketStatus::Ready { position, .. } => {
                self.lane(entry.ticket.priority).remove(position);
            }
            TicketStatus::Delayed { timer } => {
                self.timers.remove(&timer);
                self.delayed -= 1;
            }
            TicketStatus::Claimed { timer, .. } => {
                self.timers.remove(&timer);
                self.claimed -= 1;
            }
        }
        true
    }

    /// Returns the timer of a claim. Returns an error if the claim has lost its ticket.
    fn claim_timer(&self, claim: &Claim) -> Result<Timer, QueueError> {
        let evaluation = claim.ticket.evaluation;
        match self.tickets.get(&evaluation).map(|entry| entry.status) {
            Some(TicketStatus::Claimed { claim: id, timer }) if id == claim.id => Ok(timer),
            _ => Err(QueueError::Lost { evaluation }),
        }
    }

    /// Takes the next ticket out of its lane. The score of a lane is the age of its oldest ticket,
    /// plus one ageing step for each priority level. The lane with the highest score comes next.
    fn take_next(&mut self, now: Instant) -> Option<EvaluationId> {
        let ageing = self.ageing;
        let mut highest_priority = None;
        let mut best: Option<(Duration, Priority)> = None;
        for (level, priority) in [(2, Priority::High), (1, Priority::Normal), (0, Priority::Low)] {
            let Some(since) = self.lane(priority).oldest() else { continue };
            highest_priority.get_or_insert(priority);
            let age = now.saturating_duration_since(since);
            let score = age.saturating_add(ageing.saturating_mul(level));
            if best.is_none_or(|(highest, _)| score > highest) {
                best = Some((score, priority));
            }
        }
        let (_, priority) = best?;
        let lane = self.lane(priority);
        // A lower lane wins by the age of its oldest ticket, so exactly that ticket is taken.
        if highest_priority == Some(priority) { lane.take_turn() } else { lane.take_oldest() }
    }

    fn make_ready(&mut self, id: EvaluationId, since: Instant) {
        let position = self.next_sequence();
        self.make_ready_at(position, id, since);
    }

    fn make_ready_at(&mut self, position: LanePosition, id: EvaluationId, since: Instant) {
        let Some(entry) = self.tickets.get_mut(&id) else { return };
        entry.status = TicketStatus::Ready { position, since };
        let lane = match entry.ticket.priority {
            Priority::Low => &mut self.low,
            Priority::Normal => &mut self.normal,
            Priority::High => &mut self.high,
        };
        lane.push(position, id, &entry.ticket.tenant, since);
        self.newly_ready += 1;
    }

    fn lane(&mut self, priority: Priority) -> &mut PriorityLane {
        match priority {
            Priority::Low => &mut self.low,
            Priority::Normal => &mut self.normal,
            Priority::High => &mut self.high,
        }
    }

    fn ready(&self) -> usize {
        self.low.len() + self.normal.len() + self.high.len()
    }

    fn set_timer(&mut self, end: Instant, id: EvaluationId) -> Timer {
        let timer = (end, self.next_sequence());
        self.timers.insert(timer, id);
        timer
    }

    fn next_sequence(&mut self) -> u64 {
        self.last_sequence += 1;
        self.last_sequence
    }
}
