//! BIND: a name server and its clients, linked with jemalloc, whose own calls they mix with C's.

use std::process::Command;

use super::text::Numbers;
use super::web::free_port;
use crate::job::{Job, Need, Outcome, find_program};
use crate::place::Place;

/// The family's jobs.
pub const JOBS: &[Job] = &[Job {
    name: "bind",
    about: "named with two threads: a zone of thousands of names, asked by dig, transferred, loaded again",
    needs: &[Need::command("named", "bind9"), Need::command("dig", "bind9-dnsutils")],
    limit: 120,
    prepare: None,
    run,
}];

/// A zone whose last name is `last`; the serial number is that of the zone's version.
fn zone(version: usize, names: usize) -> String {
    let mut numbers = Numbers(79);
    let head = format!(
        "$TTL 300\n@ IN SOA ns.example.test. root.example.test. {version} 60 60 60 60\n@ IN NS ns\nns IN A 127.0.0.1\n"
    );
    let entry = |name: usize| {
        let (high, low) = (name >> 8, name & 255);
        format!("h{name} IN A 10.{version}.{high}.{low}\nh{name} IN TXT \"{}\"\n", numbers.line(6))
    };
    head + &(0..names).map(entry).collect::<String>()
}

fn run(place: &mut Place) -> Outcome {
    let port = free_port()?;
    let names = place.scale().pick(4_000, 60_000);
    let configuration = format!(
        "options {{ directory \"{}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none;\n\
         session-keyfile none; recursion no; dnssec-validation no; }};\ncontrols {{ }};\n\
         zone \"example.test\" {{ type primary; file \"zone\"; }};\n",
        place.folder().display()
    );
    let file = place.write("named.conf", configuration)?;
    place.write("zone", zone(1, names))?;
    let port = port.to_string();
    let ask = |name: &str, kind: &str| -> Vec<String> {
        let options = ["@127.0.0.1", "-p", &port, "+noall", "+answer", "+tries=1", "+time=5", name, kind];
        options.map(String::from).to_vec()
    };
    let dig = find_program("dig").unwrap_or_else(|| "dig".into());
    let serial = |version: usize| {
        let answer = Command::new(&dig).args(ask("example.test", "SOA")).output();
        answer.is_ok_and(|answer| {
            String::from_utf8_lossy(&answer.stdout).contains(&format!("root.example.test. {version} "))
        })
    };
    let step = place.subject("named").args(["-4", "-g", "-n", "2", "-c"]).arg(&file);
    let server = place.serve(step, || serial(1))?;
    for version in [1, 2] {
        if version == 2 {
            place.write("zone", zone(2, names))?;
            crate::os::signal(server.pid(), libc::SIGHUP);
            while !serial(2) {
                if std::time::Instant::now() > place.deadline() {
                    crate::fail!("the zone was not loaded again");
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        for number in [0, 1, 255, names - 1, names] {
            let step = place.client("dig").args(ask(&format!("h{number}.example.test"), "TXT"));
            place.run_and_note("a name", step)?;
        }
        let step = place.client("dig").args(ask("example.test", "AXFR"));
        let answer = place.run(step)?.stdout()?;
        let mut lines: Vec<&str> = answer.lines().collect();
        lines.sort_unstable();
        place.note("all names", lines.join("\n"));
    }
    place.stop("named", server, libc::SIGTERM)?;
    Ok(())
}
