//! The event loop: one future on one paused runtime, which runs hosts that were woken and packets that are due.
//!
//! A pass: due packets and timers, the script, what the script asked for, every woken host in the order they were added,
//! then what the kernels want to send. Passes repeat until nothing moves; then one sleep to the next event, and the paused
//! clock jumps there. Invariants: no host is polled unless it was woken; virtual time stands still during a pass; nothing
//! but this future runs on the runtime (a stray `tokio::spawn` ends the run).

use super::{
    agenda::Event,
    config::SimError,
    fabric,
    handle::{Command, Shared, Sim},
    host::{Host, Ready},
    transport::Transport,
};
use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    runtime::{Handle, RuntimeMetrics},
    task::LocalSet,
    time::{Instant, Sleep},
};

/// The script's value, once it has one.
pub(super) type Outcome<T> = Rc<RefCell<Option<T>>>;

/// Fields are dropped in this order: tasks first, while the kernels that their sockets need still exist.
pub(super) struct Engine<T> {
    hosts: Vec<Host>,
    script: LocalSet,
    script_ready: Arc<Ready>,
    script_waker: Waker,
    outcome: Outcome<T>,
    shared: Arc<Shared>,
    start: Instant,
    sleep: Pin<Box<Sleep>>,
    armed: Option<u64>,
    limit: Duration,
    stopwatch: Option<fn() -> Duration>,
    /// When the time that is being booked began.
    booked: Duration,
    runtime: RuntimeMetrics,
    pub transport: Transport,
}

