//! A reservation before its sandbox exists.

use std::sync::Arc;

use super::context::SandboxContext;
use crate::linux::resources::Reservation;
use crate::linux::teardown::Remnants;

/// A reservation before its sandbox exists, torn down on drop.
#[derive(Debug)]
pub(crate) struct ReservationGuard {
    context: Arc<SandboxContext>,
    /// `None` once a sandbox owns the reservation.
    reservation: Option<Reservation>,
}

impl ReservationGuard {
    /// Guards a reservation.
    pub(crate) fn new(context: &Arc<SandboxContext>, reservation: Reservation) -> Self {
        Self { context: Arc::clone(context), reservation: Some(reservation) }
    }

    /// Returns the reservation.
    pub(crate) fn reservation(&self) -> Option<&Reservation> {
        self.reservation.as_ref()
    }

    /// Hands the reservation over to its sandbox.
    pub(crate) fn into_reservation(mut self) -> Option<Reservation> {
        self.reservation.take()
    }
}

impl Drop for ReservationGuard {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.context.schedule_teardown(Remnants::without_guest(reservation));
        }
    }
}
