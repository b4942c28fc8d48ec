//! One thread and one current-thread runtime for all elections of the process; gone with the last of them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::backend::tls::Credentials;
use crate::backend::{Backend, Commons, v2, v3};
use crate::clock::JumpWatch;
use crate::config::{Api, Config, Endpoint, Settings};
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};
use crate::process;
use crate::shared::Shared;
use crate::wake::{Bell, Listener};

/// How long the end waits for a lookup or a read of a certificate that hangs; its thread ends by itself, some time.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// How long the end of an engine that has nothing left to do may take: its last wait, and what a busy machine adds.
pub(crate) const RETIREMENT: Duration = Duration::from_secs(1);

/// The engine of this process, by generation: a fork's child finds a slot that nobody of its parent can hold locked.
/// (Two generations share a slot only after as many forks, each from the child of the one before.)
static SLOTS: [Mutex<Option<Engine>>; 64] = [const { Mutex::new(None) }; 64];

/// The running engine, as those see it who start elections.
struct Engine {
    generation: u32,
    starts: mpsc::UnboundedSender<Arc<Shared>>,
    life: Arc<Life>,
    /// How many elections were started.
    started: usize,
    /// The keys of elections that have a handle, with the API and the endpoints of each (law 9).
    keys: BTreeMap<String, Vec<(Api, Vec<Endpoint>)>>,
}

/// What every handle holds of its engine.
pub(crate) struct Life {
    generation: u32,
    bell: Arc<Bell>,
    handles: AtomicUsize,
    is_over: Mutex<bool>,
    over: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

fn slot() -> MutexGuard<'static, Option<Engine>> {
    let at = process::generation() as usize % SLOTS.len();
    SLOTS[at].lock().unwrap_or_else(PoisonError::into_inner)
}

/// The settings, if all of them can be used. Reads the files once, so that a mistake is told at the start; each connection
/// reads them again.
pub(crate) fn check(config: &Config) -> Result<Settings, Error> {
    let settings = config.validate()?;
    Credentials::read(&settings.session.access.tls)?;
    Ok(settings)
}

/// Starts an election in the engine, and the engine if it does not run.
pub(crate) fn start(config: &Config) -> Result<(Arc<Shared>, Arc<Life>), Error> {
    let settings = check(config)?;
    process::count_forks();
    let mut slot = slot();
    // An engine of an ancestor is not ours: it is left alone, and so are its descriptors.
    if let Some(ancestor) = slot.take_if(|engine| engine.generation != process::generation()) {
        std::mem::forget(ancestor);
    }
    if slot.is_none() {
        *slot = Some(launch().map_err(|error| {
            Error::new(ErrorKind::Internal, format!("the engine's thread could not be started: {error}"))
        })?);
    }
    let Some(engine) = slot.as_mut() else {
        return Err(Error::new(ErrorKind::Internal, "the engine is gone"));
    };
    engine.check_nesting(&settings)?;
    engine.keys.entry(settings.key.clone()).or_default().push(place_of(&settings));
    engine.started += 1;
    let shared = Arc::new(Shared::new(settings, engine.life.bell.clone(), engine.started));
    engine.life.take_handle();
    if engine.starts.send(shared.clone()).is_err() {
        return Err(Error::new(ErrorKind::Internal, "the engine's thread has died"));
    }
    engine.life.bell.ring();
    Ok((shared, engine.life.clone()))
}

/// A handle is gone: waits, for at most `timeout`, for the engine's end if it was the last.
pub(crate) fn leave(life: &Life, settings: &Settings, timeout: Duration) {
    {
        let mut slot = slot();
        if let Some(engine) = slot.as_mut().filter(|engine| std::ptr::eq(&*engine.life, life)) {
            engine.forget(settings);
        }
    }
    if life.handles.fetch_sub(1, Ordering::SeqCst) != 1 {
        return;
    }
    life.bell.ring();
    let is_over = life.is_over.lock().unwrap_or_else(PoisonError::into_inner);
    // Another election may start meanwhile: then the engine goes on, and its end is that one's business.
    let is_winding_up = |is_over: &mut bool| !*is_over && life.handles.load(Ordering::SeqCst) == 0;
    let waited = life.over.wait_timeout_while(is_over, timeout, is_winding_up);
    let is_over = *waited.unwrap_or_else(PoisonError::into_inner).0;
    if is_over {
        let thread = life.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.map(JoinHandle::join);
    }
}

