//! What a queue knows, without the waiting.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crucible_core::{Claim, ClaimId, EvaluationId, Priority, QueueError, QueueStats, Ticket, WorkerId};
use tokio::time::Instant;

use crate::band::{Band, Place};

/// No lease and no delay ends later: far beyond every process's life, and what a clock can still express.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// When a lease or a delay ends, and a number that tells two that end at the same moment apart.
type Timer = (Instant, u64);

/// The moment `duration` after `now`; the far future where that cannot be expressed.
pub(crate) fn after(now: Instant, duration: Duration) -> Instant {
    now.checked_add(duration.min(FAR)).unwrap_or(now)
}

/// The tickets of a queue, wherever they stand.
///
/// Time comes in with every call, and [`State::settle`] is to be called with it first: it ends what has run out.
#[derive(Debug)]
pub(crate) struct State {
    capacity: u64,
    pub(crate) ageing: Duration,
    tickets: HashMap<EvaluationId, Held>,
    low: Band,
    normal: Band,
    high: Band,
    timers: BTreeMap<Timer, EvaluationId>,
    delayed: u64,
    claimed: u64,
    /// The next number of a timer, or place in a band.
    next: u64,
    /// How many tickets became ready since somebody was last woken for them.
    fresh: usize,
}

#[derive(Debug)]
struct Held {
    ticket: Ticket,
    deaths: u32,
    stands: Stands,
}

/// Where a ticket stands.
#[derive(Debug, Clone, Copy)]
enum Stands {
    Ready { place: Place, since: Instant },
    Delayed { timer: Timer },
    Claimed { claim: ClaimId, timer: Timer },
}

impl State {
    pub(crate) fn new(capacity: u64, ageing: Duration) -> Self {
        Self {
            capacity,
            ageing,
            tickets: HashMap::new(),
            low: Band::default(),
            normal: Band::default(),
            high: Band::default(),
            timers: BTreeMap::new(),
            delayed: 0,
            claimed: 0,
            next: 0,
            fresh: 0,
        }
    }

    /// Ends every lease and every delay that has run out by `now`, in the order of their ends.
    pub(crate) fn settle(&mut self, now: Instant) {
        while let Some(entry) = self.timers.first_entry()
            && entry.key().0 <= now
        {
            let ended = entry.key().0;
            let id = entry.remove();
            let Some(held) = self.tickets.get_mut(&id) else { continue };
            match held.stands {
                Stands::Ready { .. } => continue,
                Stands::Delayed { .. } => self.delayed -= 1,
                Stands::Claimed { .. } => {
                    self.claimed -= 1;
                    held.deaths = held.deaths.saturating_add(1);
                }
            }
            self.make_ready(id, ended);
        }
    }

