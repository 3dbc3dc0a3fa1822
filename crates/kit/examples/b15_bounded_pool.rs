//! A producer that is slowed down by its consumer: records wait in buffers of which there are never more than 64 KiB.

use freestone_kit::bounded_pool::{BoundedError, BoundedPool};
use freestone_kit::c::C;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

fn main() -> Result<(), BoundedError> {
    let pool = BoundedPool::new(64 << 10, 16 << 10, C);
    println!("{} KiB in all, buffers of {} KiB are kept", pool.total() >> 10, pool.poolable() >> 10);

    let first = pool.acquire(16 << 10)?;
    let odd = pool.acquire(40 << 10)?;
    println!("available: {} KiB", pool.available() >> 10);
    println!("at once: {}", pool.try_acquire(16 << 10).unwrap_err());
    println!("in 5 ms: {}", pool.acquire_timeout(16 << 10, Duration::from_millis(5)).unwrap_err());
    println!("ever: {}", pool.acquire(65 << 10).unwrap_err());
    drop((first, odd));
    let stats = pool.stats();
    println!(
        "given back: {} KiB available, {} of them without memory",
        stats.available >> 10,
        stats.unpooled >> 10
    );

    // 100 batches through a queue without a bound of its own.
    let (sender, receiver) = mpsc::channel::<freestone_kit::bounded_pool::BoundedBuffer<'_, C>>();
    let sum: u64 = thread::scope(|scope| {
        let consumer = scope.spawn(|| {
            receiver.into_iter().map(|batch| batch.iter().map(|&byte| u64::from(byte)).sum::<u64>()).sum()
        });
        for number in 0..100_u8 {
            let mut batch = pool.acquire(16 << 10)?;
            batch.fill(number);
            sender.send(batch).expect("the consumer is there");
        }
        drop(sender);
        Ok(consumer.join().expect("the consumer ends well"))
    })?;
    println!("the consumer's sum: {sum}");
    let stats = pool.stats();
    println!("granted {}, of them with a used buffer at least {}", stats.granted, stats.reused.min(96));
    println!("exhausted {}, waiting {}, gathered {}", stats.exhausted, stats.waiting, stats.gathered);

    // Closing wakes whoever waits.
    let all = pool.acquire(64 << 10)?;
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire(1).map(drop));
        while pool.stats().waiting == 0 {
            thread::yield_now();
        }
        pool.close();
        println!("the waiter: {}", waiter.join().expect("the waiter ends well").unwrap_err());
    });
    drop(all);
    println!("at the end {} KiB available", pool.available() >> 10);
    Ok(())
}
