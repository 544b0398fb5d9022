//! The ready tickets of one priority.

use std::collections::HashMap;
use std::sync::Arc;

use crucible_core::EvaluationId;
use tokio::time::Instant;

use crate::tombstone_queue::TombstoneQueue;

/// The position of a ticket in a lane. It is unique in the whole queue, and later tickets have
/// higher positions.
pub(crate) type LanePosition = u64;

/// The ready tickets of one priority. Tenants take turns, and the tickets of one tenant are
/// first-in, first-out.
#[derive(Debug, Default)]
pub(crate) struct PriorityLane {
    tickets: HashMap<LanePosition, ReadyTicket>,
    /// The positions of all tenants, in ascending order.
    /// INVARIANT: a later ticket became ready later, or at the same time.
    order: TombstoneQueue<LanePosition>,
    tenants: HashMap<Arc<str>, TenantQueue>,
    /// The turns of the tenants. A tenant with tickets has exactly one live turn.
    turns: TombstoneQueue<TenantTurn>,
    next_turn: u64,
}

#[derive(Debug)]
struct ReadyTicket {
    evaluation: EvaluationId,
    tenant: Arc<str>,
    since: Instant,
}

#[derive(Debug)]
struct TenantQueue {
    positions: TombstoneQueue<LanePosition>,
    /// The number of live `positions`.
    /// INVARIANT: not 0. A tenant without tickets is removed, so that tenants do not accumulate.
    count: usize,
    /// The number of the tenant's live turn. An older turn, from before the tenant was removed, is
    /// dead.
    turn: u64,
}

#[derive(Debug)]
struct TenantTurn {
    tenant: Arc<str>,
    number: u64,
}

impl TenantTurn {
    fn is_live(&self, tenants: &HashMap<Arc<str>, TenantQueue>) -> bool {
        tenants.get(&self.tenant).is_some_and(|tenant| tenant.turn == self.number)
    }
}

impl PriorityLane {
    /// Returns the number of tickets.
    pub(crate) fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Appends a ticket to the tickets of its tenant. A new tenant gets the last turn.
    pub(crate) fn push(
        &mut self,
        position: LanePosition,
        evaluation: EvaluationId,
        tenant: &str,
        since: Instant,
    ) {
        let name = match self.tenants.get_key_value(tenant) {
            Some((name, _)) => Arc::clone(name),
            None => self.add_tenant(tenant),
        };
        if let Some(tenant) = self.tenants.get_mut(&name) {
            tenant.positions.push(position);
            tenant.count += 1;
        }
        self.order.push(position);
        self.tickets.insert(position, ReadyTicket { evaluation, tenant: name, since });
    }

    /// Returns the time at which the oldest ticket became ready.
    pub(crate) fn oldest(&mut self) -> Option<Instant> {
        let position = self.order.first(|position| self.tickets.contains_key(position))?;
        self.tickets.get(position).map(|ticket| ticket.since)
    }

    /// Takes the first ticket of the tenant with the next turn.
    pub(crate) fn take_turn(&mut self) -> Option<EvaluationId> {
        let tenants = &self.tenants;
        let name = Arc::clone(&self.turns.first(|turn| turn.is_live(tenants))?.tenant);
        let tenant = self.tenants.get_mut(&name)?;
        let position = *tenant.positions.first(|position| self.tickets.contains_key(position))?;
        let evaluation = self.remove(position);
        if self.tenants.contains_key(&name) {
            let tenants = &self.tenants;
            self.turns.pop_first(|turn| turn.is_live(tenants));
            let number = self.add_turn(&name);
            if let Some(tenant) = self.tenants.get_mut(&name) {
                tenant.turn = number;
            }
        }
        evaluation
    }

    /// Takes the oldest ticket, regardless of turns.
    pub(crate) fn take_oldest(&mut self) -> Option<EvaluationId> {
        let position = *self.order.first(|position| self.tickets.contains_key(position))?;
        self.remove(position)
    }

