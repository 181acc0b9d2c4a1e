//! The links: one record per ordered pair of hosts, and the fate of a packet on it.
//!
//! Invariant: a direction draws from its own stream, and draws exactly when a packet is offered to it while it is open.
//! Leaves out: bandwidth and duplication; what happens to a lost packet is [`transport`](super::transport)'s business.

use super::{
    config::LinkConfig,
    random::{below, between, stream},
};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// What a link does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives(Duration),
    Lost,
    Held,
}

#[derive(Debug, Default)]
pub(super) struct Link {
    /// Own settings; `None` follows the network's default.
    pub config: Option<LinkConfig>,
    pub cut: bool,
    pub hold: bool,
    rng: Option<Box<ChaCha8Rng>>,
}

/// All directions, row by source host.
#[derive(Debug)]
pub(super) struct Links {
    seed: u64,
    pub default: LinkConfig,
    names: Vec<String>,
    links: Vec<Link>,
}

impl Links {
    pub fn new(seed: u64, default: LinkConfig, names: Vec<String>) -> Self {
        let links = (0..names.len() * names.len())
            .map(|_| Link::default())
            .collect();
        Self {
            seed,
            default,
            names,
            links,
        }
    }

    pub fn get(&self, from: usize, to: usize) -> &Link {
        &self.links[from * self.names.len() + to]
    }

    pub fn get_mut(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from * self.names.len() + to]
    }

    pub fn config(&self, from: usize, to: usize) -> LinkConfig {
        self.get(from, to).config.unwrap_or(self.default)
    }

    pub fn fate(&mut self, from: usize, to: usize) -> Fate {
        let (seed, config) = (self.seed, self.config(from, to));
        let index = from * self.names.len() + to;
        let link = &mut self.links[index];
        if link.hold {
            return Fate::Held;
        }
        if link.cut {
            return Fate::Lost;
        }
        let names = &self.names;
        let rng = link.rng.get_or_insert_with(|| {
            Box::new(stream(seed, &format!("link/{}/{}", names[from], names[to])))
        });
        if config.loss_ppm > 0 && below(rng, 1_000_000) < u64::from(config.loss_ppm) {
            return Fate::Lost;
        }
        Fate::Arrives(between(rng, config.latency_min, config.latency_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        Links::new(
            1,
            LinkConfig::default(),
            vec!["a".into(), "b".into(), "c".into()],
        )
    }

    fn fates(links: &mut Links, from: usize, to: usize) -> Vec<Fate> {
        (0..20).map(|_| links.fate(from, to)).collect()
    }

    #[test]
    fn a_direction_is_undisturbed_by_traffic_and_faults_elsewhere() {
        let quiet = fates(&mut links(), 0, 1);
        let mut busy = links();
        busy.get_mut(1, 0).cut = true;
        busy.get_mut(1, 2).config = Some(LinkConfig::default().with_loss_ppm(500_000));
        let _ = (fates(&mut busy, 1, 0), fates(&mut busy, 1, 2));
        assert_eq!(fates(&mut busy, 0, 1), quiet);
    }

    #[test]
    fn hold_wins_over_cut_and_loss_has_its_rate() {
        let mut links = links();
        links.get_mut(0, 1).config = Some(LinkConfig::default().with_loss_ppm(250_000));
        let lost = (0..4000).filter(|_| links.fate(0, 1) == Fate::Lost).count();
        assert!((900..1100).contains(&lost), "{lost}");
        links.get_mut(0, 1).cut = true;
        assert_eq!(links.fate(0, 1), Fate::Lost);
        links.get_mut(0, 1).hold = true;
        assert_eq!(links.fate(0, 1), Fate::Held);
    }
}
