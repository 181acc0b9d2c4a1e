//! A tiny executor with a clock of its own: when no task can go on, time jumps to the next timer.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use jiff::Timestamp;
use ledger::ports::{BoxFuture, Clock, Spawn};

/// Longest time that a test may take, by its own clock: whoever waits for ever fails instead of hanging.
const END: Duration = Duration::from_secs(100_000);

#[derive(Default)]
pub struct World {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    now: Duration,
    timers: BTreeMap<(Duration, u64), Waker>,
    timers_made: u64,
    spawned: Vec<BoxFuture<'static, ()>>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

struct Task<'a> {
    future: BoxFuture<'a, ()>,
    flag: Arc<Flag>,
}

impl World {
    /// Runs `main` to its end, and with it what it spawns.
    pub fn run<T: Send>(&self, main: impl Future<Output = T> + Send) -> T {
        let mut result = None;
        let mut tasks: Vec<Task<'_>> = Vec::new();
        {
            let out = &mut result;
            tasks.push(task(Box::pin(async move { *out = Some(main.await) })));
            let mut main_done = false;
            while !main_done {
                let mut progress = false;
                for (at, task) in tasks.iter_mut().enumerate() {
                    if !task.flag.0.swap(false, SeqCst) {
                        continue;
                    }
                    progress = true;
                    let waker = Waker::from(Arc::clone(&task.flag));
                    if task
                        .future
                        .as_mut()
                        .poll(&mut Context::from_waker(&waker))
                        .is_ready()
                    {
                        main_done |= at == 0;
                        task.future = Box::pin(std::future::pending());
                    }
                }
                let spawned = std::mem::take(&mut self.state.lock().unwrap().spawned);
                progress |= !spawned.is_empty();
                tasks.extend(spawned.into_iter().map(task));
                if !progress {
                    self.jump();
                }
            }
            drop(tasks);
        }
        result.unwrap()
    }

    fn jump(&self) {
        let mut state = self.state.lock().unwrap();
        let ((at, _), waker) = state
            .timers
            .pop_first()
            .expect("nothing can go on, and no timer runs");
        assert!(at < END, "the test does not end");
        state.now = state.now.max(at);
        drop(state);
        waker.wake();
    }
}

fn task<'a>(future: BoxFuture<'a, ()>) -> Task<'a> {
    Task {
        future,
        flag: Arc::new(Flag(AtomicBool::new(true))),
    }
}

/// A clock or a spawner of this world.
#[derive(Clone)]
pub struct Handle(pub Arc<World>);

struct Sleep {
    world: Arc<World>,
    until: Duration,
    timer: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let world = Arc::clone(&self.world);
        let mut state = world.state.lock().unwrap();
        if state.now >= self.until {
            return Poll::Ready(());
        }
        state.timers_made += 1;
        let key = self.timer.unwrap_or((self.until, state.timers_made));
        state.timers.insert(key, context.waker().clone());
        self.timer = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.timer {
            self.world.state.lock().unwrap().timers.remove(&key);
        }
    }
}

impl Clock for Handle {
    fn now(&self) -> Timestamp {
        let start = Timestamp::from_second(1_796_000_000).unwrap();
        start + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        self.0.state.lock().unwrap().now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let until = self.monotonic() + duration;
        Box::pin(Sleep {
            world: Arc::clone(&self.0),
            until,
            timer: None,
        })
    }
}

impl Spawn for Handle {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.state.lock().unwrap().spawned.push(task);
    }
}