impl<T: 'static> Engine<T> {
    pub fn new(
        sim: &Sim,
        hosts: Vec<Host>,
        script: LocalSet,
        outcome: Outcome<T>,
        transport: Transport,
        limit: Duration,
        stopwatch: Option<fn() -> Duration>,
    ) -> Self {
        let script_ready = Ready::new(sim.0.root.clone());
        Self {
            hosts,
            script,
            script_waker: Waker::from(script_ready.clone()),
            script_ready,
            outcome,
            shared: sim.0.clone(),
            start: tokio_now(),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
            limit,
            stopwatch,
            booked: stopwatch.map_or(Duration::ZERO, |now| now()),
            runtime: Handle::current().metrics(),
            transport,
        }
    }

    /// Creates the process of every host, in the order they were added. They run after the first step of the script, so that
    /// it can set links and clocks before the first packet.
    pub fn start(&mut self) {
        self.hosts.iter_mut().for_each(Host::start);
    }

    fn read_time(&mut self) {
        let now = (tokio_now() - self.start).as_nanos() as u64;
        self.transport.now = now;
        self.shared.time.set(now);
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, SimError>> {
        self.shared.root.set_waker(cx.waker());
        self.shared.root.running.store(true, Relaxed);
        self.read_time();
        loop {
            match self.pass() {
                Ok(None) => {}
                Ok(Some(value)) => return Poll::Ready(Ok(value)),
                Err(e) => return Poll::Ready(Err(e)),
            }
            if self.is_busy() {
                continue;
            }
            let limit = self.limit.as_nanos() as u64;
            let at = self
                .transport
                .agenda
                .next_at()
                .map_or(limit, |at| at.min(limit));
            if self.armed != Some(at) {
                self.sleep
                    .as_mut()
                    .reset(self.start + Duration::from_nanos(at));
                self.armed = Some(at);
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                self.shared.root.running.store(false, Relaxed);
                return Poll::Pending;
            }
            self.armed = None;
            self.read_time();
            if self.transport.now >= limit {
                return Poll::Ready(Err(SimError::TimeLimit(self.limit)));
            }
        }
    }

    /// Is there anything to do at this instant?
    fn is_busy(&self) -> bool {
        self.script_ready.is_set()
            || self.hosts.iter().any(Host::is_due)
            || self
                .transport
                .agenda
                .next_at()
                .is_some_and(|at| at <= self.transport.now)
            || !self.shared.state().commands.is_empty()
    }

    /// One pass; the script's value ends the run.
    fn pass(&mut self) -> Result<Option<T>, SimError> {
        self.transport.stats.rounds += 1;
        while let Some(event) = self.transport.agenda.pop_due(self.transport.now) {
            self.handle(event);
        }
        self.shared.state().stats = self.transport.stats;
        if self.script_ready.take() {
            let _ = Pin::new(&mut self.script).poll(&mut Context::from_waker(&self.script_waker));
            self.check(None)?;
            if let Some(value) = self.outcome.borrow_mut().take() {
                return Ok(Some(value));
            }
        }
        self.obey()?;
        for index in 0..self.hosts.len() {
            if self.hosts[index].is_due() {
                self.transport.stats.polls += 1;
                self.book(self.hosts.len());
                self.hosts[index].poll();
                self.book(index);
                self.check(Some(index))?;
                if !self.hosts[index].is_running() {
                    self.ended(index);
                }
            }
        }
        self.transport.collect();
        let evictions = fabric::take_evictions();
        for eviction in evictions {
            self.transport.evict(eviction.host, eviction.port);
            eviction.done();
        }
        self.transport.failure.take().map_or(Ok(None), Err)
    }

    /// Books the time since the last call.
    fn book(&mut self, account: usize) {
        if let Some(now) = self.stopwatch {
            let now = now();
            self.shared.state().books[account] += now.saturating_sub(self.booked);
            self.booked = now;
        }
    }

    /// A process is over by itself: it is down, unless a boot was asked for since.
    fn ended(&mut self, index: usize) {
        let mut state = self.shared.state();
        let boots = state
            .commands
            .iter()
            .any(|c| matches!(c, Command::Boot(h) if usize::from(*h) == index));
        if !boots {
            state.up[index] = false;
        }
    }

    /// Turns what a poll did wrong into the run's failure.
    fn check(&mut self, polled: Option<usize>) -> Result<(), SimError> {
        let name = |host: usize| self.shared.names[host].clone();
        if let Some((host, message)) = fabric::take_panic() {
            let at = Duration::from_nanos(self.transport.now);
            return Err(SimError::Panic {
                host: host.map(|h| name(usize::from(h))),
                at,
                message,
            });
        }
        if self.runtime.num_alive_tasks() > 0 {
            return Err(SimError::StraySpawn {
                host: polled.map(name),
            });
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Packet(packet) => self.transport.arrive(packet),
            Event::Retry(key, timer) => self.transport.retry(key, timer),
            Event::Orphans(host) => self.transport.reap_orphans(host),
            Event::Thaw(host, number) => {
                if self.hosts[usize::from(host)].freezes == number {
                    self.thaw(host);
                }
            }
        }
    }

    /// Carries out what was asked of hosts and held links.
    fn obey(&mut self) -> Result<(), SimError> {
        loop {
            let Some(command) = self.shared.state().commands.pop_front() else {
                return Ok(());
            };
            match command {
                Command::Boot(host) => {
                    self.end(host);
                    self.transport.set_powered(host, true);
                    self.hosts[usize::from(host)].start();
                }
                Command::Stop(host) => self.hosts[usize::from(host)].ctx.stop.raise(),
                Command::Kill(host) => self.end(host),
                Command::Crash(host) => {
                    self.end(host);
                    self.transport.power_off(host);
                }
                Command::Freeze(host, duration) => self.freeze(host, duration),
                Command::Thaw(host) => self.thaw(host),
                Command::Release => self.transport.release(),
            }
            self.check(None)?;
        }
    }

    /// Ends a process; what it had already handed to its kernel is on the wire before.
    fn end(&mut self, host: u16) {
        let host = &mut self.hosts[usize::from(host)];
        if host.is_running() {
            self.transport.collect();
            host.end();
        }
    }

    fn freeze(&mut self, host: u16, duration: Option<Duration>) {
        let now = self.transport.now;
        let frozen = &mut self.hosts[usize::from(host)];
        frozen.frozen_since.get_or_insert(now);
        frozen.freezes += 1;
        let number = frozen.freezes;
        if let Some(duration) = duration {
            self.transport.agenda.push(
                now.saturating_add(duration.as_nanos() as u64),
                Event::Thaw(host, number),
            );
        }
    }

    fn thaw(&mut self, host: u16) {
        let host = &mut self.hosts[usize::from(host)];
        host.freezes += 1;
        if let Some(since) = host.frozen_since.take() {
            host.ctx.cpu.pause(since, self.transport.now - since);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the event loop is where virtual time comes from"
)]
fn tokio_now() -> Instant {
    Instant::now()
}