impl Life {
    /// One more handle; those who wait for the engine's end need not wait any longer.
    fn take_handle(&self) {
        let _is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        self.handles.fetch_add(1, Ordering::SeqCst);
        self.over.notify_all();
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.generation == process::generation()
    }
}

impl Engine {
    /// An election inside another one's keys would take that one's members for its own, or hold it up for ever.
    fn check_nesting(&self, settings: &Settings) -> Result<(), Error> {
        let key = &settings.key;
        let within = format!("{key}/");
        let below = self.keys.range(within.clone()..).take_while(|(other, _)| other.starts_with(&within));
        let slashes = key.match_indices('/').filter(|(at, _)| *at > 0);
        let above = slashes.filter_map(|(at, _)| self.keys.get_key_value(&key[..at]));
        let session = &settings.session;
        let shares = |lists: &Vec<(Api, Vec<Endpoint>)>| {
            lists.iter().any(|(api, endpoints)| {
                *api == session.timings.api && endpoints.iter().any(|endpoint| session.endpoints.contains(endpoint))
            })
        };
        match below.chain(above).find(|(_, lists)| shares(lists)) {
            None => Ok(()),
            Some((other, _)) => Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "key {key:?} and the key {other:?} of another election of this process lie one inside the other; rename one"
                ),
            )),
        }
    }

    fn forget(&mut self, settings: &Settings) {
        if let Some(lists) = self.keys.get_mut(&settings.key) {
            if let Some(at) = lists.iter().position(|list| *list == place_of(settings)) {
                lists.swap_remove(at);
            }
            if lists.is_empty() {
                self.keys.remove(&settings.key);
            }
        }
    }
}

/// Where an election lives: what API v2 holds, v3 does not see.
fn place_of(settings: &Settings) -> (Api, Vec<Endpoint>) {
    (settings.session.timings.api, settings.session.endpoints.clone())
}

fn launch() -> std::io::Result<Engine> {
    let (bell, end) = Bell::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (listener, jumps) = {
        let _inside = runtime.enter();
        (Listener::new(end)?, JumpWatch::start())
    };
    let (starts, started) = mpsc::unbounded_channel();
    let life = Arc::new(Life {
        generation: process::generation(),
        bell: Arc::new(bell),
        handles: AtomicUsize::new(0),
        is_over: Mutex::new(false),
        over: Condvar::new(),
        thread: Mutex::new(None),
    });
    let thread = spawn_quietly({
        let life = life.clone();
        move || {
            let commons = Commons::default();
            LocalSet::new().block_on(&runtime, run(&life, started, listener, jumps, &commons));
            drop(runtime);
            commons.threads().wait(LAST_WAIT);
            *life.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
            life.over.notify_all();
        }
    })?;
    *life.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    Ok(Engine { generation: life.generation, starts, life, started: 0, keys: BTreeMap::new() })
}

/// Starts the thread with every signal blocked: the host's handlers run on the host's threads, and a peer that resets
/// a connection raises no SIGPIPE.
#[cfg(unix)]
fn spawn_quietly(run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    use nix::sys::signal::{SigSet, SigmaskHow};
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let thread = std::thread::Builder::new().name("etcd-leader".into()).spawn(run);
    before.thread_set_mask()?;
    thread
}

#[cfg(not(unix))]
fn spawn_quietly(run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("etcd-leader".into()).spawn(run)
}

/// The sessions of each slot: those that have an election which rings with it.
#[derive(Default)]
struct Handles(HashMap<usize, Vec<Rc<Driver>>>);

impl Handles {
    fn add(&mut self, slot: usize, driver: Rc<Driver>) {
        let drivers = self.0.entry(slot).or_default();
        if !drivers.iter().any(|other| Rc::ptr_eq(other, &driver)) {
            drivers.push(driver);
        }
    }

