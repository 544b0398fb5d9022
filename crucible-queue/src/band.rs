//! The ready tickets of one priority.

use std::collections::HashMap;
use std::sync::Arc;

use crucible_core::EvaluationId;
use tokio::time::Instant;

use crate::lazy::Lazy;

/// A place in a band: unique in the whole queue, and higher for whoever came later.
pub(crate) type Place = u64;

/// The ready tickets of one priority: tenants take turns, and each tenant's tickets are first-in, first-out.
#[derive(Debug, Default)]
pub(crate) struct Band {
    waiting: HashMap<Place, Waiting>,
    /// The places of all tenants, in the order in which they were taken.
    /// INVARIANT: whoever comes later became ready later, or at the same time.
    order: Lazy<Place>,
    tenants: HashMap<Arc<str>, Tenant>,
    /// Whose turn is next. A tenant has one living turn while it has tickets.
    turns: Lazy<Turn>,
    next_turn: u64,
}

#[derive(Debug)]
struct Waiting {
    evaluation: EvaluationId,
    tenant: Arc<str>,
    since: Instant,
}

#[derive(Debug)]
struct Tenant {
    places: Lazy<Place>,
    /// How many of `places` are alive.
    /// INVARIANT: not 0; a tenant without tickets is forgotten, so that tenants do not pile up.
    count: usize,
    /// Which of the turns is this tenant's. An older one, of a tenant that was forgotten and came back, is dead.
    turn: u64,
}

#[derive(Debug)]
struct Turn {
    tenant: Arc<str>,
    number: u64,
}

impl Turn {
    fn is_alive(&self, tenants: &HashMap<Arc<str>, Tenant>) -> bool {
        tenants.get(&self.tenant).is_some_and(|tenant| tenant.turn == self.number)
    }
}

impl Band {
    /// How many tickets wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Puts a ticket at the end of its tenant's; a tenant that had none is the last whose turn comes.
    pub(crate) fn push(
        &mut self,
        place: Place,
        evaluation: EvaluationId,
        tenant: &str,
        since: Instant,
    ) {
        let name = match self.tenants.get_key_value(tenant) {
            Some((name, _)) => Arc::clone(name),
            None => self.admit(tenant),
        };
        if let Some(tenant) = self.tenants.get_mut(&name) {
            tenant.places.push(place);
            tenant.count += 1;
        }
        self.order.push(place);
        self.waiting.insert(place, Waiting { evaluation, tenant: name, since });
    }

    /// Since when the oldest ticket has been ready.
    pub(crate) fn oldest(&mut self) -> Option<Instant> {
        let place = self.order.first(|place| self.waiting.contains_key(place))?;
        self.waiting.get(place).map(|waiting| waiting.since)
    }

    /// Takes the first ticket of the tenant whose turn it is.
    pub(crate) fn take_turn(&mut self) -> Option<EvaluationId> {
        let tenants = &self.tenants;
        let name = Arc::clone(&self.turns.first(|turn| turn.is_alive(tenants))?.tenant);
        let tenant = self.tenants.get_mut(&name)?;
        let place = *tenant.places.first(|place| self.waiting.contains_key(place))?;
        let evaluation = self.remove(place);
        if self.tenants.contains_key(&name) {
            let tenants = &self.tenants;
            self.turns.pop_first(|turn| turn.is_alive(tenants));
            let number = self.queue_up(&name);
            if let Some(tenant) = self.tenants.get_mut(&name) {
                tenant.turn = number;
            }
        }
        evaluation
    }

    /// Takes the ticket that has waited longest, whoever's turn it is.
    pub(crate) fn take_oldest(&mut self) -> Option<EvaluationId> {
        let place = *self.order.first(|place| self.waiting.contains_key(place))?;
        self.remove(place)
    }

