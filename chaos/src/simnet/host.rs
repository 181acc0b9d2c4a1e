//! A host: a process that can be started again and again, and what the process is given.
//!
//! Invariants: everything a process spawned dies with it; tasks of a host run only while that host is current; a handle kept
//! from an earlier boot cannot start tasks in a later one by accident (they would be in the wrong process, so it panics).
//! Leaves out: memory and disk; services keep what survives a restart in state that their factory owns.

use super::{clock::HostClock, cpu::Cpu, fabric, handle::Sim};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};
use tokio::{
    sync::Notify,
    task::{JoinHandle, LocalSet},
};

/// A future that belongs to one thread.
pub(super) type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;
pub(super) type Factory = Rc<dyn Fn(HostCtx) -> LocalFuture>;

/// What a process knows of its host. `Send + Sync`, cheap to clone: services may keep it.
#[derive(Clone, Debug)]
pub struct HostCtx {
    /// Name of the host, as in addresses.
    pub name: Arc<str>,
    /// 1 for the first boot, one more for each later one.
    pub boot: u32,
    /// The network, for services that cause or observe faults.
    pub sim: Sim,
    /// This host's clock; the only one a service should read.
    pub clock: HostClock,
    /// This host's cores.
    pub cpu: Cpu,
    /// Set when the process should end.
    pub stop: StopSignal,
    pub(super) host: u16,
}

impl HostCtx {
    /// Starts a task in this host's process. It need not be `Send`; it is dropped when the process ends.
    ///
    /// # Panics
    /// When called from anywhere but a task of this host.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        assert!(
            fabric::current_host() == Some(self.host),
            "a task of {} can only be started from a task of {}",
            self.name,
            self.name
        );
        tokio::task::spawn_local(Guarded(Box::pin(future)))
    }
}

/// Asks a process to end; see [`Sim::stop`].
#[derive(Clone, Default)]
pub struct StopSignal(Arc<StopState>);

#[derive(Default)]
struct StopState {
    stopping: AtomicBool,
    changed: Notify,
}

impl StopSignal {
    /// Has the process been asked to end?
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Relaxed)
    }

    /// Completes when the process is asked to end; at once if it has been.
    pub async fn wait(&self) {
        let mut changed = std::pin::pin!(self.0.changed.notified());
        changed.as_mut().enable();
        if !self.is_stopping() {
            changed.await;
        }
    }

    pub(super) fn raise(&self) {
        self.0.stopping.store(true, Relaxed);
        self.0.changed.notify_waiters();
    }
}

impl fmt::Debug for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StopSignal(stopping: {})", self.is_stopping())
    }
}

/// Reports a panic of the future as the run's failure (a `LocalSet` would keep it to itself), then lets it go on.
pub(super) struct Guarded<F>(pub Pin<Box<F>>);

impl<F: Future> Future for Guarded<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))).unwrap_or_else(|payload| {
            fabric::note_panic(|| panic_text(payload.as_ref()));
            resume_unwind(payload)
        })
    }
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(no message)").to_owned()
}

/// Wakes the one future of the runtime, unless it is running anyway.
#[derive(Default)]
pub(super) struct Root {
    pub running: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Root {
    pub fn set_waker(&self, waker: &Waker) {
        let mut slot = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !slot.as_ref().is_some_and(|w| w.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    pub fn wake(&self) {
        if !self.running.load(Relaxed)
            && let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner)
        {
            waker.wake_by_ref();
        }
    }
}

/// The ready flag of a host (or of the script): set by any of its tasks that can go on.
pub(super) struct Ready {
    flag: AtomicBool,
    root: Arc<Root>,
}

impl Ready {
    pub fn new(root: Arc<Root>) -> Arc<Self> {
        Arc::new(Self {
            flag: AtomicBool::new(true),
            root,
        })
    }

    pub fn is_set(&self) -> bool {
        self.flag.load(Relaxed)
    }

    pub fn set(&self) {
        self.flag.store(true, Relaxed);
    }

    pub fn take(&self) -> bool {
        self.flag.swap(false, Relaxed)
    }
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.flag.swap(true, Relaxed) {
            self.root.wake();
        }
    }
}

/// A running process: its tasks and the one that its factory made.
struct Process {
    tasks: LocalSet,
    main: JoinHandle<()>,
}

/// A host as the event loop sees it.
pub(super) struct Host {
    pub ctx: HostCtx,
    factory: Factory,
    process: Option<Process>,
    pub powered: bool,
    /// Virtual time at which the host was frozen.
    pub frozen_since: Option<u64>,
    /// Number of the latest freeze: a timer of an earlier one must not end it.
    pub freezes: u64,
    ready: Arc<Ready>,
    waker: Waker,
}

impl Host {
    pub fn new(ctx: HostCtx, factory: Factory, root: Arc<Root>) -> Self {
        let ready = Ready::new(root);
        Self {
            ctx,
            factory,
            process: None,
            powered: true,
            frozen_since: None,
            freezes: 0,
            waker: Waker::from(ready.clone()),
            ready,
        }
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Starts the process; the caller has ended the one before.
    pub fn start(&mut self) {
        self.powered = true;
        self.frozen_since = None;
        self.ctx.boot += 1;
        self.ctx.stop = StopSignal::default();
        self.ctx.cpu.clear();
        fabric::enter(Some(self.ctx.host));
        let tasks = LocalSet::new();
        let main = tasks.spawn_local(Guarded(Box::pin({
            let (factory, ctx) = (self.factory.clone(), self.ctx.clone());
            // Called inside the task, so that the factory itself may spawn and open sockets.
            async move { factory(ctx).await }
        })));
        fabric::enter(None);
        self.process = Some(Process { tasks, main });
        self.ready.set();
    }

    /// Drops every task of the process: its sockets are closed by the kernel.
    pub fn end(&mut self) {
        if let Some(process) = self.process.take() {
            fabric::enter(Some(self.ctx.host));
            drop(process);
            fabric::enter(None);
        }
    }

    pub fn is_due(&self) -> bool {
        self.frozen_since.is_none() && self.process.is_some() && self.ready.is_set()
    }

    /// Runs the tasks that can go on. A process is over when all its tasks are, or, once it was asked to stop, when the
    /// task made by the factory is.
    pub fn poll(&mut self) {
        self.ready.take();
        let Some(process) = &mut self.process else {
            return;
        };
        fabric::enter(Some(self.ctx.host));
        let all_done = Pin::new(&mut process.tasks)
            .poll(&mut Context::from_waker(&self.waker))
            .is_ready();
        fabric::enter(None);
        if all_done || (self.ctx.stop.is_stopping() && process.main.is_finished()) {
            self.end();
        }
    }
}