    /// Removes the ticket at a position.
    pub(crate) fn remove(&mut self, position: LanePosition) -> Option<EvaluationId> {
        let ReadyTicket { evaluation, tenant: name, .. } = self.tickets.remove(&position)?;
        self.order.note_removal(|position| self.tickets.contains_key(position));
        if let Some(tenant) = self.tenants.get_mut(&name) {
            tenant.count -= 1;
            if tenant.count > 0 {
                tenant.positions.note_removal(|position| self.tickets.contains_key(position));
            } else {
                self.tenants.remove(&name);
                let tenants = &self.tenants;
                self.turns.note_removal(|turn| turn.is_live(tenants));
            }
        }
        Some(evaluation)
    }

    fn add_tenant(&mut self, tenant: &str) -> Arc<str> {
        let name: Arc<str> = tenant.into();
        let turn = self.add_turn(&name);
        let queue = TenantQueue { positions: TombstoneQueue::default(), count: 0, turn };
        self.tenants.insert(Arc::clone(&name), queue);
        name
    }

    /// Gives a tenant the last turn, and returns the number of that turn.
    fn add_turn(&mut self, tenant: &Arc<str>) -> u64 {
        let number = self.next_turn;
        self.next_turn += 1;
        self.turns.push(TenantTurn { tenant: Arc::clone(tenant), number });
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a lane with one ticket for each letter. The letter is the tenant, its index the
    /// position.
    fn lane(tenants: &str) -> (PriorityLane, Vec<EvaluationId>) {
        let mut lane = PriorityLane::default();
        let ids: Vec<_> = tenants.chars().map(|_| EvaluationId::new()).collect();
        for (index, tenant) in tenants.chars().enumerate() {
            lane.push(index as LanePosition, ids[index], &tenant.to_string(), Instant::now());
        }
        (lane, ids)
    }

    /// Takes all tickets and returns their positions in the order of `take`.
    fn drain(
        mut lane: PriorityLane,
        ids: &[EvaluationId],
        take: fn(&mut PriorityLane) -> Option<EvaluationId>,
    ) -> Vec<usize> {
        let mut positions = Vec::new();
        while let Some(id) = take(&mut lane) {
            positions.push(ids.iter().position(|other| *other == id).unwrap());
        }
        assert_eq!(lane.len(), 0);
        assert!(lane.tenants.is_empty());
        positions
    }

    #[test]
    fn tenants_take_turns_and_stay_in_order() {
        let (lane, ids) = lane("aaabcb");
        assert_eq!(drain(lane, &ids, PriorityLane::take_turn), [0, 3, 4, 1, 5, 2]);
    }

    #[test]
    fn take_oldest_ignores_turns() {
        let (mut lane, ids) = lane("aaab");
        assert_eq!(lane.take_turn(), Some(ids[0]));
        assert_eq!(drain(lane, &ids, PriorityLane::take_oldest), [1, 2, 3]);
    }

    #[test]
    fn returning_tenant_gets_one_turn_at_the_end() {
        let (mut lane, mut ids) = lane("abb");
        assert_eq!(lane.remove(0), Some(ids[0]));
        ids.push(EvaluationId::new());
        ids.push(EvaluationId::new());
        lane.push(3, ids[3], "a", Instant::now());
        lane.push(4, ids[4], "a", Instant::now());
        assert_eq!(drain(lane, &ids, PriorityLane::take_turn), [1, 3, 2, 4]);
    }

    #[test]
    fn removed_tickets_do_not_accumulate() {
        let mut lane = PriorityLane::default();
        let kept = EvaluationId::new();
        lane.push(0, kept, "permanent", Instant::now());
        for position in 1..20_000 {
            // One tenant stays, and many tenants come and go.
            let is_even = position % 2 == 0;
            let tenant = if is_even { "permanent".to_owned() } else { position.to_string() };
            lane.push(position, EvaluationId::new(), &tenant, Instant::now());
            assert!(lane.remove(position).is_some());
        }
        let items = lane.order.len() + lane.turns.len() + lane.tenants["permanent"].positions.len();
        assert!(items < 200, "{items} items for one ticket");
        assert_eq!(lane.tenants.len(), 1);
        assert_eq!(lane.take_turn(), Some(kept));
    }
}