    /// Takes the ticket at this place out.
    pub(crate) fn remove(&mut self, place: Place) -> Option<EvaluationId> {
        let Waiting { evaluation, tenant: name, .. } = self.waiting.remove(&place)?;
        self.order.note_death(|place| self.waiting.contains_key(place));
        if let Some(tenant) = self.tenants.get_mut(&name) {
            tenant.count -= 1;
            if tenant.count > 0 {
                tenant.places.note_death(|place| self.waiting.contains_key(place));
            } else {
                self.tenants.remove(&name);
                let tenants = &self.tenants;
                self.turns.note_death(|turn| turn.is_alive(tenants));
            }
        }
        Some(evaluation)
    }

    fn admit(&mut self, tenant: &str) -> Arc<str> {
        let name: Arc<str> = tenant.into();
        let turn = self.queue_up(&name);
        self.tenants.insert(Arc::clone(&name), Tenant { places: Lazy::default(), count: 0, turn });
        name
    }

    /// Puts a tenant last in turn, and gives the number of that turn.
    fn queue_up(&mut self, tenant: &Arc<str>) -> u64 {
        let number = self.next_turn;
        self.next_turn += 1;
        self.turns.push(Turn { tenant: Arc::clone(tenant), number });
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts a ticket for each letter: the letter is its tenant, its index its place.
    fn band(tenants: &str) -> (Band, Vec<EvaluationId>) {
        let mut band = Band::default();
        let ids: Vec<_> = tenants.chars().map(|_| EvaluationId::new()).collect();
        for (index, tenant) in tenants.chars().enumerate() {
            band.push(index as Place, ids[index], &tenant.to_string(), Instant::now());
        }
        (band, ids)
    }

    /// The places in which `take` empties the band.
    fn emptied(
        mut band: Band,
        ids: &[EvaluationId],
        take: fn(&mut Band) -> Option<EvaluationId>,
    ) -> Vec<usize> {
        let mut places = Vec::new();
        while let Some(id) = take(&mut band) {
            places.push(ids.iter().position(|other| *other == id).unwrap());
        }
        assert_eq!(band.len(), 0);
        assert!(band.tenants.is_empty());
        places
    }

    #[test]
    fn tenants_take_turns_and_each_is_served_in_order() {
        let (band, ids) = band("aaabcb");
        assert_eq!(emptied(band, &ids, Band::take_turn), [0, 3, 4, 1, 5, 2]);
    }

    #[test]
    fn the_oldest_comes_first_whoever_s_turn_it_is() {
        let (mut band, ids) = band("aaab");
        assert_eq!(band.take_turn(), Some(ids[0]));
        assert_eq!(emptied(band, &ids, Band::take_oldest), [1, 2, 3]);
    }

    #[test]
    fn a_tenant_that_comes_back_has_one_turn_and_it_is_the_last() {
        let (mut band, mut ids) = band("abb");
        assert_eq!(band.remove(0), Some(ids[0]));
        ids.push(EvaluationId::new());
        ids.push(EvaluationId::new());
        band.push(3, ids[3], "a", Instant::now());
        band.push(4, ids[4], "a", Instant::now());
        assert_eq!(emptied(band, &ids, Band::take_turn), [1, 3, 2, 4]);
    }

    #[test]
    fn what_was_removed_does_not_pile_up() {
        let mut band = Band::default();
        let stays = EvaluationId::new();
        band.push(0, stays, "stays", Instant::now());
        for place in 1..20_000 {
            // Few tenants that stay, and many that come and go.
            let tenant = if place % 2 == 0 { "stays".to_owned() } else { place.to_string() };
            band.push(place, EvaluationId::new(), &tenant, Instant::now());
            assert!(band.remove(place).is_some());
        }
        let kept = band.order.len() + band.turns.len() + band.tenants["stays"].places.len();
        assert!(kept < 200, "{kept} items kept for a single ticket");
        assert_eq!(band.tenants.len(), 1);
        assert_eq!(band.take_turn(), Some(stays));
    }
}
