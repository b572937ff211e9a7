//! What goes between the workers and the allocator, and what keeps it from coming.

use bailiwick_quota::{
    allocator::{Allocator, Committed, Step},
    protocol::{FromHolder, ToHolder},
};
use rand::RngExt as _;

use super::{COMMIT, Event, World, time};

impl World {
    pub(super) fn delay(&mut self) -> u64 {
        let mean = self.scenario.latency_micros;
        self.rng.random_range(mean / 2..=mean * 3 / 2)
    }

    pub(super) fn send(&mut self, worker: usize) {
        if self.reachable {
            let message = self.sites[worker].holder.exchange(self.clock(worker));
            self.outcomes.messages += 1;
            let at = self.now + self.delay();
            self.at(at, Event::Up(message));
        }
    }

    pub(super) fn hear(&mut self, message: &FromHolder) {
        if self.reachable {
            let step = self.allocator.hear(message, time(self.now));
            self.commit(step);
        }
    }

    pub(super) fn commit(&mut self, step: Step) {
        let mut takes = 0;
        if !step.rows().is_empty() {
            self.store.apply(step.rows());
            self.outcomes.transactions += 1;
            takes = COMMIT;
        }
        for message in step.stored(Committed::after_the_transaction()) {
            let to = match &message {
                ToHolder::Welcome { nonce, .. } => Some(*nonce as usize - 1),
                _ => self.sites.iter().position(|site| site.name == message.holder()),
            };
            if let Some(worker) = to {
                self.outcomes.messages += 1;
                let at = self.now + takes + self.delay();
                self.at(at, Event::Down(worker, message));
            }
        }
    }

    pub(super) fn answer(&mut self, worker: usize, message: &ToHolder) {
        if !self.reachable {
            return;
        }
        let now = self.clock(worker);
        if let ToHolder::Welcome { holder, .. } = message {
            self.sites[worker].name = Some(*holder);
        }
        let speak = self.sites[worker].holder.hear(message, now);
        let calls: Vec<u64> = self.sites[worker].waiting.keys().copied().collect();
        self.sites[worker].asking = false;
        calls.into_iter().for_each(|call| self.try_again(worker, call));
        if speak {
            self.send(worker);
        }
    }

    pub(super) fn outage(&mut self, begins: bool) {
        self.reachable = !begins;
        for site in &mut self.sites {
            site.asking = false;
            if begins {
                site.holder.disconnected();
            } else {
                site.holder.connected();
            }
        }
    }

    pub(super) fn replace(&mut self) {
        self.term += 1;
        self.allocator = Allocator::take_office(
            self.term,
            self.policy,
            [self.scenario.limit],
            &self.store,
            time(self.now),
        );
        self.sites.iter().for_each(|site| site.holder.connected());
    }
}