    /// When the next lease or delay ends.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|(timer, _)| timer.0)
    }

    /// How many tickets have become ready, and are still there, since this was last asked.
    pub(crate) fn take_fresh(&mut self) -> usize {
        std::mem::take(&mut self.fresh).min(self.ready())
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
        // The place is given by `make_ready`.
        let stands = Stands::Ready { place: 0, since: now };
        self.tickets.insert(evaluation, Held { ticket, deaths: 0, stands });
        self.make_ready(evaluation, now);
        Ok(())
    }

    /// Hands the next ticket out.
    pub(crate) fn claim(&mut self, worker: &WorkerId, lease: Duration, now: Instant) -> Option<Claim> {
        let id = self.take_next(now)?;
        let timer = self.set_timer(after(now, lease), id);
        let held = self.tickets.get_mut(&id)?;
        let waited = match held.stands {
            Stands::Ready { since, .. } => now.saturating_duration_since(since),
            Stands::Delayed { .. } | Stands::Claimed { .. } => Duration::ZERO,
        };
        let claim = ClaimId::new();
        held.stands = Stands::Claimed { claim, timer };
        self.claimed += 1;
        Some(Claim::new(claim, held.ticket.clone(), worker.clone(), held.deaths, waited))
    }

    pub(crate) fn extend(&mut self, claim: &Claim, lease: Duration, now: Instant) -> Result<(), QueueError> {
        let id = claim.ticket.evaluation;
        let ended = self.check_held(claim)?;
        self.timers.remove(&ended);
        let timer = self.set_timer(after(now, lease), id);
        if let Some(held) = self.tickets.get_mut(&id) {
            held.stands = Stands::Claimed { claim: claim.id, timer };
        }
        Ok(())
    }

    pub(crate) fn ack(&mut self, claim: &Claim) -> Result<(), QueueError> {
        self.check_held(claim)?;
        self.remove(claim.ticket.evaluation);
        Ok(())
    }

    pub(crate) fn nack(&mut self, claim: &Claim, delay: Duration, now: Instant) -> Result<(), QueueError> {
        let id = claim.ticket.evaluation;
        let ended = self.check_held(claim)?;
        self.timers.remove(&ended);
        self.claimed -= 1;
        if delay.is_zero() {
            self.make_ready(id, now);
            return Ok(());
        }
        let timer = self.set_timer(after(now, delay), id);
        if let Some(held) = self.tickets.get_mut(&id) {
            held.stands = Stands::Delayed { timer };
            self.delayed += 1;
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, evaluation: EvaluationId) -> bool {
        let Some(held) = self.tickets.remove(&evaluation) else { return false };
        match held.stands {
            Stands::Ready { place, .. } => {
                self.band(held.ticket.priority).remove(place);
            }
            Stands::Delayed { timer } => {
                self.timers.remove(&timer);
                self.delayed -= 1;
            }
            Stands::Claimed { timer, .. } => {
                self.timers.remove(&timer);
                self.claimed -= 1;
            }
        }
        true
    }

    /// The timer of a claim that is still held.
    fn check_held(&self, claim: &Claim) -> Result<Timer, QueueError> {
        let evaluation = claim.ticket.evaluation;
        match self.tickets.get(&evaluation).map(|held| held.stands) {
            Some(Stands::Claimed { claim: id, timer }) if id == claim.id => Ok(timer),
            _ => Err(QueueError::Lost { evaluation }),
        }
    }

    /// Takes the next ticket out of its band. The ageing step buys one rank: the band whose oldest ticket's age and
    /// rank together are the most comes next.
    fn take_next(&mut self, now: Instant) -> Option<EvaluationId> {
        let ageing = self.ageing;
        let mut most_urgent = None;
        let mut best: Option<(Duration, Priority)> = None;
        for (rank, priority) in [(2, Priority::High), (1, Priority::Normal), (0, Priority::Low)] {
            let Some(since) = self.band(priority).oldest() else { continue };
            most_urgent.get_or_insert(priority);
            let age = now.saturating_duration_since(since);
            let standing = age.saturating_add(ageing.saturating_mul(rank));
            if best.is_none_or(|(highest, _)| standing > highest) {
                best = Some((standing, priority));
            }
        }
        let (_, priority) = best?;
        let band = self.band(priority);
        // It is one ticket's age that has overcome a more urgent band, so that ticket is taken, and no other.
        if most_urgent == Some(priority) { band.take_turn() } else { band.take_oldest() }
    }

    fn make_ready(&mut self, id: EvaluationId, since: Instant) {
        let place = self.number();
        let Some(held) = self.tickets.get_mut(&id) else { return };
        held.stands = Stands::Ready { place, since };
        let band = match held.ticket.priority {
            Priority::Low => &mut self.low,
            Priority::Normal => &mut self.normal,
            Priority::High => &mut self.high,
        };
        band.push(place, id, &held.ticket.tenant, since);
        self.fresh += 1;
    }

    fn band(&mut self, priority: Priority) -> &mut Band {
        match priority {
            Priority::Low => &mut self.low,
            Priority::Normal => &mut self.normal,
            Priority::High => &mut self.high,
        }
    }

    fn ready(&self) -> usize {
        self.low.len() + self.normal.len() + self.high.len()
    }

    fn set_timer(&mut self, ends: Instant, id: EvaluationId) -> Timer {
        let timer = (ends, self.number());
        self.timers.insert(timer, id);
        timer
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
