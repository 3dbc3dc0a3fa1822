//! Languages with memory managers and threads of their own: R, OCaml, Erlang, Guile, SBCL, SWI-Prolog, Tcl.

use crate::job::{Job, Need, Outcome};
use crate::place::Place;

/// The family's jobs.
pub const JOBS: &[Job] = &[
    Job::plain(
        "r",
        "R: matrices, environments, data frames, a linear model, forked workers",
        &[Need::extra("R", "r-base-core")],
        r,
    ),
    Job::plain(
        "ocaml",
        "ocaml: bytecode compiled and run; hash tables, a compaction, big bytes",
        &[Need::extra("ocaml", "ocaml-nox")],
        ocaml,
    ),
    Job::plain(
        "erlang",
        "erl: processes that send maps and binaries, tables outside of their heaps",
        &[Need::extra("erl", "erlang-base")],
        erlang,
    ),
    Job::plain(
        "guile",
        "guile: hash tables and strings under a conservative collector, threads",
        &[Need::extra("guile", "guile-3.0")],
        guile,
    ),
    Job::plain(
        "sbcl",
        "sbcl: code compiled as it is read, hash tables, numbers of 17,000 digits",
        &[Need::extra("sbcl", "sbcl")],
        sbcl,
    ),
    Job::plain(
        "prolog",
        "swipl: lists, backtracking, atoms, threads",
        &[Need::extra("swipl", "swi-prolog-nox")],
        prolog,
    ),
    Job::plain(
        "tcl",
        "tclsh: strings, arrays, lists, regular expressions",
        &[Need::extra("tclsh", "tcl")],
        tcl,
    ),
];

fn r(place: &mut Place) -> Outcome {
    let script = place.write("work.R", include_str!("scripts/work.R"))?;
    let step = place.subject("R").args(["--vanilla", "--slave", "-f"]).arg(script);
    place.run_and_note("script", step)?;
    Ok(())
}

fn ocaml(place: &mut Place) -> Outcome {
    let script = place.write("work.ml", include_str!("scripts/work.ml"))?;
    let step = place.subject("ocaml").arg(script);
    place.run_and_note("script", step)?;
    Ok(())
}

/// Each process's answer is summed up, so the order of their ends is nobody's.
const ERLANG: &str = "
    Self = self(),
    Work = fun(N) -> fun() ->
        Map = maps:from_list([{I, integer_to_binary(I * N)} || I <- lists:seq(1, 5000)]),
        Self ! {N, maps:size(Map), erlang:phash2(Map)} end end,
    [spawn(Work(N)) || N <- lists:seq(1, 12)],
    Answers = [receive {N, Size, Hash} -> {Size, Hash} end || N <- lists:seq(1, 12)],
    Table = ets:new(table, []),
    [ets:insert(Table, {I, binary:copy(<<\"x\">>, I rem 2000)}) || I <- lists:seq(1, 20000)],
    Bytes = ets:foldl(fun({_, B}, Sum) -> Sum + byte_size(B) end, 0, Table),
    io:format(\"~p ~p ~p~n\", [erlang:phash2(Answers), ets:info(Table, size), Bytes]),
    halt().";

fn erlang(place: &mut Place) -> Outcome {
    let step = place.subject("erl").args(["+S", "2", "-noshell", "-eval", ERLANG]);
    place.run_and_note("script", step)?;
    Ok(())
}

const GUILE: &str = "
    (use-modules (ice-9 threads))
    (define table (make-hash-table))
    (let loop ((i 0))
      (if (< i 100000)
          (begin (hash-set! table (number->string (modulo i 7000)) (make-string (modulo i 90) #\\x)) (loop (+ i 1)))))
    (display (hash-count (const #t) table)) (newline)
    (display (hash-fold (lambda (key text sum) (+ sum (string-length text))) 0 table)) (newline)
    (define (work n) (let loop ((i 0) (sum 0)) (if (< i 50000) (loop (+ i 1) (+ sum (* i n))) sum)))
    (display (apply + (par-map work (iota 8)))) (newline)";

fn guile(place: &mut Place) -> Outcome {
    let step = place.subject("guile").args(["--no-auto-compile", "-c", GUILE]);
    place.run_and_note("script", step)?;
    Ok(())
}

const SBCL: &str = "
    (let ((table (make-hash-table :test 'equal)))
      (dotimes (i 100000)
        (setf (gethash (format nil \"~d\" (mod i 7000)) table) (make-string (mod i 90))))
      (format t \"~d ~d~%\" (hash-table-count table)
              (loop for text being the hash-values of table sum (length text)))
      (gc :full t)
      (format t \"~d~%\" (mod (expt 7 20000) 1000000007)))";

fn sbcl(place: &mut Place) -> Outcome {
    let options = ["--noinform", "--no-sysinit", "--no-userinit", "--non-interactive", "--eval", SBCL];
    let step = place.subject("sbcl").args(options);
    place.run_and_note("script", step)?;
    Ok(())
}

const PROLOG: &str = "
    numlist(1, 50000, Numbers),
    foldl([X, A, B]>>(B is A + X), Numbers, 0, Sum), writeln(Sum),
    findall(X-Y, (between(1, 200, X), between(1, 200, Y), X * Y mod 7 =:= 0), Pairs),
    length(Pairs, Count), writeln(Count),
    forall(between(1, 30000, I), (atom_concat(name_, I, Atom), atom_length(Atom, _))),
    concurrent_maplist([I, J]>>(J is I * 2), Numbers, Doubled), sum_list(Doubled, Twice), writeln(Twice)";

fn prolog(place: &mut Place) -> Outcome {
    let step = place.subject("swipl").args(["-g", PROLOG, "-t", "halt"]);
    place.run_and_note("script", step)?;
    Ok(())
}

fn tcl(place: &mut Place) -> Outcome {
    let script = place.write("work.tcl", include_str!("scripts/work.tcl"))?;
    let step = place.subject("tclsh").arg(script);
    place.run_and_note("script", step)?;
    Ok(())
}
