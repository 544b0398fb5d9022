//! What a queue knows, without the waiting.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crucible_core::{
    Claim, ClaimId, EvaluationId, Priority, QueueError, QueueStats, Ticket, WorkerId,
};
use tokio::time::Instant;

use crate::band::{self, Band};

/// What a rank costs in waiting. A run takes at most 10 s unless its limits say otherwise, so a ticket that has waited
/// for 30 s longer than a more urgent one has been passed over for several runs.
pub(crate) const AGEING: Duration = Duration::from_secs(30);

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
    /// The tickets whose lease or delay was ended since somebody last asked; `None` if nobody wants to know.
    settled: Option<Vec<EvaluationId>>,
}

#[derive(Debug)]
struct Held {
    ticket: Ticket,
    expired_leases: u32,
    stands: Stands,
}

/// A ticket as it stands, for whoever keeps it elsewhere as well.
#[cfg(feature = "durable")]
#[derive(Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) ticket: &'a Ticket,
    pub(crate) expired_leases: u32,
    /// Higher than that of every ticket that came to stand as it does before.
    pub(crate) number: u64,
    pub(crate) place: Place,
}

/// Where a ticket stands, as far as that means something elsewhere.
#[cfg(feature = "durable")]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Ready { since: Instant },
    Delayed { until: Instant },
    Claimed { claim: ClaimId, until: Instant },
}

/// Where a ticket stands.
#[derive(Debug, Clone, Copy)]
enum Stands {
    Ready { place: band::Place, since: Instant },
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
            settled: None,
        }
    }

    /// Numbers timers and places from here on.
    #[cfg(feature = "durable")]
    pub(crate) fn numbered_after(mut self, number: u64) -> Self {
        self.next = number;
        self
    }

    /// Takes note, from now on, whose lease or delay was ended: for whoever keeps the tickets elsewhere as well.
    #[cfg(feature = "durable")]
    pub(crate) fn note_settled(mut self) -> Self {
        self.settled = Some(Vec::new());
        self
    }

    /// The tickets whose lease or delay was ended since this was last asked.
    #[cfg(feature = "durable")]
    pub(crate) fn take_settled(&mut self) -> Vec<EvaluationId> {
        self.settled.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How a ticket stands; `None` if it is not here.
    #[cfg(feature = "durable")]
    pub(crate) fn standing(&self, evaluation: EvaluationId) -> Option<Standing<'_>> {
        let held = self.tickets.get(&evaluation)?;
        let (number, place) = match held.stands {
            Stands::Ready { place, since } => (place, Place::Ready { since }),
            Stands::Delayed { timer: (until, number) } => (number, Place::Delayed { until }),
            Stands::Claimed { claim, timer: (until, number) } => {
                (number, Place::Claimed { claim, until })
            }
        };
        Some(Standing { ticket: &held.ticket, expired_leases: held.expired_leases, number, place })
    }

    /// Puts a ticket where it stood before, with the number that it had or, if there is none, the next. It is not held
    /// against the capacity.
    #[cfg(feature = "durable")]
    pub(crate) fn restore(
        &mut self,
        ticket: Ticket,
        expired_leases: u32,
        number: Option<u64>,
        place: Place,
    ) {
        let id = ticket.evaluation;
        let number = number.unwrap_or_else(|| self.number());
        let stands = match place {
            Place::Ready { since } => Stands::Ready { place: number, since },
            Place::Delayed { until } => Stands::Delayed { timer: (until, number) },
            Place::Claimed { claim, until } => Stands::Claimed { claim, timer: (until, number) },
        };
        self.tickets.insert(id, Held { ticket, expired_leases, stands });
        match place {
            Place::Ready { since } => self.make_ready_at(number, id, since),
            Place::Delayed { until } => {
                self.timers.insert((until, number), id);
                self.delayed += 1;
            }
            Place::Claimed { until, .. } => {
                self.timers.insert((until, number), id);
                self.claimed += 1;
            }
        }
    }

    /// Gives every claim back, in the order in which they were handed out; says which.
    #[cfg(feature = "durable")]
    pub(crate) fn give_back_all(&mut self, now: Instant) -> Vec<EvaluationId> {
        let mut claims: Vec<_> = self
            .tickets
            .iter()
            .filter_map(|(id, held)| match held.stands {
                Stands::Claimed { timer, .. } => Some((timer, *id)),
                Stands::Ready { .. } | Stands::Delayed { .. } => None,
            })
            .collect();
        claims.sort_unstable_by_key(|((_, number), _)| *number);
        for (timer, id) in &claims {
            self.timers.remove(timer);
            self.claimed -= 1;
            self.make_ready(*id, now);
        }
        claims.into_iter().map(|(_, id)| id).collect()
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
                    held.expired_leases = held.expired_leases.saturating_add(1);
                }
            }
            self.make_ready(id, ended);
            if let Some(settled) = &mut self.settled {
                settled.push(id);
            }
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
        self.tickets.insert(evaluation, Held { ticket, expired_leases: 0, stands });
        self.make_ready(evaluation, now);
        Ok(())
    }

    /// Hands the next ticket out.
    pub(crate) fn claim(
        &mut self,
        worker: &WorkerId,
        lease: Duration,
        now: Instant,
    ) -> Option<Claim> {
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
        Some(Claim::new(claim, held.ticket.clone(), worker.clone(), held.expired_leases, waited))
    }

    pub(crate) fn extend(
        &mut self,
        claim: &Claim,
        lease: Duration,
        now: Instant,
    ) -> Result<(), QueueError> {
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

    pub(crate) fn nack(
        &mut self,
        claim: &Claim,
        delay: Duration,
        now: Instant,
    ) -> Result<(), QueueError> {
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
        self.make_ready_at(place, id, since);
    }

    fn make_ready_at(&mut self, place: band::Place, id: EvaluationId, since: Instant) {
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