    /// An election of this slot has ended.
    fn leave(&mut self, slot: usize) {
        if let Entry::Occupied(mut drivers) = self.0.entry(slot) {
            drivers.get_mut().retain(|driver| driver.has(slot));
            if drivers.get().is_empty() {
                drivers.remove();
            }
        }
    }

    /// Some sessions are over.
    fn leave_all_that_are_over(&mut self) {
        self.0.retain(|_, drivers| {
            drivers.retain(|driver| !driver.is_over());
            !drivers.is_empty()
        });
    }

    fn ring(&self, slot: usize) {
        self.0.get(&slot).into_iter().flatten().for_each(|driver| driver.ring(slot));
    }
}

/// The engine's own task: places new elections, and tells the drivers who rang.
async fn run(
    life: &Arc<Life>,
    mut started: mpsc::UnboundedReceiver<Arc<Shared>>,
    mut listener: Listener,
    mut jumps: JumpWatch,
    commons: &Commons,
) {
    let mut drivers: Vec<Rc<Driver>> = Vec::new();
    let mut handles = Handles::default();
    let (over_sender, mut over) = mpsc::unbounded_channel::<()>();
    let (left_sender, mut left) = mpsc::unbounded_channel();
    loop {
        while let Ok(shared) = started.try_recv() {
            let slot = shared.slot();
            handles.add(slot, place(shared, &mut drivers, (&over_sender, &left_sender), commons));
        }
        if drivers.iter().any(|driver| driver.is_over()) {
            drivers.retain(|driver| !driver.is_over());
            handles.leave_all_that_are_over();
        }
        if drivers.is_empty() && retire(life, &started) {
            return;
        }
        tokio::select! {
            () = listener.rung() => {
                life.bell.take_rung().into_iter().for_each(|slot| handles.ring(slot));
            }
            Some(slot) = left.recv() => {
                handles.leave(slot);
                // Many may end at once.
                while let Ok(slot) = left.try_recv() {
                    handles.leave(slot);
                }
            }
            () = jumps.jumped() => drivers.iter().for_each(|driver| driver.wake()),
            _ = over.recv() => {}
        }
    }
}

/// Takes the engine out of its slot, unless somebody has started another election meanwhile.
fn retire(life: &Arc<Life>, started: &mpsc::UnboundedReceiver<Arc<Shared>>) -> bool {
    let mut slot = slot();
    if !started.is_empty() || life.handles.load(Ordering::SeqCst) > 0 {
        return false;
    }
    slot.take_if(|engine| Arc::ptr_eq(&engine.life, life));
    true
}

/// Gives an election to the session that it can share, or to a new one.
fn place(
    shared: Arc<Shared>,
    drivers: &mut Vec<Rc<Driver>>,
    (over, left): (&mpsc::UnboundedSender<()>, &mpsc::UnboundedSender<usize>),
    commons: &Commons,
) -> Rc<Driver> {
    let settings = &shared.settings;
    let fits = |driver: &&Rc<Driver>| driver.settings == settings.session && driver.accepts(&settings.key);
    let driver = drivers.iter().find(fits).cloned().unwrap_or_else(|| {
        let (inbox, inputs) = mpsc::unbounded_channel();
        let backend = backend(settings, inbox, commons);
        let driver = Rc::new(Driver::new(settings.session.clone(), backend, left.clone(), seed()));
        let over = over.clone();
        tokio::task::spawn_local({
            let driver = driver.clone();
            async move {
                driver.run(inputs).await;
                let _ = over.send(());
            }
        });
        drivers.push(driver.clone());
        driver
    });
    driver.add(shared);
    driver
}

/// The only place that chooses a backend.
fn backend(settings: &Settings, inbox: crate::backend::Inbox, commons: &Commons) -> Box<dyn Backend> {
    let session = &settings.session;
    match session.timings.api {
        Api::V2 => Box::new(v2::V2::new(session, inbox, commons)),
        _ => Box::new(v3::V3::new(session, inbox, commons)),
    }
}

fn seed() -> u64 {
    // Without the system's generator the clock still keeps two processes apart in most cases; lease ids that collide
    // are refused by etcd.
    crate::random::number().unwrap_or_else(|| crate::clock::now().as_nanos())
}
