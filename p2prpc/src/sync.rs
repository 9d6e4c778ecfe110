//! The lock of what several threads share on the way of a call. In this crate's own tests a scheduler can decide who has it next.

#[cfg(test)]
pub(crate) use modelled::{Mutex, is_modelled, model};
#[cfg(not(test))]
pub(crate) use parking_lot::Mutex;

#[cfg(test)]
mod modelled {
    use std::cell::Cell;
    use std::sync::Arc;

    use parking_lot::MutexGuard;
    use shuttle::scheduler::{PctScheduler, RandomScheduler};
    use shuttle::sync::atomic::{AtomicBool, Ordering};

    thread_local! {
        static MODELLED: Cell<bool> = const { Cell::new(false) };
    }

    /// True in a thread that a model runs in.
    pub(crate) fn is_modelled() -> bool {
        MODELLED.get()
    }

    /// A lock that isn't free for so many turns of others never will be.
    const MOST_TURNS: usize = 10_000;

    /// What is left over when a schedule ends is dropped where no scheduler is.
    struct Modelled;

    impl Drop for Modelled {
        fn drop(&mut self) {
            MODELLED.set(false);
        }
    }

    /// Runs `threads` under so many schedules of each kind. A panic, or threads that wait for ever, print the schedule that led there;
    /// `shuttle::replay` plays it again.
    pub(crate) fn model(schedules: usize, threads: impl Fn() + Send + Sync + 'static) {
        let threads = Arc::new(move || {
            MODELLED.set(true);
            let _modelled = Modelled;
            threads();
        });
        let at_random = threads.clone();
        let mut config = shuttle::Config::default();
        config.stack_size = 1 << 20;
        shuttle::Runner::new(RandomScheduler::new(schedules), config.clone()).run(move || at_random());
        shuttle::Runner::new(PctScheduler::new(3, schedules), config).run(move || threads());
    }

    /// The scheduler may have others go on before. To yield would be to wake the task that runs.
    fn let_others_go() {
        AtomicBool::new(false).load(Ordering::SeqCst);
    }

    /// Whoever asks for it lets others go first, where a model runs.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Mutex(parking_lot::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            if !is_modelled() {
                return self.0.lock();
            }
            let_others_go();
            for _ in 0..MOST_TURNS {
                if let Some(guard) = self.0.try_lock() {
                    return guard;
                }
                shuttle::thread::yield_now();
            }
            panic!("a lock is never free: threads wait for each other")
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            if is_modelled() {
                let_others_go();
            }
            self.0.try_lock()
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut()
        }
    }
}
