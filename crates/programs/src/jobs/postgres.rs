//! PostgreSQL: a new cluster, pgbench with several clients, queries of all sorts, a checksum.

use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::fail;
use crate::job::{Job, Need, Outcome, postgres_programs};
use crate::place::Place;
use crate::step::Step;
use crate::user::User;

/// The family's jobs.
pub const JOBS: &[Job] = &[Job {
    name: "postgres",
    about: "postgres: initdb, pgbench with four clients, queries, dump, checksums of every table",
    needs: &[Need::POSTGRES],
    limit: 180,
    prepare: None,
    run,
}];

const QUERIES: &str = r"
CREATE TABLE fact AS SELECT n AS id, n % 97 AS kind, md5(n::text) AS name, (n * 7919) % 10007 AS amount
  FROM generate_series(1, 60000) n;
CREATE INDEX ON fact(name);
ANALYZE fact;
SELECT kind, count(*), sum(amount), max(name) FROM fact GROUP BY kind ORDER BY kind LIMIT 20;
SELECT count(*) FROM fact a JOIN fact b ON a.amount = b.kind AND a.id < b.id;
SELECT id, sum(amount) OVER (PARTITION BY kind ORDER BY id) AS running FROM fact ORDER BY running DESC, id LIMIT 10;
SELECT md5(string_agg(regexp_replace(name, '[a-f]+', '-', 'g'), ',' ORDER BY id)) FROM fact WHERE id < 9000;
SELECT md5(jsonb_agg(jsonb_build_object('id', id, 'name', name) ORDER BY id)::text) FROM fact WHERE id < 9000;
DO $$ DECLARE total numeric := 0; row record; BEGIN
  FOR row IN SELECT * FROM fact WHERE id < 20000 LOOP total := total + row.amount * 1.5; END LOOP;
  RAISE NOTICE 'total %', total; END $$;
SELECT count(DISTINCT array_to_string(regexp_split_to_array(name, '[0-9]'), '')) FROM fact;
SELECT md5(string_agg(aid || ':' || abalance, ',' ORDER BY aid)) FROM pgbench_accounts;
SELECT md5(string_agg(tid || ':' || tbalance, ',' ORDER BY tid)) FROM pgbench_tellers;
SELECT md5(string_agg(bid || ':' || bbalance, ',' ORDER BY bid)) FROM pgbench_branches;
SELECT count(*), sum(delta), md5(string_agg(d, ',' ORDER BY d))
  FROM (SELECT tid || ':' || bid || ':' || aid || ':' || delta AS d, delta FROM pgbench_history) h;
SELECT 'sums agree' WHERE (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM pgbench_branches);
VACUUM FULL ANALYZE;
";

fn run(place: &mut Place) -> Outcome {
    let Some(programs) = postgres_programs() else { fail!("postgres is not installed") };
    let user = User::unprivileged();
    if let Some(user) = &user {
        user.own(place.folder())?;
    }
    let subject = |place: &Place, name: &str| program(place, &programs, name, user.as_ref());
    let initdb = ["-D", "data", "-A", "trust", "-U", "owner", "--no-sync", "--locale=C", "-E", "UTF8"];
    let step = subject(place, "initdb").args(initdb);
    place.run_and_note("initdb", step)?;

    let step = subject(place, "postgres").args(["-D", "data", "-c", "listen_addresses=", "-c", "fsync=off"]);
    let step = step.args(["-c", "shared_buffers=64MB", "-c", "max_parallel_workers_per_gather=2", "-k"]);
    let step = step.arg(place.folder());
    let socket = place.path(".s.PGSQL.5432");
    let folder = place.path("data/postmaster.pid");
    let ready = || {
        let state = std::fs::read_to_string(&folder).unwrap_or_default();
        state.contains("ready") && UnixStream::connect(&socket).is_ok()
    };
    let server = place.serve(step, ready)?;

    let client =
        |place: &Place, name: &str| subject(place, name).arg("-h").arg(place.folder()).args(["-U", "owner"]);
    let step = client(place, "pgbench").args(["-i", "-q", "-s", place.scale().pick("2", "50"), "postgres"]);
    place.run(step)?;
    let transactions = place.scale().pick("800", "50000");
    let step = client(place, "pgbench").args(["-c", "4", "-j", "2", "--random-seed=42", "-t", transactions]);
    let finished = place.run(step.arg("postgres"))?;
    let report = finished.stdout()?;
    let processed = report.lines().find(|line| line.starts_with("number of transactions actually processed"));
    place.note("pgbench", processed.unwrap_or("told no number of transactions"));

    let queries = place.write("queries.sql", QUERIES)?;
    let step = client(place, "psql").args(["-X", "-v", "ON_ERROR_STOP=1", "postgres"]).input(&queries);
    place.run_and_note("psql", step)?;
    let step = client(place, "pg_dump").args(["-t", "fact", "postgres"]);
    let finished = place.run(step)?;
    place.note_errors("pg_dump", &finished)?;
    let dump = finished.stdout()?;
    // Newer versions guard a dump by a random key.
    let dump: Vec<&str> = dump.lines().filter(|line| !line.contains("restrict ")).collect();
    place.note("pg_dump", crate::evidence::digest(dump.join("\n").as_bytes())?);
    // A fast shutdown: sessions are ended, buffers written.
    place.stop("postgres", server, libc::SIGINT)?;
    Ok(())
}

/// One of PostgreSQL's programs, under a user whom it accepts.
fn program(place: &Place, programs: &Path, name: &str, user: Option<&User>) -> Step {
    place.subject(&programs.join(name).to_string_lossy()).user(user)
}
